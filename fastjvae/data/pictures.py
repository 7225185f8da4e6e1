"""Picture files: finding them, and decoding many of them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

from fastjvae._system import folder_identity
from fastjvae.data.prepare import legible, own_limits, reason
from fastjvae.data.source import MAX_PIXELS
from fastjvae.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_Item = TypeVar("_Item")

# The formats that are read, by Pillow's names, and the suffixes of their files. A file's content
# says which of them it is. Pillow knows others, some of which start programs (EPS: Ghostscript).
FORMATS = {
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "JPEG": (".jfif", ".jpe", ".jpeg", ".jpg"),
    "PNG": (".png",),
    "PPM": (".pbm", ".pgm", ".pnm", ".ppm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)

# Of pictures too, but in formats that are not read.
OTHER_SUFFIXES = frozenset({".avif", ".heic", ".heif", ".jp2", ".jxl", ".tga"})

# Pictures of more pixels are decoded one at a time, whatever the number of threads: 256 MiB each.
_LARGE = 2**24
_one_large = Lock()

# What to do about a larger picture of a data set.
ALLOW_MORE = ": allow it by --max-pixels, or make it smaller"

# Damaged pictures that a sentence names; it counts the others.
_NAMED = 3

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


def is_picture(name: str, suffixes: Collection[str] = SUFFIXES) -> bool:
    """Whether a file is one of a picture by its suffix, and not hidden."""
    return Path(name).suffix.lower() in suffixes and not name.startswith(".")


def pictures_below(folder: Path, suffixes: Collection[str] = SUFFIXES) -> list[Path]:
    """The pictures in a folder and its subfolders, sorted; hidden ones are left out.

    Links to folders are followed, but not into a folder that they lie in.

    Raises:
        OSError: a folder cannot be read.
    """

    def fail(error: OSError) -> None:  # os.walk would skip a folder that it cannot read
        raise error

    pictures: list[Path] = []
    above = {str(folder): frozenset({folder_identity(folder)})}  # of each folder, with itself
    for parent, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        inside = above.pop(parent)
        for name in folders:
            identity = folder_identity(Path(parent, name))
            if not name.startswith(".") and identity not in inside:
                above[os.path.join(parent, name)] = inside | {identity}  # noqa: PTH118  as os.walk
        folders[:] = [n for n in folders if os.path.join(parent, n) in above]  # noqa: PTH118
        pictures += [Path(parent, name) for name in names if is_picture(name, suffixes)]
    return sorted(pictures, key=lambda path: path.parts)  # Windows' paths know no upper case


class PictureError(DataError):
    """A picture that cannot be read; it can be left out.

    Attributes:
        name: of its file.
        why: it cannot be read.
    """

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name} cannot be read as a picture: {why}")
        self.name, self.why = name, why


def open_picture(
    file: Path | IO[bytes], name: str, max_pixels: int = MAX_PIXELS, hint: str = ""
) -> Image.Image:
    """A picture as 8-bit grey ("L") or "RGB", as :func:`plain` makes it, the right way up.

    Args:
        file: in one of ``FORMATS``, whatever its suffix says.
        name: of the file, for errors.
        max_pixels: a picture of more is refused before it is decoded.
        hint: what to do about such a picture, behind the sentence that refuses it.

    Raises:
        PictureError: it cannot be read, whatever is wrong.
        DataError: it has too many pixels.
    """
    from PIL import Image

    name = legible(name)
    try:
        with own_limits():
            opened = Image.open(file, formats=tuple(FORMATS))
        with opened:
            pixels = opened.width * opened.height
            if pixels <= max_pixels:
                with _one_large if pixels > _LARGE else nullcontext():
                    return upright(opened)
            size = f"{opened.width:,} x {opened.height:,}"
    except Exception as error:  # a damaged file makes Pillow's decoders raise almost anything
        raise PictureError(name, _why(error)) from error
    raise DataError(
        f"{name} has {size} pixels, more than {max_pixels:,}, the most that are read{hint}"
    )


def upright(picture: Image.Image) -> Image.Image:
    """The picture as :func:`plain` makes it, turned as its EXIF orientation says."""
    from PIL import ImageOps

    _scale_transparency(picture)
    return plain(ImageOps.exif_transpose(picture))


def _why(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):  # which says the name again
        return f"it is in none of the formats {', '.join(FORMATS)}"
    return reason(error)


def _scale_transparency(png: Image.Image) -> None:
    """Give the transparent colour of a PNG the scale that Pillow gives the pixels alone."""
    colour = png.info.get("transparency")
    if png.format != "PNG" or colour is None or not png.tile:  # type: ignore[attr-defined]
        return
    form = png.tile[0][3]  # type: ignore[attr-defined]
    if form in ("L;2", "L;4") and isinstance(colour, int):
        png.info["transparency"] = colour * {"L;2": 85, "L;4": 17}[form]
    elif form == "RGB;16B" and isinstance(colour, tuple):
        png.info["transparency"] = tuple(value >> 8 for value in colour)


def plain(picture: Image.Image) -> Image.Image:
    """The picture as 8-bit grey ("L") or "RGB", transparency laid on white.

    A picture with a palette is grey if its pixels are; others say so by their mode.
    """
    from PIL import Image, ImageChops

    if picture.mode.startswith("I"):  # 16-bit grey, which older Pillow opens as 32-bit
        values = np.asarray(picture).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"values from {values.min()} to {values.max()} are not 16-bit grey")
        if isinstance(transparent := picture.info.get("transparency"), int):
            values[values == transparent] = 65535
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if picture.mode == "F":
        raise ValueError("floating-point pictures have no fixed white: save them as 8-bit")
    mode = "L" if picture.mode in ("1", "L", "LA") else "RGB"
    has_palette = picture.mode in ("P", "PA")
    if picture.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    picture = picture.convert(mode)
    if has_palette:
        red, green, blue = picture.split()
        if not any(ImageChops.difference(red, other).getbbox() for other in (green, blue)):
            return red
    return picture


def channels_first(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """The (C, H, W) pixels of a grey or RGB picture."""
    pixels = np.asarray(picture)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def decode_all(
    items: Sequence[_Item], decode: Callable[[_Item], npt.NDArray[np.uint8]]
) -> Iterator[list[npt.NDArray[np.uint8]]]:
    """The arrays of all items by ``decode``, in order, some at a time; threads decode ahead.

    Pillow decodes and resizes without the GIL. What ``decode`` raises is raised here.

    Raises:
        DataError: pictures cannot be read; names the first of them and says how many there are.
    """
    damaged: list[PictureError] = []
    for batch in _decoded(items, decode):
        damaged += [result for result in batch if isinstance(result, PictureError)]
        if not damaged:
            yield [result for result in batch if isinstance(result, np.ndarray)]
    if len(damaged) == 1:
        raise DataError(f"{damaged[0]} (--skip-damaged leaves it out)") from damaged[0]
    if damaged:
        raise DataError(f"{_count(damaged, len(items))} (--skip-damaged leaves them out)")


def intact(
    items: Sequence[_Item], decode: Callable[[_Item], npt.NDArray[np.uint8]]
) -> tuple[list[_Item], tuple[str, ...]]:
    """The items that ``decode`` can read, and a notice that says how many others there are.

    Raises:
        DataError: there is none.
    """
    results = [
        result if isinstance(result, PictureError) else None
        for batch in _decoded(items, decode)
        for result in batch
    ]
    damaged = [result for result in results if result is not None]
    if not damaged:
        return list(items), ()
    if len(damaged) == len(items):
        raise DataError(_count(damaged, len(items)))
    kept = [item for item, result in zip(items, results, strict=True) if result is None]
    return kept, (f"{_count(damaged, len(items))}: left out",)


def _count(damaged: Sequence[PictureError], number: int) -> str:
    """The words for damaged pictures: how many of so many, and the first of them."""
    first = ", ".join(f"{error.name} ({error.why})" for error in damaged[:_NAMED])
    others = f" and {len(damaged) - _NAMED:,} more" if len(damaged) > _NAMED else ""
    return f"{len(damaged):,} of {number:,} pictures cannot be read: {first}{others}"


def _decoded(
    items: Sequence[_Item], decode: Callable[[_Item], npt.NDArray[np.uint8]]
) -> Iterator[list[npt.NDArray[np.uint8] | PictureError]]:
    """The array of each item by ``decode``, or the error that says why it cannot be read."""

    def attempt(item: _Item) -> npt.NDArray[np.uint8] | PictureError:
        try:
            return decode(item)
        except PictureError as error:
            return error

    def decode_batch(start: int) -> list[npt.NDArray[np.uint8] | PictureError]:
        return [attempt(item) for item in items[start : start + _BATCH]]

    waiting: deque[Future[list[npt.NDArray[np.uint8] | PictureError]]] = deque()
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
