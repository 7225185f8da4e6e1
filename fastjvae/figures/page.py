"""The page of a figure: axes of a fixed size, and a page that fits them and their text."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from fastjvae.figures.saving import DPI, MARGIN, bounds_of, label_boxes

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

# Names for annotations: matplotlib itself is loaded when the first figure is made.
Axes: TypeAlias = "matplotlib.axes.Axes"
Figure: TypeAlias = "matplotlib.figure.Figure"

# Names of runs, labels and factors are text as it stands: a $ in them begins no formula.
TEXT: dict[str, Any] = {"fontsize": 8, "parse_math": False}
LINE = 24  # pixels from one line of text to the next
CHARACTER = 9  # pixels of the page that a character of text takes, on the average

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


def new_page() -> Figure:
    """An empty figure, which a notebook shows by itself."""
    from fastjvae.figures.notebook import NotebookFigure

    return NotebookFigure(dpi=DPI)


def add_plot(figure: Figure) -> Axes:
    """New axes for a plot, with small labels and no frame above and on the right."""
    axes = figure.add_axes((0, 0, 1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=TEXT["fontsize"])
    return axes


def title_above(axes: Axes, title: str, height: int, lines: int = 1) -> None:
    """Write a title above the axes' own one, which has so many lines.

    ``height`` is that of the axes in pixels of the page.
    """
    axes.text(0, 1 + (lines + 1) * LINE / height, title, transform=axes.transAxes, **TEXT)


def fit(figure: Figure, boxes: Mapping[Axes, Box]) -> None:
    """Give every axes its box and make the page just large enough for them and their text.

    The page's origin moves; sizes and distances stay. Edges lie on whole pixels, so an image drawn
    at a whole number of pixels per image pixel is shown exactly.
    """
    _place(figure, boxes, width=100, height=100)
    bounds = bounds_of(figure)
    # Page pixels count upwards from the bottom edge, boxes downwards from the top one.
    left, top = int(bounds.x0) - MARGIN, 100 - int(bounds.y1) - MARGIN
    moved = {axes: (x - left, y - top, w, h) for axes, (x, y, w, h) in boxes.items()}
    _place(figure, moved, int(bounds.width) + 2 * MARGIN, int(bounds.height) + 2 * MARGIN)


def text_extent(figure: Figure, boxes: Mapping[Axes, Box]) -> tuple[int, int]:
    """The leftmost and the rightmost pixel of the axes and their text, as boxes count them."""
    _place(figure, boxes, width=100, height=100)
    bounds = [*(axes.get_tightbbox() for axes in boxes), *label_boxes(boxes)]
    edges = [(bbox.x0, bbox.x1) for bbox in bounds if bbox is not None]
    return math.floor(min(x for x, _ in edges)), math.ceil(max(x for _, x in edges))


def _place(figure: Figure, boxes: Mapping[Axes, Box], width: int, height: int) -> None:
    figure.set_size_inches(width / DPI, height / DPI)
    for axes, (x, y, w, h) in boxes.items():
        axes.set_position((x / width, (height - y - h) / height, w / width, h / height))
