"""Tables of the pages that are written from results."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def table_line(cells: Iterable[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def spread_cell(value: Mapping[str, Any], decimals: int = 2) -> str:
    """Median and quartiles of ``{"median": x, "iqr": [low, high]}``."""
    low, high = value["iqr"]
    return f"{value['median']:,.{decimals}f} ({low:,.{decimals}f} - {high:,.{decimals}f})"


def write_between_marks(path: Path, text: str, begin: str, end: str) -> None:
    """Replace what stands in a page between the comments that mark its generated part.

    Args:
        begin: how the first comment begins; its line stays as it is.
        end: the second comment.

    Raises:
        SystemExit: the page has no such comments.
    """
    before, mark, rest = path.read_text(encoding="utf-8").partition(begin)
    comment, _, after = rest.partition(end)
    if not after:
        raise SystemExit(f"{path} has no comments that mark the place of the tables")
    first_line = comment.split("\n", 1)[0]
    whole = f"{before}{mark}{first_line}\n\n{text}\n\n{end}{after}"
    path.write_text(whole, encoding="utf-8")
