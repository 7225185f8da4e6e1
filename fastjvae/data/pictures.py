"""What the data sets of pictures share: finding picture files, and decoding many of them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from fastjvae.data.prepare import reason
from fastjvae.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_Item = TypeVar("_Item")

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})

# Pictures that a thread decodes in one go: with a single one, handing it over would cost as much
# as decoding it where pictures are small.
_BATCH = 64

# Batches that wait for whoever takes them, so that pictures do not pile up before a slow disk:
# enough to keep 16 threads busy.
_WAITING = 32


def all_pictures(folder: Path, wanted: str) -> list[Path]:
    """The pictures below a folder, which has some; ``wanted`` says what it must be otherwise."""
    try:
        files = pictures_below(folder)
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {reason(error)}") from error
    if not files:
        raise DataError(f"{folder} holds no pictures: {wanted}")
    return files


def is_picture(name: str) -> bool:
    """Whether a file is one of a picture by its suffix, and not hidden."""
    return Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")


def pictures_below(folder: Path) -> list[Path]:
    """The pictures in a folder and its subfolders, sorted; hidden ones are left out.

    Raises:
        OSError: a folder cannot be read.
    """

    def fail(error: OSError) -> None:  # os.walk would skip a folder that it cannot read
        raise error

    pictures: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        pictures += [Path(parent, name) for name in filter(is_picture, names)]
    return sorted(pictures)


def open_picture(file: Path | IO[bytes], name: str) -> Image.Image:
    """A picture as 8-bit grey ("L") or "RGB", as :func:`plain` makes it, the right way up.

    Raises:
        DataError: it cannot be read, whatever is wrong; says ``name``.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            return plain(ImageOps.exif_transpose(opened))
    except Exception as error:  # a damaged file makes Pillow's decoders raise almost anything
        raise DataError(f"{name} cannot be read as a picture: {reason(error)}") from error


def plain(picture: Image.Image) -> Image.Image:
    """The picture as 8-bit grey ("L") or "RGB", transparency laid on white."""
    from PIL import Image

    if picture.mode.startswith("I"):  # 16-bit grey, which older Pillow opens as 32-bit
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"values from {values.min()} to {values.max()} are not 16-bit grey")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if picture.mode == "F":
        raise ValueError("floating-point pictures have no fixed white: save them as 8-bit")
    mode = "L" if picture.mode in ("1", "L", "LA") else "RGB"
    if picture.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return picture.convert(mode)


def channels_first(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """The (C, H, W) pixels of a grey or RGB picture."""
    pixels = np.asarray(picture)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def decode_all(
    items: Sequence[_Item], decode: Callable[[_Item], npt.NDArray[np.uint8]]
) -> Iterator[list[npt.NDArray[np.uint8]]]:
    """What ``decode`` makes of each item, in their order, some at a time; threads do it ahead.

    Pillow decodes and resizes without the GIL. What ``decode`` raises is raised here.
    """

    def decode_batch(start: int) -> list[npt.NDArray[np.uint8]]:
        return [decode(item) for item in items[start : start + _BATCH]]

    waiting: deque[Future[list[npt.NDArray[np.uint8]]]] = deque()
    with ThreadPoolExecutor() as pool:
        try:
            for start in range(0, len(items), _BATCH):
                waiting.append(pool.submit(decode_batch, start))
                if len(waiting) == _WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def decode_stacked(
    items: Sequence[_Item], decode: Callable[[_Item], npt.NDArray[np.uint8]]
) -> Iterator[npt.NDArray[np.uint8]]:
    """:func:`decode_all` of pictures of one shape, as (n, C, H, W) arrays, contiguous."""
    return (np.ascontiguousarray(np.stack(batch)) for batch in decode_all(items, decode))
