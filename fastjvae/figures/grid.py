"""Grids of images: each block of rows is one picture with labels beside its rows and columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastjvae.errors import ArgumentError
from fastjvae.figures.page import LINE, TEXT, fit, new_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Images = NDArray[np.float32]  # (n, C, H, W) in [0, 1], C 1 or 3

_LEAST_CELL = (42, 54)  # height, width in pixels of the page: room for two lines, for "−1.64"
_BETWEEN_BLOCKS = 14  # pixels of the page


class Block(NamedTuple):
    """Rows of images, not all of one length, and their labels."""

    rows: Sequence[Images]
    row_labels: Sequence[str]
    column_labels: Sequence[str] = ()  # below the last row
    column_title: str = ""


def image_grid(blocks: Sequence[Block], title: str) -> Figure:
    """Draw blocks of images of one size below each other.

    Raises:
        ArgumentError: the images are neither grey nor RGB.
    """
    channels, height, width = blocks[0].rows[0].shape[1:]
    if channels not in (1, 3):
        raise ArgumentError(
            f"figures show images of 1 channel (grey) or 3 (RGB), these have {channels}"
        )
    scale = max(math.ceil(_LEAST_CELL[0] / height), math.ceil(_LEAST_CELL[1] / width))
    gap = math.ceil(2 / scale)
    figure, boxes, top = new_page(), {}, 0
    for block in blocks:
        picture = mosaic(block.rows, gap)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_yticks(_centres(block.row_labels, height, gap), block.row_labels, **TEXT)
        axes.set_xticks(_centres(block.column_labels, width, gap), block.column_labels, **TEXT)
        if block.column_title:
            axes.set_xlabel(block.column_title, **TEXT)
        if block is blocks[0]:
            axes.set_title(title, loc="left", **TEXT)
        size = (picture.shape[1] * scale, picture.shape[0] * scale)
        boxes[axes] = (0, top, *size)
        lines = bool(block.column_labels) + bool(block.column_title)
        top += size[1] + lines * LINE + _BETWEEN_BLOCKS
    fit(figure, boxes)
    return figure


def mosaic(rows: Sequence[Images], gap: int) -> NDArray[np.float32]:
    """One picture (H', W') or (H', W', 3) of rows of images, ``gap`` white pixels between them."""
    channels, height, width = rows[0].shape[1:]
    across = max(len(row) for row in rows)
    shape = (len(rows) * (height + gap) - gap, across * (width + gap) - gap, channels)
    picture = np.ones(shape, dtype=np.float32)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            y, x = i * (height + gap), j * (width + gap)
            picture[y : y + height, x : x + width] = image.transpose(1, 2, 0)
    return picture[..., 0] if channels == 1 else picture


def _centres(labels: Sequence[Any], side: int, gap: int) -> list[float]:
    return [i * (side + gap) + (side - 1) / 2 for i in range(len(labels))]
