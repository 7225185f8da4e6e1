"""Tools of the data set modules: fitting pictures to a size, and saying why a file is bad."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fastjvae.data import memory
from fastjvae.errors import ArgumentError, DataError, first_sentence

if TYPE_CHECKING:
    from PIL import Image


def fit(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture as (height, width): the largest centred crop of that aspect, PIL bilinear.

    Nothing is distorted, and pixels outside the crop, which has whole ones, take no part: this is
    torchvision's ``CenterCrop`` and ``Resize``, bit for bit. Where the aspect is right already
    nothing is cropped.
    """
    from PIL import Image

    height, width = size
    most_wide, most_high = picture.size
    wide = min(most_wide, max(1, round(most_high * width / height)))
    high = min(most_high, max(1, round(most_wide * height / width)))
    if (wide, high) != picture.size:
        left, top = round((most_wide - wide) / 2), round((most_high - high) / 2)
        with own_limits():
            picture = picture.crop((left, top, left + wide, top + high))
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def fit_images(images: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(N, C, H, W) images as a new array (N, C, height, width), each channel by ``fit``."""
    from PIL import Image

    if images.shape[2:] == size:
        return np.array(images, order="C")
    try:
        memory.check_room(images.shape[0] * images.shape[1] * size[0] * size[1])
    except ValueError as error:
        raise DataError(
            f"{len(images)} images of {size[0]}x{size[1]} pixels take too much: {error}; ask for a"
            f" smaller size"
        ) from None
    # One call of PIL for each picture: bilinear resizing is separable, so many pictures could be
    # stacked into one tall one, but PIL picks the order of the two passes by the picture's shape
    # and rounds between them, so the result would differ in the last bit.
    fitted = np.empty((*images.shape[:2], *size), np.uint8)
    for index in np.ndindex(images.shape[:2]):
        fitted[index] = fit(Image.fromarray(images[index]), size)
    return fitted


def held_out(count: int) -> int:
    """The size of the test split of so many, where a data set has no split of its own."""
    return max(1, count // 10)


def reason(error: Exception) -> str:
    """A library's error as part of a sentence: its first sentence, without the full stop."""
    return legible(first_sentence(error))


def legible(text: str) -> str:
    """A name out of a file as it can stand in a sentence: in quotes if it would break the line."""
    return text if text.isprintable() else repr(text)


@contextmanager
def reading(path: Path, form: str) -> Iterator[None]:
    """Makes one sentence of whatever numpy, zipfile, ... raise about a damaged file of that form.

    Raises:
        DataError: the sentence; names the file.
    """
    try:
        yield
    except (DataError, ArgumentError):
        raise
    except Exception as error:  # a damaged file makes their parsers raise almost anything
        raise DataError(f"{path} cannot be read as {form}: {reason(error)}") from error


_lock = threading.Lock()
_own_limits = 0  # blocks that are open
_pillows_limit: int | None = None


@contextmanager
def own_limits() -> Iterator[None]:
    """Pillow looks at no picture's size inside: who enters has done so.

    Pillow has one limit for the whole process, warns of less and forbids twice as much.
    """
    global _own_limits, _pillows_limit
    from PIL import Image

    with _lock:
        if _own_limits == 0:
            _pillows_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _own_limits += 1
    try:
        yield
    finally:
        with _lock:
            _own_limits -= 1
            if _own_limits == 0:
                Image.MAX_IMAGE_PIXELS = _pillows_limit
