"""Any folder of pictures: flat, or with one subfolder for each class, or divided into splits."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fastjvae.data.held_out import SPLITS, folders_of_splits
from fastjvae.data.pictures import (
    ALLOW_MORE,
    OTHER_SUFFIXES,
    SUFFIXES,
    channels_first,
    decode_all,
    intact,
    open_picture,
    pictures_below,
)
from fastjvae.data.prepare import fit, reason
from fastjvae.data.source import DataSource, ImageData
from fastjvae.errors import DataError


def find(source: DataSource) -> list[Path]:
    """The pictures, sorted: all loose in the folder, or all below its subfolders.

    The folder is the root or, where images are held out and it has folders ``train`` and ``test``,
    that of the split. Hidden files, hidden folders and files that are not pictures by their suffix
    are left out.
    """
    root = _root(source)
    if not root.is_dir():
        fault = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} {fault}: --data-root must be a folder of pictures")
    try:
        pictures = pictures_below(root)
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read: {reason(error)}") from error
    loose = [picture for picture in pictures if picture.parent == root]
    below = [picture for picture in pictures if picture.parent != root]
    if loose and below:
        raise DataError(
            f"{root} mixes loose pictures ({loose[0].name}) with class subfolders "
            f"({below[0].relative_to(root)}): keep one of the two"
        )
    if not loose and not below:
        raise DataError(f"{root} holds no pictures ({', '.join(sorted(SUFFIXES))})")
    return loose or below


def begins_in_colour(source: DataSource) -> bool:
    """Whether the first of the pictures is in colour; False where it cannot be read."""
    try:
        return open_picture(find(source)[0], "", source.max_pixels).mode != "L"
    except DataError:
        return False


def prepare(source: DataSource, files: Sequence[Path]) -> ImageData:
    """Decodes the pictures; a picture's label is the index of its class among the sorted names.

    With ``image_size`` each picture is cropped around its centre to that aspect, so that nothing
    is distorted, and resized by PIL bilinear (which averages over all pixels when it shrinks).
    EXIF orientation is applied, transparent pixels lie on white, 16-bit grey becomes 8-bit,
    and an animation gives its first frame.
    """
    root = _root(source)
    files, notices = _readable(files, source)
    split = "" if root == source.path else f"/{source.split}"
    name = f"images/{source.path.resolve().name}{split}"
    images = torch.from_numpy(_decode_all(files, source))
    if files[0].parent == root:
        return ImageData(name, images, notices=notices)
    classes, labels = np.unique(
        [file.relative_to(root).parts[0] for file in files], return_inverse=True
    )
    return ImageData(
        name,
        images,
        torch.from_numpy(labels.astype(np.int64)),
        label_names=tuple(classes.tolist()),
        notices=notices,
    )


def _root(source: DataSource) -> Path:
    """The folder of all pictures, or of those of the split where it has a folder of its own."""
    has_own = source.held_out and folders_of_splits(source)
    return source.path / source.split if has_own else source.path


def _readable(files: Sequence[Path], source: DataSource) -> tuple[Sequence[Path], tuple[str, ...]]:
    """The pictures to decode, and notices of those that are left out."""
    notices: tuple[str, ...] = ()
    if source.skip_damaged:
        files, notices = intact(files, lambda file: _decode(file, source))
    root = _root(source)
    if root != source.path:
        splits = [source.path / split for split in SPLITS]
        beside = [p for p in pictures_below(source.path) if not any(s in p.parents for s in splits)]
        if beside:
            notices += (
                f"{len(beside):,} pictures of {source.path} are left out, such as"
                f" {beside[0].relative_to(source.path)}: they are in neither train nor test",
            )
    if others := pictures_below(root, OTHER_SUFFIXES):
        formats = ", ".join(sorted({file.suffix.lower() for file in others}))
        notices += (
            f"{len(others):,} pictures of {root} are left out, such as {others[0].name}: "
            f"{formats} is not read",
        )
    return files, notices


def _decode_all(files: Sequence[Path], source: DataSource) -> npt.NDArray[np.uint8]:
    """(N, C, H, W); C is 1 until the first colour picture, when grey ones become RGB."""
    decoded = chain.from_iterable(decode_all(files, lambda file: _decode(file, source)))
    images = np.empty((0, 1, 1, 1), np.uint8)
    for i, (file, pixels) in enumerate(zip(files, decoded, strict=True)):
        if i == 0:
            images = np.empty((len(files), *pixels.shape), np.uint8)
        height, width = images.shape[2:]
        if pixels.shape[1:] != (height, width):
            raise DataError(
                f"pictures of one data set must have one size, but {files[0]} has "
                f"{height} x {width} and {file} {pixels.shape[1]} x {pixels.shape[2]} (height x "
                f"width): pass --image-size to resize them"
            )
        if len(pixels) > images.shape[1]:
            images = images.repeat(3, axis=1)
        images[i] = pixels
    return images


def _decode(path: Path, source: DataSource) -> npt.NDArray[np.uint8]:
    """(C, H, W) of one picture file."""
    picture = open_picture(path, str(path), source.max_pixels, ALLOW_MORE)
    if source.channels is not None:
        picture = picture.convert("L" if source.channels == 1 else "RGB")
    if source.image_size is not None:
        picture = fit(picture, source.image_size)
    return channels_first(picture)
