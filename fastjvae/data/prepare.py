"""What the data set modules share: fitting pictures to a size, and saying why a file is bad."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fastjvae.errors import DataError

if TYPE_CHECKING:
    from PIL import Image


def fit(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture as (height, width): the largest centred crop of that aspect, PIL bilinear.

    Nothing is distorted. Where the aspect is right already this is
    ``picture.resize((width, height), Image.BILINEAR)``, bit for bit.
    """
    from PIL import Image, ImageOps

    height, width = size
    return ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)


def fit_images(images: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(N, C, H, W) images as a new array (N, C, height, width), each channel by ``fit``."""
    from PIL import Image

    if images.shape[2:] == size:
        return np.array(images, order="C")
    # One call of PIL for each picture: bilinear resizing is separable, so many pictures could be
    # stacked into one tall one, but PIL picks the order of the two passes by the picture's shape
    # and rounds between them, so the result would differ in the last bit.
    fitted = np.empty((*images.shape[:2], *size), np.uint8)
    for index in np.ndindex(images.shape[:2]):
        fitted[index] = fit(Image.fromarray(images[index]), size)
    return fitted


def held_out(count: int) -> int:
    """How many of so many are the test split, where a data set has no split of its own."""
    return max(1, count // 10)


def reason(error: Exception) -> str:
    """A library's error as part of a sentence: its first sentence, without the full stop."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0].split(". ")[0].rstrip(".")


@contextmanager
def reading(path: Path, form: str) -> Iterator[None]:
    """Makes one sentence of what numpy and zipfile raise about a damaged file of that form."""
    try:
        yield
    except DataError:
        raise
    except (
        *(OSError, EOFError, ValueError, RuntimeError, MemoryError),
        *(zipfile.BadZipFile, zlib.error),
    ) as error:
        raise DataError(f"{path} cannot be read as {form}: {reason(error)}") from error
