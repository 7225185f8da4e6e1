"""Tables of the pages that are written from results."""

from __future__ import annotations

from collections.abc import Iterable


def table_line(cells: Iterable[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"
