"""Files of figures and of pictures."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastjvae.errors import ArgumentError
from fastjvae.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

FORMATS = ("png", "pdf", "svg")  # of a figure's file, by its suffix
DPI = 150  # pixels of the page per inch
MARGIN = 8  # pixels around everything


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

    bounds = bounds_of(figure).padded(MARGIN)
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=DPI, bbox_inches=Bbox(bounds.get_points() / DPI))
    return file.getvalue()


def bounds_of(figure: Figure) -> Bbox:
    """The rectangle that the figure's content covers, in whole pixels at :data:`DPI`."""
    from matplotlib.transforms import Bbox

    inches = figure.dpi_scale_trans.inverted()
    boxes = [figure.get_tightbbox()]  # first: it puts the labels in their places
    boxes += [box.transformed(inches) for box in label_boxes(figure.axes)]
    points = (Bbox.union(boxes).get_points() * DPI).round(3)  # an edge on a pixel stays there
    return Bbox([np.floor(points[0]), np.ceil(points[1])])


def label_boxes(axes: Iterable[Axes]) -> list[Bbox]:
    """The rectangles of the labels of axes, in pixels, where they were put last.

    Before 3.11 matplotlib leaves out of an axes' own box what of a label is wider than the axis.
    """
    labels = [axis.label for each in axes for axis in (each.xaxis, each.yaxis)]
    return [label.get_window_extent() for label in labels if label.get_text()]


def save_picture(pixels: NDArray[np.uint8], path: Path) -> None:
    """Write pixels (H, W) or (H, W, 3) as a PNG file, atomically.

    Raises:
        RunError: the file cannot be written.
    """
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png")
    write_bytes(path, file.getvalue())
