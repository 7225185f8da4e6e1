"""The page of a figure: axes of a fixed size, a page that fits them and their text, its file."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastjvae.errors import ArgumentError
from fastjvae.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

DPI = 150  # pixels of the page per inch
# Names of runs, labels and factors are text as it stands: a $ in them begins no formula.
TEXT: dict[str, Any] = {"fontsize": 8, "parse_math": False}
LINE = 24  # pixels from one line of text to the next
_MARGIN = 8  # pixels around everything

# Paul Tol's "muted" scheme, which can be told apart with any colour blindness; dark ones first.
COLOURS = (
    "#332288",
    "#CC6677",
    "#117733",
    "#AA4499",
    "#44AA99",
    "#882255",
    "#999933",
    "#88CCEE",
    "#DDCC77",
)
OTHERS = "#C4C4C4"

Box = tuple[int, int, int, int]  # left, top, width, height in pixels of the page


FORMATS = ("png", "pdf", "svg")  # of a figure's file, by its suffix


def new_page() -> Figure:
    """An empty figure, which a notebook shows by itself."""
    from fastjvae.figures.shown import ShownFigure

    return ShownFigure(dpi=DPI)


def fit(figure: Figure, boxes: Mapping[Axes, Box]) -> None:
    """Give every axes its box and make the page just large enough for them and their text.

    The page's origin moves; sizes and distances stay. Edges lie on whole pixels, so an image drawn
    at a whole number of pixels per image pixel is shown exactly.
    """
    _place(figure, boxes, width=100, height=100)
    bounds = _bounds(figure)
    # Page pixels count upwards from the bottom edge, boxes downwards from the top one.
    left, top = int(bounds.x0) - _MARGIN, 100 - int(bounds.y1) - _MARGIN
    moved = {axes: (x - left, y - top, w, h) for axes, (x, y, w, h) in boxes.items()}
    _place(figure, moved, int(bounds.width) + 2 * _MARGIN, int(bounds.height) + 2 * _MARGIN)


def text_extent(figure: Figure, boxes: Mapping[Axes, Box]) -> tuple[int, int]:
    """How far the axes and their text reach to the left and to the right, where boxes count."""
    _place(figure, boxes, width=100, height=100)
    bounds = [axes.get_tightbbox() for axes in boxes]
    edges = [(bbox.x0, bbox.x1) for bbox in bounds if bbox is not None]
    return math.floor(min(x for x, _ in edges)), math.ceil(max(x for _, x in edges))


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure atomically, in the format of the file's suffix; nothing on it is cut off.

    Args:
        figure: any matplotlib figure.
        path: a file that ends in .png, of 150 dots per inch, .pdf or .svg.

    Raises:
        ArgumentError: the file has another suffix.
        RunError: the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower()[1:]
    if kind not in FORMATS:
        raise ArgumentError(
            f"a figure's file ends in {', '.join(f'.{each}' for each in FORMATS[:-1])} or"
            f" .{FORMATS[-1]}, got {path}"
        )
    write_bytes(path, rendered(figure, kind))


def rendered(figure: Figure, kind: str) -> bytes:
    """The content of a figure's file, of one of the :data:`FORMATS`."""
    from matplotlib.transforms import Bbox

    bounds = _bounds(figure).padded(_MARGIN)
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=DPI, bbox_inches=Bbox(bounds.get_points() / DPI))
    return file.getvalue()


def _place(figure: Figure, boxes: Mapping[Axes, Box], width: int, height: int) -> None:
    figure.set_size_inches(width / DPI, height / DPI)
    for axes, (x, y, w, h) in boxes.items():
        axes.set_position((x / width, (height - y - h) / height, w / width, h / height))


def _bounds(figure: Figure) -> Bbox:
    """What the figure's content covers, in whole pixels at :data:`DPI`."""
    from matplotlib.transforms import Bbox

    points = (figure.get_tightbbox().get_points() * DPI).round(3)  # an edge on a pixel stays there
    return Bbox([np.floor(points[0]), np.ceil(points[1])])
