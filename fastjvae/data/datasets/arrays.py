"""Images in numpy files: one .npy array, or an .npz with labels and factors beside the images.

Their layout and values are those of :mod:`fastjvae.data.forms`.

A .npy file of uint8 images in the layout (N, H, W) or (N, C, H, W) is left on disk and mapped, and
so is what had to be converted but is too large for memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastjvae.data.cache import Pixels, gather
from fastjvae.data.forms import as_uint8, channels_second, integers, is_ready
from fastjvae.data.memory import tensor_on
from fastjvae.data.npy import MAGIC, Archive, map_array, open_archive
from fastjvae.data.prepare import legible, reading
from fastjvae.data.source import DataSource, ImageData
from fastjvae.errors import DataError

# Names inside an .npz, the first that is there counts; `arr_0` is what np.savez calls a nameless
# array, `imgs` and `latents_classes` are dSprites'.
IMAGE_KEYS = ("images", "imgs", "x", "arr_0")
LABEL_KEYS = ("labels", "y")
FACTOR_KEYS = ("factors", "latents_classes")

# Further usual names of labels: an array of such a name is taken where it has the form of labels.
_USUAL_LABELS = ("Y", "label", "target", "targets", "arr_1")

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
    pixels = _to_uint8(source, files, channels_second(path, images))
    count = len(pixels.array)
    return ImageData(
        name=f"arrays/{path.name}",
        images=tensor_on(pixels.array),
        labels=integers(labels_path, "labels", labels, rank=1, count=count),
        factors=integers(path, "factors", factors, rank=2, count=count),
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


def _to_uint8(source: DataSource, files: Sequence[Path], images: npt.NDArray[Any]) -> Pixels:
    """(N, C, H, W) of any accepted dtype as uint8, contiguous."""
    path, size = files[0], source.image_size
    value_range = source.value_range
    if is_ready(path, images, size, value_range):
        return Pixels(images, isinstance(images, np.memmap), sha256=None)
    shape = (*images.shape[:2], *(size or images.shape[2:]))
    return gather(source, files, shape, lambda: as_uint8(path, images, size, value_range))


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
