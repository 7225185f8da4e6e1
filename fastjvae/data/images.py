"""Any folder of pictures: flat, or with one subfolder for each class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from fastjvae.data.prepare import fit, reason
from fastjvae.data.source import DataSource, ImageData
from fastjvae.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})

# Pictures that a thread decodes in one go: with a single one, handing it over would cost as much
# as decoding it where pictures are small.
_BATCH = 64


def find(source: DataSource) -> list[Path]:
    """The pictures, sorted: all loose in the folder, or all below its subfolders.

    Hidden files, hidden folders and files that are not pictures by their suffix are left out.
    """
    root = source.path
    if not root.is_dir():
        fault = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} {fault}: --data-root must be a folder of pictures")
    loose: list[Path] = []
    below: list[Path] = []
    try:
        for entry in sorted(root.iterdir()):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                below += _pictures_below(entry)
            elif _is_picture(entry.name):
                loose.append(entry)
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read: {reason(error)}") from error
    if loose and below:
        raise DataError(
            f"{root} mixes loose pictures ({loose[0].name}) with class subfolders "
            f"({below[0].relative_to(root)}): keep one of the two"
        )
    if not loose and not below:
        raise DataError(f"{root} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return loose or below


def prepare(source: DataSource, files: Sequence[Path]) -> ImageData:
    """Decodes the pictures; a picture's label is the index of its class among the sorted names.

    With ``image_size`` each picture is cropped around its centre to that aspect, so that nothing
    is distorted, and resized by PIL bilinear (which averages over all pixels when it shrinks).
    EXIF orientation is applied, transparent pixels lie on white, 16-bit grey becomes 8-bit,
    and an animation gives its first frame.
    """
    root = source.path
    name, images = f"images/{root.resolve().name}", torch.from_numpy(_decode_all(files, source))
    if files[0].parent == root:
        return ImageData(name, images)
    classes, labels = np.unique(
        [file.relative_to(root).parts[0] for file in files], return_inverse=True
    )
    return ImageData(
        name, images, torch.from_numpy(labels.astype(np.int64)), label_names=tuple(classes.tolist())
    )


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in SUFFIXES and not name.startswith(".")


def _pictures_below(folder: Path) -> list[Path]:
    def fail(error: OSError) -> None:  # os.walk would skip a folder that it cannot read
        raise error

    pictures: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        pictures += [Path(parent, name) for name in filter(_is_picture, names)]
    return sorted(pictures)


def _decode_all(files: Sequence[Path], source: DataSource) -> npt.NDArray[np.uint8]:
    """(N, C, H, W); C is 1 until the first colour picture, when grey ones become RGB."""
    first = _decode(files[0], source)
    images = np.empty((len(files), *first.shape), np.uint8)
    starts = range(0, len(files), _BATCH)

    def decode_batch(start: int) -> list[npt.NDArray[np.uint8]]:
        batch = files[start : start + _BATCH]
        decoded = [_decode(file, source) for file in batch]
        for file, pixels in zip(batch, decoded, strict=True):
            if pixels.shape[1:] != first.shape[1:]:
                raise DataError(
                    f"pictures of one data set must have one size, but {files[0]} has "
                    f"{first.shape[1]} x {first.shape[2]} and {file} {pixels.shape[1]} x "
                    f"{pixels.shape[2]} (height x width): pass --image-size to resize them"
                )
        return decoded

    with ThreadPoolExecutor() as pool:  # Pillow decodes and resizes without the GIL
        for i, pixels in enumerate(chain.from_iterable(pool.map(decode_batch, starts))):
            if len(pixels) > images.shape[1]:
                images = images.repeat(3, axis=1)
            images[i] = pixels
    return images


def _decode(path: Path, source: DataSource) -> npt.NDArray[np.uint8]:
    """(C, H, W) of one picture file."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            picture = _plain(ImageOps.exif_transpose(opened))
    except Exception as error:  # a damaged file makes Pillow's decoders raise almost anything
        raise DataError(f"{path} cannot be read as a picture: {reason(error)}") from error
    if source.channels is not None:
        picture = picture.convert("L" if source.channels == 1 else "RGB")
    if source.image_size is not None:
        picture = fit(picture, source.image_size)
    pixels = np.asarray(picture)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _plain(picture: Image.Image) -> Image.Image:
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
