"""Arrays of images in any usual form: which layout they have, and their values as uint8.

Layout by shape: rank 3 is (N, H, W); rank 4 is (N, C, H, W) or (N, H, W, C), told apart by which
of the second and the last size is 1 or 3, or else 2 or 4. Values: floats 0..1; integers 0..255;
booleans; integers that never exceed 1, as in dSprites, are black and white like booleans. In
another ``value_range`` than 0..1 whatever is no byte lies between its two ends, and becomes the
nearest of 256 steps between them.

``where`` begins the sentence of an error: the file of an array, or what it was given as.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fastjvae.data.prepare import fit_images
from fastjvae.errors import DataError

# Values checked or converted at a time: 4M, which as float64 take 32 MiB beside the result.
_CHUNK_VALUES = 2**22
_ROUNDED = 1e-6  # of a range: what rounding puts floats beyond its ends


def channels_second(where: Path | str, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A (N, C, H, W) view, whichever of the layouts the array has."""
    if images.ndim not in (3, 4) or images.size == 0:
        raise DataError(
            f"{where} must hold images of rank 3 (N, H, W) or 4 (N, C, H, W or N, H, W, C) and at "
            f"least one of them, got the shape {list(np.shape(images))}"
        )
    if images.ndim == 3:
        return images[:, None]
    for channels in ((1, 3), (2, 4)):
        second, last = images.shape[1] in channels, images.shape[3] in channels
        if second or last:
            break
    if second == last:
        raise DataError(
            f"{where} has the shape {list(images.shape)}, in which"
            f" {'both' if second else 'neither'} of the second and the last size can be channels:"
            f" reorder it so that exactly one of them is 1 or 3, or else 2 or 4, or drop the"
            f" channels of grey images"
        )
    return images if second else images.transpose(0, 3, 1, 2)


def is_ready(
    where: Path | str,
    images: npt.NDArray[Any],
    size: tuple[int, int] | None,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> bool:
    """Whether (N, C, H, W) images are contiguous bytes 0..255 of that size already."""
    as_wanted = images.dtype == np.uint8 and images.flags.c_contiguous
    return (
        as_wanted
        and images.shape[2:] == tuple(size or images.shape[2:])
        and _to_255(where, images, value_range) == (0.0, 1.0)
    )


def as_uint8(
    where: Path | str,
    images: npt.NDArray[Any],
    size: tuple[int, int] | None,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Iterator[npt.NDArray[np.uint8]]:
    """The images as uint8 and of that size, contiguous, a chunk at a time."""
    lowest, scale = _to_255(where, images, value_range)
    values = images.shape[1] * max(math.prod(images.shape[2:]), math.prod(size or ()))
    for chunk in _chunks(images, values):
        if (lowest, scale) != (0.0, 1.0):
            chunk = np.rint((chunk.astype(np.float64) - lowest) * scale).clip(0, 255)
        chunk = np.ascontiguousarray(chunk, np.uint8)
        yield chunk if size is None else fit_images(chunk, size)


def bytes_of(
    where: Path | str,
    images: npt.NDArray[Any],
    size: tuple[int, int] | None,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> npt.NDArray[np.uint8]:
    """The images as uint8 and of that size: themselves, where they are that already."""
    if is_ready(where, images, size, value_range):
        return images
    return np.concatenate(list(as_uint8(where, images, size, value_range)))


def _chunks(images: npt.NDArray[Any], values: int) -> Iterator[npt.NDArray[Any]]:
    """The images in order, some at a time; each counts for so many values."""
    step = max(1, _CHUNK_VALUES // values)
    return (images[start : start + step] for start in range(0, len(images), step))


def _to_255(
    where: Path | str, images: npt.NDArray[Any], value_range: tuple[float, float]
) -> tuple[float, float]:
    """The value that becomes 0, and the factor from there: 255 for values 0..1, 1 for 0..255."""
    if images.dtype.kind not in "fbiu":
        raise DataError(
            f"{where} must hold images as integers 0..255 or floats 0..1, got {images.dtype}"
        )
    with np.errstate(invalid="ignore"):  # NaN is the answer wanted, not a warning
        ranges = [(chunk.min(), chunk.max()) for chunk in _chunks(images, images[0].size)]
        low, high = np.min(ranges).item(), np.max(ranges).item()
    if not np.isfinite([low, high]).all():
        raise DataError(f"{where} holds values that are NaN or infinite among its images")
    if images.dtype == np.uint8 or tuple(value_range) == (0, 1):
        highest = 1 if images.dtype.kind == "f" else 255
        if low < 0 or high > highest:
            are_bytes = "divide 0..255 by 255, or give bytes, uint8; " * (low >= 0 and high <= 255)
            raise DataError(
                f"{where} must hold {images.dtype} images with values from 0 to {highest}, "
                f"got {low} to {high}: {are_bytes}a likelihood gaussian takes another value range, "
                f"on the command line --likelihood gaussian --value-range LOWEST HIGHEST"
            )
        return 0.0, 255.0 if high <= 1 and tuple(value_range) == (0, 1) else 1.0
    least, most = value_range
    room = _ROUNDED * (most - least)
    if low < least - room or high > most + room:
        raise DataError(
            f"{where} must hold images with values in the value range, {least} to {most}, "
            f"got {low} to {high}"
        )
    return least, 255 / (most - least)


def integers(
    where: Path | str, what: str, array: npt.NDArray[Any] | None, rank: int, count: int
) -> torch.Tensor | None:
    """(N,) or (N, F) int64 of an array of integers; a column of labels will do."""
    if array is None:
        return None
    if array.dtype.kind not in "iu":
        raise DataError(f"{where} must hold {what} as integers, got {array.dtype}")
    if rank == 1 and array.shape == (count, 1):
        array = array[:, 0]
    if array.ndim != rank or len(array) != count:
        form = f"({count},)" if rank == 1 else f"({count}, factors)"
        raise DataError(
            f"{where} must hold {what} of shape {form} for its {count} images, "
            f"got {list(array.shape)}"
        )
    if array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{where} must hold {what} below 2^63, got {array.max()}")
    return torch.from_numpy(array.astype(np.int64))  # a copy: labels are in memory
