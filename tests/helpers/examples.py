"""How much a test draws and tries: little where a developer waits, everything in CI.

``FASTJVAE_EXAMPLES`` is the number of examples of a kernel's test, which everything else follows;
see CONTRIBUTING.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TypeVar

import pytest

FULL = 200  # examples of a kernel's test in CI
_EXAMPLES = int(os.environ.get("FASTJVAE_EXAMPLES", "10"))
EVERYTHING = _EXAMPLES >= FULL

Case = TypeVar("Case")

# For a test whose kin runs always.
in_ci = pytest.mark.skipif(not EVERYTHING, reason=f"runs with FASTJVAE_EXAMPLES={FULL}, as in CI")


def examples(full: int = FULL, least: int = 1) -> int:
    """Examples of a test that draws ``full`` of them in CI, and never fewer than ``least``."""
    return max(least, round(full * _EXAMPLES / FULL))


def some(cases: Iterable[Case], few: int = 1) -> list[Case]:
    """Every case in CI, elsewhere the first ``few``."""
    return list(cases) if EVERYTHING else list(cases)[:few]
