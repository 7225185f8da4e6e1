"""How many examples a test draws: few by default, all of them in CI.

``FASTJVAE_EXAMPLES`` is the number of examples of a kernel's test, which every other count follows;
see CONTRIBUTING.
"""

from __future__ import annotations

import os

FULL = 200  # of a kernel's test in CI
_EXAMPLES = int(os.environ.get("FASTJVAE_EXAMPLES", "20"))


def examples(full: int = FULL, least: int = 1) -> int:
    """Examples of a test that draws ``full`` of them in CI, and never fewer than ``least``."""
    return max(least, round(full * _EXAMPLES / FULL))
