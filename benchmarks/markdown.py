"""Tables of the pages that are written from results."""

from collections.abc import Iterable, Mapping
from typing import Any


def table_line(cells: Iterable[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def spread_cell(value: Mapping[str, Any], decimals: int = 2) -> str:
    """Median and quartiles of ``{"median": x, "iqr": [low, high]}``."""
    low, high = value["iqr"]
    return f"{value['median']:,.{decimals}f} ({low:,.{decimals}f} - {high:,.{decimals}f})"
