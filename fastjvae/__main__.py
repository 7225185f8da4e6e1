"""``python -m fastjvae``: the command line."""

import sys

try:
    from fastjvae.cli import main
except KeyboardInterrupt:  # at once; later ones are answered by main
    print("fastjvae: interrupted", file=sys.stderr)
    sys.exit(130)

sys.exit(main())
