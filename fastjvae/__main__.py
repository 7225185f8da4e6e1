"""``python -m fastjvae``: the command line."""

import sys

from fastjvae.cli import main

sys.exit(main())
