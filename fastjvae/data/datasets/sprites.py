"""White shapes on black, drawn here: dSprites' five factors and grid, without a file to bring.

Not pixel-identical to dSprites (Matthey et al. 2017). Shapes, factors, their numbers of values and
the order of the images are the same; outlines and sizes are this module's own, and the orientations
are 40 equal parts of a turn, of which dSprites' first and last are the same.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fastjvae.data.cache import gather
from fastjvae.data.factors import (
    FULL_TURN,
    GRID,
    SHAPES,
    factors_of_part,
    grid_words,
    parse_grid,
    values_of_grid,
)
from fastjvae.data.memory import tensor_on
from fastjvae.data.prepare import fit_images
from fastjvae.data.source import SIZES, DataSource, ImageData

# A sprite of scale 1 lies within this many pixels of its centre, which is in the middle of a pixel
# of the 32 x 32 in the middle of the image. Below 16, so that no pixel's centre lies on an outline,
# where the last bit of a sine would decide.
_RADIUS = 15.9
_REACH = 16  # pixels on either side of the centre's
_SIDE = 64

# How far the curve (u^2 + v^2 - 1)^3 = u^2 v^3 is from its centre at most, where u^2 : v^2 = 2 : 3.
_HEART_RADIUS = 1.4255

_Inside = Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.float64]]

# Negative inside the outline, which touches the unit circle; u points right and v up.
OUTLINES: tuple[_Inside, ...] = (
    lambda u, v: np.maximum(abs(u), abs(v)) - math.sqrt(0.5),
    lambda u, v: u**2 + (2 * v) ** 2 - 1,
    lambda u, v: _heart(_HEART_RADIUS * u, _HEART_RADIUS * v),
)

# 64 MiB of images, 16,384 of them, are drawn in less time than a file of them is read and checked.
MOST_DRAWN_ANEW = 2**26


def find(source: DataSource) -> list[Path]:
    """No files: the images are drawn."""
    return []


def prepare(source: DataSource, files: Sequence[Path]) -> ImageData:
    """Draws the part ``source.grid`` of the grid, every combination of its values once.

    Images are 64 x 64, 0 and 255; another ``image_size`` makes grey of the edges. Factors are
    numbered within the part that was drawn: ``factor_values`` says what the numbers stand for,
    which is a shape, a scale, an orientation in radians counter-clockwise, and a position from
    0 (left, top) to 1. Labels are the shapes. Many images are drawn once into the cache and mapped.
    """
    numbers = parse_grid(source.grid or ())
    factors = factors_of_part(numbers)
    size = source.image_size or SIZES[source.name]
    pixels = gather(
        replace(source, grid=grid_words(numbers)),
        files,
        (len(factors), 1, *size),
        lambda: _drawn(numbers, size),
        in_memory=MOST_DRAWN_ANEW,
    )
    values = values_of_grid(FULL_TURN / GRID["orientation"])
    return ImageData(
        name="sprites" if source.grid is None else f"sprites/{','.join(source.grid)}",
        images=tensor_on(pixels.array),
        labels=factors[:, 0].contiguous(),
        factors=factors,
        label_names=tuple(SHAPES[number] for number in numbers[0]),
        factor_names=tuple(GRID),
        factor_values=tuple(
            tuple(all_values[number] for number in chosen)
            for all_values, chosen in zip(values, numbers, strict=True)
        ),
        mapped=pixels.mapped,
        known_digest=pixels.sha256,
    )


def sprite(shape: int, scale: int, orientation: int) -> npt.NDArray[np.bool_]:
    """One sprite with its centre in the middle: (33, 33), True where a pixel's centre is inside."""
    u, v = turned(scale, orientation)
    return OUTLINES[shape](u, v) < 0


def turned(scale: int, orientation: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The pixels' centres as a sprite of that scale and orientation sees them: two of (33, 33)."""
    _, scales, angles, *_ = values_of_grid(FULL_TURN / GRID["orientation"])
    offsets = np.arange(-_REACH, _REACH + 1) / (_RADIUS * scales[scale])
    right, up = offsets[None, :], -offsets[:, None]
    cosine, sine = math.cos(angles[orientation]), math.sin(angles[orientation])
    return cosine * right + sine * up, cosine * up - sine * right


def _drawn(
    numbers: Sequence[Sequence[int]], size: tuple[int, int]
) -> Iterator[npt.NDArray[np.uint8]]:
    """The images of each sprite at all of its positions, (X * Y, 1, height, width)."""
    shapes, scales, orientations, xs, ys = numbers
    last = GRID["x"] - 1
    canvas = np.zeros((last + _SIDE, last + _SIDE), np.uint8)
    middle = slice(last, last + 2 * _REACH + 1)
    # An image is a window on the canvas: the further left the window, the further right in it the
    # sprite.
    windows = np.lib.stride_tricks.sliding_window_view(canvas, (_SIDE, _SIDE))  # (32, 32, 64, 64)
    windows = windows.swapaxes(0, 1)
    at = np.ix_(last - np.array(xs), last - np.array(ys))
    for shape in shapes:
        for scale in scales:
            for orientation in orientations:
                canvas[middle, middle] = sprite(shape, scale, orientation) * np.uint8(255)
                images = windows[at].reshape(-1, 1, _SIDE, _SIDE)
                yield images if size == (_SIDE, _SIDE) else fit_images(images, size)


def _heart(u: npt.NDArray[np.float64], v: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    inside: npt.NDArray[np.float64] = (u**2 + v**2 - 1) ** 3 - u**2 * v**3
    return inside
