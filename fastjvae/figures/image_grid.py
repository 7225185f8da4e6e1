"""Grids of images: each block of rows is one picture with labels beside its rows and columns."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastjvae.errors import ArgumentError
from fastjvae.figures.labels import in_lines
from fastjvae.figures.page import (
    CHARACTER,
    LINE,
    TEXT,
    Axes,
    Box,
    Figure,
    fit,
    new_page,
    text_extent,
    title_above,
)
from fastjvae.model import JointVAE
from fastjvae.model.latent_moves import Images

_LEAST_CELL = (42, 54)  # height, width in pixels of the page: room for two lines, for "−1.64"
_TEXT_HEIGHT = 20  # pixels of the page from line to line of one text
_BETWEEN_BLOCKS, _BETWEEN_COLUMNS = 14, 28  # pixels of the page
_LEAST_LINE = 40  # characters of a title before it goes on below, over a narrow picture


class Block(NamedTuple):
    """Rows of images, not all of one length, and their labels."""

    rows: Sequence[Images]
    row_labels: Sequence[str]
    column_labels: Sequence[str] = ()  # below the last row
    column_title: str = ""


def image_grid(blocks: Sequence[Block], title: str) -> Figure:
    """Draw blocks of images of one size below each other; errors as :func:`draw_blocks`."""
    figure = new_page()
    fit(figure, draw_blocks(figure, blocks, title))
    return figure


def image_columns(columns: Mapping[str, Sequence[Block]], title: str) -> Figure:
    """Draw grids of images beside each other, each below its name; sizes may differ."""
    figure, right = new_page(), -_BETWEEN_COLUMNS
    boxes: dict[Axes, Box] = {}
    for name, blocks in columns.items():
        column = draw_blocks(figure, blocks, name)
        left, until = text_extent(figure, column)
        move = right + _BETWEEN_COLUMNS - left
        boxes |= {axes: (x + move, y, w, h) for axes, (x, y, w, h) in column.items()}
        right = until + move
    if title:
        first, (_, _, _, height) = next(iter(boxes.items()))
        lines = max(axes.get_title(loc="left").count("\n") + 1 for axes in boxes)
        title_above(first, in_lines(title, right // CHARACTER), height, lines)
    fit(figure, boxes)
    return figure


def draw_blocks(figure: Figure, blocks: Sequence[Block], title: str) -> dict[Axes, Box]:
    """Draw blocks of images of one size; returns where they go, below each other from (0, 0).

    Raises:
        ArgumentError: the images are neither grey nor RGB.
    """
    channels, height, width = blocks[0].rows[0].shape[1:]
    check_channels(channels)
    scale = _scale(height, width)
    gap = gap_of(height, width)
    boxes: dict[Axes, Box] = {}
    top = 0
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
        size = (picture.shape[1] * scale, picture.shape[0] * scale)
        if block is blocks[0]:
            write_title(axes, title, size[0])
        boxes[axes] = (0, top, *size)
        lines = bool(block.column_labels) + bool(block.column_title)
        top += size[1] + lines * LINE + _BETWEEN_BLOCKS
    return boxes


def write_title(axes: Axes, title: str, width: int) -> None:
    """Write the title of axes so wide, in pixels of the page, in as many lines as it takes."""
    axes.set_title(in_lines(title, max(width // CHARACTER, _LEAST_LINE)), loc="left", **TEXT)


def check_channels(channels: int) -> None:
    """Raise ArgumentError unless images of so many channels can be shown."""
    if channels not in (1, 3):
        raise ArgumentError(
            f"figures show images of 1 channel (grey) or 3 (RGB), these have {channels}"
        )


def input_images(model: JointVAE, images: Tensor) -> Images:
    """A model's inputs (N, C, H, W), bytes or floats in its value range, as figures show them."""
    return model.unit_interval(images, torch.float32).clamp(0, 1).cpu().numpy()


def in_rows(images: Images, columns: int) -> list[Images]:
    """Cut images (N, C, H, W) into rows of so many."""
    return [images[i : i + columns] for i in range(0, len(images), columns)]


def gap_of(height: int, width: int) -> int:
    """White pixels between images of this size: about two of the page."""
    return math.ceil(2 / _scale(height, width))


def lines_beside(height: int, width: int) -> int:
    """How many lines of text stand beside an image of this size: two or more."""
    return height * _scale(height, width) // _TEXT_HEIGHT


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


def plain_pixels(rows: Sequence[Images]) -> NDArray[np.uint8]:
    """The picture of rows of images without gaps, in the images' own pixels, black for NaN."""
    return np.rint(255 * np.nan_to_num(mosaic(rows, gap=0))).astype(np.uint8)


def _scale(height: int, width: int) -> int:
    """Pixels of the page for a pixel of an image."""
    return max(math.ceil(_LEAST_CELL[0] / height), math.ceil(_LEAST_CELL[1] / width))


def _centres(labels: Sequence[Any], side: int, gap: int) -> list[float]:
    return [i * (side + gap) + (side - 1) / 2 for i in range(len(labels))]
