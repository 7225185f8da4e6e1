"""CelebA's aligned faces: the official, torchvision's or Kaggle's layout, a folder or a zip."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from fastjvae.data.archives import check_member
from fastjvae.data.cache import gather
from fastjvae.data.memory import tensor_on
from fastjvae.data.pictures import (
    ALLOW_MORE,
    PictureError,
    all_pictures,
    channels_first,
    decode_stacked,
    intact,
    is_picture,
    open_picture,
)
from fastjvae.data.prepare import fit, held_out, legible, reading, reason
from fastjvae.data.source import SIZES, DataSource, ImageData
from fastjvae.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_Reader = Callable[[], "Image.Image"]

# The official archives' names, and those of the folders in them.
_PICTURES = ("img_align_celeba", "img_align_celeba_png")
_LISTS = ("list_eval_partition.txt", "list_eval_partition.csv")  # the official one, Kaggle's
_PARTS = {"train": "0", "test": "2"}

# Where the pictures are below the root: in torchvision's layout, itself, or in the official one.
_BASES = ("celeba", ".", "Img")

# Folders above the pictures in which the list may be, itself or in the official `Eval`: Kaggle's
# pictures are in a folder in a folder, and `Img` is beside `Eval`.
_ABOVE = 3

_WANTED = (
    f"--data-root must be a folder with celeba/{_PICTURES[0]}, Img/{_PICTURES[0]} or "
    f"{_PICTURES[0]} in it, a folder of aligned pictures, or a .zip file of them"
)


def find(source: DataSource) -> list[Path]:
    """The list of the official partition, if it is there; and the pictures, or the zip of them."""
    root = source.path
    if not root.exists():
        raise DataError(f"{root} does not exist: {_WANTED}")
    if root.is_dir():
        within = [root / base / name for base in _BASES for name in _PICTURES]
        for folder in within:
            if folder.is_dir():
                return [*_listing(folder), *all_pictures(folder, _WANTED)]
            if (archive := folder.with_name(f"{folder.name}.zip")).is_file():
                return [*_listing(archive), archive]
        return [*_listing(root), *all_pictures(root, _WANTED)]
    if root.suffix.lower() != ".zip":
        raise DataError(f"{root} is neither a folder nor a .zip file: {_WANTED}")
    return [*_listing(root), root]


def prepare(source: DataSource, files: Sequence[Path]) -> ImageData:
    """Decodes the pictures of one split, in the order of their names: RGB, 64 x 64.

    Of 178 x 218 pixels the middle 178 x 178 are taken and resized by PIL bilinear. That is how the
    published model saw them: the mouth of the face that it draws on average is in row 47.5, and
    would be in row 44.6 of faces resized to 64 x 64 as a whole.

    With the official partition beside the pictures, or in their zip, the splits are its training
    and its test pictures; those for validation are in neither. Without it the last tenth of the
    pictures, and one at least, is the test split, which for all of CelebA is nearly the official
    one, and a notice says that those for validation are trained on.
    """
    listing, pictures = (files[0], files[1:]) if files[0].name in _LISTS else (None, files)
    size = source.image_size or SIZES[source.name]
    notices: tuple[str, ...] = ()

    def decode(read: _Reader) -> npt.NDArray[np.uint8]:
        return channels_first(fit(read().convert("RGB"), size))

    with _opened(pictures, source.max_pixels) as (readers, listing_inside):
        partition = _read_listing(listing) if listing else listing_inside
        if partition is None:
            notices += (
                f"no {_LISTS[0]} is beside the pictures of {source.path}: the last tenth of them "
                f"is the test split, and the official validation pictures, if they are there, are "
                f"trained on",
            )
        names = _of_split(source, partition, sorted(readers, key=_last_part))
        if source.skip_damaged:
            names, damaged = intact(names, lambda name: decode(readers[name]))
            notices += damaged
        pixels = gather(
            source,
            files,
            (len(names), 3, *size),
            lambda: decode_stacked([readers[name] for name in names], decode),
        )
    return ImageData(
        name=f"celeba/{source.split}",
        images=tensor_on(pixels.array),
        mapped=pixels.mapped,
        notices=notices,
        known_digest=pixels.sha256,
    )


def _listing(pictures: Path) -> list[Path]:
    """The official list that is nearest to the pictures, in their folder or above, or nothing."""
    folders: list[Path] = []
    for path in (pictures.absolute(), pictures.resolve()):
        folders += [path, *path.parents[:_ABOVE]]
    lists = [
        folder / below / name for folder in folders for below in (".", "Eval") for name in _LISTS
    ]
    return [file for file in lists if file.is_file()][:1]


class _Partition(NamedTuple):
    """The official partition."""

    path: str  # of the list
    parts: dict[str, str]  # by a picture's name without its suffix: 0 train, 1 validation, 2 test


@contextmanager
def _opened(
    files: Sequence[Path], max_pixels: int
) -> Iterator[tuple[dict[str, _Reader], _Partition | None]]:
    """A reader of each picture by its full name, and the list in the zip, if they are in one."""
    path = files[0]
    if path.suffix.lower() != ".zip":
        yield (
            {
                str(file): partial(open_picture, file, str(file), max_pixels, ALLOW_MORE)
                for file in files
            },
            None,
        )
        return
    with reading(path, "a zip file"):
        archive = ZipFile(path)
    with archive:
        members = [name for name in archive.namelist() if _is_member(name)]
        if not members:
            raise DataError(f"{path} holds no pictures: {_WANTED}")
        lists = [name for name in archive.namelist() if _last_part(name) in _LISTS]
        partition = None
        if lists:
            with reading(path, "a zip file"):
                content = _read_member(archive, path, lists[0], _MOST_OF_A_LIST)
            partition = _parse_listing(f"{legible(lists[0])} in {path}", content)
        yield (
            {name: partial(_read_picture, archive, path, name, max_pixels) for name in members},
            partition,
        )


# Bytes of a list; the official one of 202,599 pictures has 2.7 million.
_MOST_OF_A_LIST = 2**26


def _is_member(name: str) -> bool:
    """Whether a zip's member is a picture, and neither hidden nor what macOS puts beside it."""
    parts = [part for part in re.split(r"[/\\]", name) if part not in (".", "..")]
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return is_picture(_last_part(name)) and not hidden


def _read_member(archive: ZipFile, path: Path, name: str, most: int) -> bytes:
    """The bytes of a member, which may be at most so many; any error, as zipfile has it."""
    info = archive.getinfo(name)
    check_member(info, path.stat().st_size)
    if info.file_size > most:
        raise ValueError(f"it has {info.file_size:,} bytes, more than {most:,}")
    return archive.read(name)


def _read_picture(archive: ZipFile, path: Path, name: str, max_pixels: int) -> Image.Image:
    where = f"{legible(name)} in {path}"
    try:
        # 8 bytes a pixel and a MiB: no picture of the formats that are read takes more.
        content = _read_member(archive, path, name, 8 * max_pixels + 2**20)
    except Exception as error:  # a damaged zip makes zipfile raise almost anything
        raise PictureError(where, reason(error)) from error
    return open_picture(BytesIO(content), where, max_pixels, ALLOW_MORE)


def _last_part(name: str) -> str:
    return re.split(r"[/\\]", name)[-1]


def _stem(name: str) -> str:
    """A picture's name without its suffix: the official list says .jpg also of .png."""
    return PurePosixPath(_last_part(name)).stem


def _of_split(source: DataSource, partition: _Partition | None, names: list[str]) -> list[str]:
    """The names of the pictures of one split, of ``names`` in their order."""
    if partition is None:
        if len(names) < 2:
            raise DataError(
                f"{source.path} must hold at least 2 pictures, one of them for the test split, "
                f"got only {legible(names[0])}"
            )
        start = len(names) - held_out(len(names))
        return names[start:] if source.split == "test" else names[:start]
    listing, parts = partition
    unknown = next((name for name in names if _stem(name) not in parts), None)
    if unknown is not None:
        raise DataError(f"{listing} does not say which part {legible(unknown)} belongs to")
    chosen = [name for name in names if parts[_stem(name)] == _PARTS[source.split]]
    if not chosen:
        raise DataError(
            f"{listing} puts none of the {len(names)} pictures of {source.path} into part "
            f"{_PARTS[source.split]}, the {source.split} split"
        )
    return chosen


def _read_listing(path: Path) -> _Partition:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {reason(error)}") from error
    return _parse_listing(str(path), content)


def _parse_listing(path: str, content: bytes) -> _Partition:
    """The part of each picture; the list may begin with the marks that Windows' tools write.

    A line has a name, in quotes or not, and its part, and as pandas writes it the line's number in
    front, with spaces, commas, semicolons or tabs between.
    """
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        lines = content.decode("utf-16" if utf16 else "utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} cannot be read: {reason(error)}") from error
    parts: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is not None:
            name, part = _stem(match["name"]), match["part"]
            if parts.setdefault(name, part) != part:
                raise DataError(
                    f"{path} puts {legible(match['name'])} into parts {parts[name]} and {part}"
                )
        elif line.strip() and (number > 1 or not path.split(" in ")[0].endswith(".csv")):
            raise DataError(
                f"{path} must hold lines such as 000001.jpg 0, got {_cut(line.strip())!r} in line "
                f"{number}"
            )
    return _Partition(path, parts)


_LINE = re.compile(
    r"""\s*(?:["']?[0-9]+["']?[\s,;]+)?(?P<quote>["']?)(?P<name>[^\s"',;]+)(?P=quote)"""
    r"""[\s,;]+["']?(?P<part>[012])["']?[\s,;]*"""
)


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
