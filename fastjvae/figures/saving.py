"""Files of figures and of pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastjvae.errors import ArgumentError
from fastjvae.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

FORMATS = ("png", "pdf", "svg")
"""Formats of a figure's file, by its suffix."""
DPI = 150  # pixels of the page per inch
MARGIN = 8  # pixels around everything

_LEAST_DPI, _MOST_DPI = 10, 2400
_LONGEST_SIDE = 2**16 - 1  # pixels that matplotlib draws
# Viewers of PDF and SVG may smooth what they enlarge. An image is therefore written enlarged
# already, each of its pixels a block of four by four or more, where that is no more than this.
_IMAGE_DPI = 600
_MOST_PIXELS = 2**25
# Fonts as TrueType, which editors and publishers take; names inside an SVG that are no random ones.
_SETTINGS: dict[Any, Any] = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "fastjvae"}
# Without the time of writing, so that the same figure is the same file.
_METADATA: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}


def save(figure: Figure | Sequence[Figure], path: str | Path, *, dpi: float | None = None) -> None:
    """Write a figure atomically, in the format of the file's suffix; nothing on it is cut off.

    The same figure is the same file at any time. PDF has its fonts inside, SVG has text as shapes.

    Args:
        figure: any matplotlib figure; several are the pages of a .pdf, in their order.
        path: a file that ends in .png, .pdf or .svg.
        dpi: dots per inch of a .png, and of the images that a .pdf or .svg holds, from 10 to 2,400.
            By default 150 and 600, or less where the page is very large. Images are exact at whole
            multiples of 150.

    Raises:
        ArgumentError: the file has another suffix; there is no figure, or several for a .png or a
            .svg; the dpi is another or makes a picture of more than 65,535 pixels a side.
        RunError: the file cannot be written.
    """
    path = Path(path)
    kind = path.suffix.lower()[1:]
    if kind not in FORMATS:
        raise ArgumentError(
            f"a figure's file ends in {', '.join(f'.{each}' for each in FORMATS[:-1])} or"
            f" .{FORMATS[-1]}, got {path}"
        )
    figures = list(figure) if isinstance(figure, Sequence) else [figure]
    if not figures:
        raise ArgumentError(f"there must be at least one figure to write to {path}, got none")
    if len(figures) > 1 and kind != "pdf":
        raise ArgumentError(several_need_pages(len(figures), path))
    check_dpi(dpi)
    write_bytes(path, rendered(figures, kind, dpi))


def several_need_pages(count: int, path: Path) -> str:
    """The sentence about several figures and a file that holds one."""
    return f"{count} figures are the pages of a .pdf, and {path} holds one"


def check_dpi(dpi: float | None) -> None:
    """Raise ArgumentError unless figures are drawn at so many dots per inch."""
    if dpi is not None and not _LEAST_DPI <= dpi <= _MOST_DPI:
        raise ArgumentError(f"dpi must be from {_LEAST_DPI} to {_MOST_DPI}, got {dpi}")


def rendered(figures: Sequence[Figure], kind: str, dpi: float | None = None) -> bytes:
    """The content of a file of one of the :data:`FORMATS`, of one figure or a .pdf's pages."""
    import matplotlib as mpl

    file = io.BytesIO()
    with mpl.rc_context(_SETTINGS):
        if kind == "pdf":
            from matplotlib.backends.backend_pdf import PdfPages

            with PdfPages(file, metadata=_METADATA[kind]) as pages:
                for figure in figures:
                    _draw(figure, pages, kind, dpi)
        else:
            (figure,) = figures
            _draw(figure, file, kind, dpi, metadata=_METADATA.get(kind))
    return file.getvalue()


def _draw(figure: Figure, file: Any, kind: str, dpi: float | None, **options: Any) -> None:
    """Draw a figure into a file, with the margin around it."""
    from matplotlib.transforms import Bbox

    page = Bbox(bounds_of(figure).padded(MARGIN).get_points() / DPI)  # inches
    longest = max(page.width, page.height)
    if dpi is None and kind == "png":
        dpi = min(DPI, _LONGEST_SIDE / longest)
    elif dpi is None:
        fitting = math.isqrt(int(_MOST_PIXELS / (page.width * page.height)))
        dpi = min(max(fitting // DPI * DPI, DPI), _IMAGE_DPI)
    elif kind == "png" and dpi * longest > _LONGEST_SIDE:
        raise ArgumentError(
            f"a page of {page.width:.1f} x {page.height:.1f} inches takes at most"
            f" {int(_LONGEST_SIDE / longest)} dpi, got {dpi}"
        )
    figure.savefig(file, format=kind, dpi=dpi, bbox_inches=page, **options)


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
