"""Images in numpy files: one .npy array, or an .npz with labels and factors beside the images.

Layout by shape: rank 3 is (N, H, W); rank 4 is (N, C, H, W) or (N, H, W, C), told apart by which
of the second and the last size is 1 or 3, or else 2 or 4. Values: floats 0..1; integers 0..255;
booleans; integers that never exceed 1, as in dSprites, are black and white like booleans.

A .npy file of uint8 images in the layout (N, H, W) or (N, C, H, W) is left on disk and mapped, and
so is what had to be converted but is too large for memory.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fastjvae.data.cache import Pixels, gather
from fastjvae.data.memory import tensor_on
from fastjvae.data.npy import MAGIC, Archive, map_array, open_archive
from fastjvae.data.prepare import fit_images, legible, reading
from fastjvae.data.source import DataSource, ImageData
from fastjvae.errors import DataError

# Names inside an .npz, the first that is there counts; `arr_0` is what np.savez calls a nameless
# array, `imgs` and `latents_classes` are dSprites'.
IMAGE_KEYS = ("images", "imgs", "x", "arr_0")
LABEL_KEYS = ("labels", "y")
FACTOR_KEYS = ("factors", "latents_classes")

# Further usual names of labels: an array of such a name is taken where it has the form of labels.
_USUAL_LABELS = ("Y", "label", "target", "targets", "arr_1")

# Values checked or converted at a time: 4M, which as float64 take 32 MiB beside the result.
_CHUNK_VALUES = 2**22

_Arrays = Mapping[str, npt.NDArray[Any]]


def find(source: DataSource) -> list[Path]:
    """The images' file and, where it is another one, the labels' file."""
    files = [_split_key(source.root or "")[0]]
    if source.labels is not None:
        files.append(_split_key(source.labels)[0])
    for file in files:
        if not file.is_file():
            fault = "is a folder" if file.exists() else "does not exist"
            raise DataError(f"{file} {fault}: arrays are loaded from a .npy or .npz file")
    return files


def prepare(source: DataSource, files: Sequence[Path]) -> ImageData:
    """Reads the arrays; ``image_size`` crops around the centre to its aspect and resizes."""
    path, key = _split_key(source.root or "")
    labels_path = path
    notices: tuple[str, ...] = ()
    with _opened(path) as arrays:
        key = _image_key(path, arrays, key)
        images = arrays[key]
        if source.labels is None:
            labels, notices = _labels_beside(path, arrays, key, len(images) if images.ndim else 0)
        factors = _pick(arrays, FACTOR_KEYS)
        label_names = _names(path, arrays, "label_names")
        factor_names = _names(path, arrays, "factor_names")
    if source.labels is not None:
        labels_path, labels = _read_labels(source.labels)
    pixels = _to_uint8(source, files, _channels_second(path, images))
    count = len(pixels.array)
    return ImageData(
        name=f"arrays/{path.name}",
        images=tensor_on(pixels.array),
        labels=_integers(labels_path, "labels", labels, rank=1, count=count),
        factors=_integers(path, "factors", factors, rank=2, count=count),
        label_names=label_names,
        factor_names=factor_names,
        mapped=pixels.mapped,
        notices=notices,
        known_digest=pixels.sha256,
    )


@contextmanager
def _opened(path: Path) -> Iterator[_Arrays]:
    """The arrays of a .npz by name, or of a .npy, memory-mapped, under the name ``arr_0``."""
    with reading(path, "a numpy file"):
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
        mapped = {"arr_0": map_array(path)} if magic == MAGIC else None
    if mapped is not None:
        yield mapped
    elif magic.startswith(b"PK"):
        with open_archive(path) as archive:
            yield archive
    else:
        raise DataError(f"{path} is neither a .npy nor a .npz file")


def _split_key(text: str) -> tuple[Path, str | None]:
    """``FILE.npz:NAME`` as its two parts; a colon elsewhere belongs to the path."""
    file, _, key = text.rpartition(":")
    if file.lower().endswith(".npz"):
        return Path(file).expanduser(), key
    return Path(text).expanduser(), None


def _pick(arrays: _Arrays, keys: Sequence[str]) -> npt.NDArray[Any] | None:
    return next((arrays[key] for key in keys if key in arrays), None)


def _form(arrays: _Arrays, key: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an array, which is not read for them."""
    if isinstance(arrays, Archive):
        header = arrays.header(key)
        return header.shape, header.dtype
    return arrays[key].shape, arrays[key].dtype


def _image_key(path: Path, arrays: _Arrays, key: str | None) -> str:
    """The name of the images, also where none is given."""
    names = ", ".join(map(legible, arrays)) or "of no array"
    if key is not None:
        if key not in arrays:
            raise DataError(f"{path} has no array named {key}, got the names {names}")
        return key
    known = next((name for name in IMAGE_KEYS if name in arrays), None)
    if known is not None:
        return known
    forms = {name: _form(arrays, name) for name in arrays}
    candidates = [
        name
        for name, (shape, dtype) in forms.items()
        if len(shape) in (3, 4) and not dtype.hasobject
    ]
    if len(candidates) != 1:
        raise DataError(
            f"{path} must hold its images under one of the names {', '.join(IMAGE_KEYS)} or as "
            f"its only array of rank 3 or 4, or be given with their name, as FILE.npz:NAME, got "
            f"the names {names}"
        )
    return candidates[0]


def _labels_beside(
    path: Path, arrays: _Arrays, image_key: str, count: int
) -> tuple[npt.NDArray[Any] | None, tuple[str, ...]]:
    """The labels beside the images, if any; or else a notice of arrays that may be labels."""
    usual = (*_paired(image_key), *_USUAL_LABELS)
    fitting = []
    for name in arrays:
        shape, dtype = _form(arrays, name)
        if shape in ((count,), (count, 1)) and dtype.kind in "iu" and name != image_key:
            fitting.append(name)
    taken = next((name for name in _paired(image_key) if name in fitting), None)
    taken = taken or next((name for name in LABEL_KEYS if name in arrays), None)
    taken = taken or next((name for name in usual if name in fitting), None)
    if taken is not None:
        return arrays[taken], ()
    others = [name for name in arrays if name in fitting or (name in usual and name != image_key)]
    if not others:
        return None, ()
    names = ", ".join(map(legible, others))
    return None, (
        f"{path} has no labels under a known name, and nothing is taken from {names}: if one of"
        f" them has the labels, as {count} integers, name it by --labels"
        f" {path}:{legible(others[0])}",
    )


def _paired(image_key: str) -> tuple[str, ...]:
    """Usual names of labels beside images of that name: y_train to x_train, Y to X, ..."""
    pairs = (("images", "labels"), ("image", "label"), ("imgs", "labels"), ("data", "labels"))
    letters = (("x", "y"), ("X", "y"), ("X", "Y"), ("x", "Y"))
    words = image_key.split("_")
    return tuple(
        "_".join([*words[:i], label, *words[i + 1 :]])
        for image, label in (*pairs, *letters)
        for i, word in enumerate(words)
        if word == image
    )


def _read_labels(text: str) -> tuple[Path, npt.NDArray[Any]]:
    path, key = _split_key(text)
    with _opened(path) as arrays:
        labels = _pick(arrays, [key] if key is not None else [*LABEL_KEYS, *_USUAL_LABELS, "arr_0"])
        if labels is None:
            raise DataError(
                f"{path} has no array named {key or ' or '.join(LABEL_KEYS)}, "
                f"got the names {', '.join(map(legible, arrays))}"
            )
    return path, labels


def _channels_second(path: Path, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A (N, C, H, W) view, whichever of the layouts the array has."""
    if images.ndim not in (3, 4) or images.size == 0:
        raise DataError(
            f"{path} must hold images of rank 3 (N, H, W) or 4 (N, C, H, W or N, H, W, C) and at "
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
            f"{path} has the shape {list(images.shape)}, in which {'both' if second else 'neither'}"
            f" of the second and the last size can be channels: reorder it so that exactly one "
            f"of them is 1 or 3, or else 2 or 4, or drop the channels of grey images"
        )
    return images if second else images.transpose(0, 3, 1, 2)


def _to_uint8(source: DataSource, files: Sequence[Path], images: npt.NDArray[Any]) -> Pixels:
    """(N, C, H, W) of any accepted dtype as uint8, contiguous."""
    path, size = files[0], source.image_size
    shape = (*images.shape[:2], *(size or images.shape[2:]))
    as_wanted = images.dtype == np.uint8 and images.shape == shape and images.flags.c_contiguous
    if as_wanted and _scale_to_255(path, images) == 1:
        return Pixels(images, isinstance(images, np.memmap), sha256=None)
    return gather(source, files, shape, lambda: _converted(path, images, size))


def _converted(
    path: Path, images: npt.NDArray[Any], size: tuple[int, int] | None
) -> Iterator[npt.NDArray[np.uint8]]:
    """The images as uint8 and of that size, contiguous, a chunk at a time."""
    scale = _scale_to_255(path, images)
    values = images.shape[1] * max(math.prod(images.shape[2:]), math.prod(size or ()))
    for chunk in _chunks(images, values):
        if scale != 1:
            chunk = np.rint(chunk.astype(np.float64) * scale)
        chunk = np.ascontiguousarray(chunk, np.uint8)
        yield chunk if size is None else fit_images(chunk, size)


def _chunks(images: npt.NDArray[Any], values: int) -> Iterator[npt.NDArray[Any]]:
    """The images in order, some at a time; each counts for so many values."""
    step = max(1, _CHUNK_VALUES // values)
    return (images[start : start + step] for start in range(0, len(images), step))


def _scale_to_255(path: Path, images: npt.NDArray[Any]) -> int:
    """255 for values 0..1, 1 for values 0..255."""
    if images.dtype.kind not in "fbiu":
        raise DataError(
            f"{path} must hold images as integers 0..255 or floats 0..1, got {images.dtype}"
        )
    with np.errstate(invalid="ignore"):  # NaN is the answer wanted, not a warning
        ranges = [(chunk.min(), chunk.max()) for chunk in _chunks(images, images[0].size)]
        low, high = np.min(ranges).item(), np.max(ranges).item()
    if not np.isfinite([low, high]).all():
        raise DataError(f"{path} holds values that are NaN or infinite among its images")
    highest = 1 if images.dtype.kind == "f" else 255
    if low < 0 or high > highest:
        raise DataError(
            f"{path} must hold {images.dtype} images with values from 0 to {highest}, "
            f"got {low} to {high}"
        )
    return 255 if high <= 1 else 1


def _integers(
    path: Path, what: str, array: npt.NDArray[Any] | None, rank: int, count: int
) -> torch.Tensor | None:
    """(N,) or (N, F) int64 of the integers in a file; a column of labels will do."""
    if array is None:
        return None
    if array.dtype.kind not in "iu":
        raise DataError(f"{path} must hold {what} as integers, got {array.dtype}")
    if rank == 1 and array.shape == (count, 1):
        array = array[:, 0]
    if array.ndim != rank or len(array) != count:
        form = f"({count},)" if rank == 1 else f"({count}, factors)"
        raise DataError(
            f"{path} must hold {what} of shape {form} for its {count} images, "
            f"got {list(array.shape)}"
        )
    if array.size and array.max() > np.iinfo(np.int64).max:
        raise DataError(f"{path} must hold {what} below 2^63, got {array.max()}")
    return torch.from_numpy(array.astype(np.int64))  # a copy: labels are in memory


def _names(path: Path, arrays: _Arrays, key: str) -> tuple[str, ...] | None:
    if key not in arrays:
        return None
    names = arrays[key]
    if names.dtype.kind != "U" or names.ndim != 1:
        raise DataError(
            f"{path} must hold {key} as strings of rank 1, got {names.dtype} of rank {names.ndim}"
        )
    with reading(path, "a numpy file"):  # damaged ones may be no characters
        return tuple(names.tolist())
