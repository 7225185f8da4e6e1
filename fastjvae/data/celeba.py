"""CelebA's aligned faces: torchvision's layout, a folder of the pictures, or a zip of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from fastjvae.data.cache import gather
from fastjvae.data.memory import tensor_on
from fastjvae.data.pictures import (
    all_pictures,
    channels_first,
    decode_stacked,
    is_picture,
    open_picture,
)
from fastjvae.data.prepare import fit, held_out, reading, reason
from fastjvae.data.source import SIZES, DataSource, ImageData
from fastjvae.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_Reader = Callable[[], "Image.Image"]

_PICTURES = "img_align_celeba"  # the official archive's name, and that of the folder in it
_LISTS = ("list_eval_partition.txt", "list_eval_partition.csv")  # the official one, Kaggle's
_PARTS = {"train": "0", "test": "2"}

_WANTED = (
    f"--data-root must be a folder with celeba/{_PICTURES} or {_PICTURES} in it, a folder of "
    f"aligned pictures, or a .zip file of them"
)


def find(source: DataSource) -> list[Path]:
    """The list of the official partition, if it is there; and the pictures, or the zip of them."""
    root = source.path
    if not root.exists():
        raise DataError(f"{root} does not exist: {_WANTED}")
    for base in (root / "celeba", root) if root.is_dir() else ():
        folder, archive = base / _PICTURES, base / f"{_PICTURES}.zip"
        if folder.is_dir():
            return [*_listing(base, folder, base.parent), *all_pictures(folder, _WANTED)]
        if archive.is_file():
            return [*_listing(base), archive]
    if root.is_dir():
        return [*_listing(root, root.parent), *all_pictures(root, _WANTED)]
    if root.suffix.lower() != ".zip":
        raise DataError(f"{root} is neither a folder nor a .zip file: {_WANTED}")
    return [*_listing(root.parent), root]


def prepare(source: DataSource, files: Sequence[Path]) -> ImageData:
    """Decodes the pictures of one split, in the order of their names: RGB, 64 x 64.

    Of 178 x 218 pixels the middle 178 x 178 are taken and resized by PIL bilinear. That is how the
    published model saw them: the mouth of the face that it draws on average is in row 47.5, and
    would be in row 44.6 of faces resized to 64 x 64 as a whole.

    With the official partition beside the pictures, the splits are its training and its test
    pictures; those for validation are in neither. Without it the last tenth of the pictures, and
    one at least, is the test split, which for all of CelebA is nearly the official one.
    """
    listing, pictures = (files[0], files[1:]) if files[0].name in _LISTS else (None, files)
    size = source.image_size or SIZES[source.name]
    with _opened(pictures) as readers:
        names = _of_split(source, listing, sorted(readers, key=_last_part))
        pixels = gather(
            source,
            files,
            (len(names), 3, *size),
            lambda: _decoded([readers[name] for name in names], size),
        )
    return ImageData(
        name=f"celeba/{source.split}",
        images=tensor_on(pixels.array),
        mapped=pixels.mapped,
        known_digest=pixels.sha256,
    )


def _listing(*folders: Path) -> list[Path]:
    """The first of the official lists that is in one of the folders, or nothing."""
    lists = [folder / name for folder in folders for name in _LISTS]
    return [file for file in lists if file.is_file()][:1]


@contextmanager
def _opened(files: Sequence[Path]) -> Iterator[dict[str, _Reader]]:
    """For each picture's full name what reads it: of the files themselves, or of those in a zip."""
    path = files[0]
    if path.suffix.lower() != ".zip":
        yield {str(file): partial(open_picture, file, str(file)) for file in files}
        return
    with reading(path, "a zip file"):
        archive = ZipFile(path)
    with archive:
        members = [name for name in archive.namelist() if _is_member(name)]
        if not members:
            raise DataError(f"{path} holds no pictures: {_WANTED}")
        yield {name: partial(_read_member, archive, path, name) for name in members}


def _is_member(name: str) -> bool:
    """Whether a zip's member is a picture, and neither hidden nor what macOS puts beside it."""
    hidden = any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
    return is_picture(_last_part(name)) and not hidden


def _read_member(archive: ZipFile, path: Path, name: str) -> Image.Image:
    with reading(path, "a zip file"):
        content = archive.read(name)
    return open_picture(BytesIO(content), f"{name} in {path}")


def _last_part(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


def _of_split(source: DataSource, listing: Path | None, names: list[str]) -> list[str]:
    """Those of the pictures, which are in the order of their names, that are of one split."""
    if listing is None:
        if len(names) < 2:
            raise DataError(
                f"{source.path} must hold at least 2 pictures, one of them for the test split, "
                f"got only {names[0]}"
            )
        start = len(names) - held_out(len(names))
        return names[start:] if source.split == "test" else names[:start]
    parts = _read_listing(listing)
    unknown = next((name for name in names if _last_part(name) not in parts), None)
    if unknown is not None:
        raise DataError(f"{listing} does not say which part {unknown} belongs to")
    chosen = [name for name in names if parts[_last_part(name)] == _PARTS[source.split]]
    if not chosen:
        raise DataError(
            f"{listing} puts none of the {len(names)} pictures of {source.path} into part "
            f"{_PARTS[source.split]}, the {source.split} split"
        )
    return chosen


def _read_listing(path: Path) -> dict[str, str]:
    """The part of each picture by its name: 0 for training, 1 for validation, 2 for the test."""
    try:
        lines = path.read_text().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {reason(error)}") from error
    parts: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        match = re.fullmatch(r"\s*(\S+?)[\s,]+([012])\s*", line)
        if match is not None:
            parts[match[1]] = match[2]
        elif line.strip() and (number > 1 or path.suffix != ".csv"):  # whose first line is names
            raise DataError(
                f"{path} must hold lines such as 000001.jpg 0, got {line.strip()!r} in line "
                f"{number}"
            )
    return parts


def _decoded(readers: Sequence[_Reader], size: tuple[int, int]) -> Iterator[npt.NDArray[np.uint8]]:
    return decode_stacked(readers, lambda read: channels_first(fit(read().convert("RGB"), size)))
