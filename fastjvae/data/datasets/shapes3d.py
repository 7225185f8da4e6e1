"""3D Shapes (Burgess and Kim 2018): 480,000 solids in a coloured room, from the official HDF5 file.

The file has ``images``, (480000, 64, 64, 3) uint8, and ``labels``, (480000, 6) float64: the values
of the factors and not their numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from fastjvae.data.archives import DEFLATE_RATIO
from fastjvae.data.cache import gather
from fastjvae.data.factors import SHAPES3D, grid_words, parse_grid
from fastjvae.data.memory import check_room, tensor_on
from fastjvae.data.prepare import fit_images, legible, reading
from fastjvae.data.source import SIZES, DataSource, ImageData
from fastjvae.errors import DataError

if TYPE_CHECKING:
    import h5py

_FILE = "3dshapes.h5"
_IMAGES, _LABELS = "images", "labels"
_NAMES = tuple(SHAPES3D.sizes)
_SHAPE = _NAMES.index("shape")
_IMAGE: tuple[int, ...] = (*SIZES["shapes3d"], 3)

# Images that are handed on at a time, 12 MiB.
_CHUNK = 1024


def find(source: DataSource) -> list[Path]:
    """The HDF5 file, also where the folder is named in which it has its official name."""
    path = source.path / _FILE if source.path.is_dir() else source.path
    if not path.is_file():
        raise DataError(f"{path} does not exist: shapes3d are loaded from the file {_FILE}")
    return [path]


def prepare(source: DataSource, files: Sequence[Path]) -> ImageData:
    """Unpacks the part ``source.grid`` once into the cache, channels first, and maps it.

    The images are never in memory as a whole. Factors are numbers among the values that occur;
    ``factor_values`` has the values as the file has them: hues, a scale, a shape and degrees.
    Labels are the shapes.
    """
    (path,) = files
    numbers, values = _read_factors(path)
    part = parse_grid(source.grid or (), SHAPES3D)
    chosen = np.flatnonzero(
        np.all([np.isin(numbers[:, f], part[f]) for f in range(len(_NAMES))], axis=0)
    )
    if len(chosen) == 0:
        raise DataError(f"{path} has no images of the part {' '.join(source.grid or ())}")
    numbers = numbers[chosen]
    kept = [np.unique(column) for column in numbers.T]
    factors = torch.from_numpy(
        np.stack([np.searchsorted(*each) for each in zip(kept, numbers.T, strict=True)], axis=1)
    )
    size = source.image_size or SIZES[source.name]
    pixels = gather(
        replace(source, root=str(path), grid=grid_words(part, SHAPES3D)),
        files,
        (len(chosen), _IMAGE[-1], *size),
        lambda: _unpacked(path, chosen, size),
        in_memory=0,  # a small part may lie all over the file
    )
    return ImageData(
        name="shapes3d" if source.grid is None else f"shapes3d/{','.join(source.grid)}",
        images=tensor_on(pixels.array),
        labels=factors[:, _SHAPE].contiguous(),
        factors=factors,
        label_names=tuple(SHAPES3D.names["shape"][number] for number in kept[_SHAPE]),
        factor_names=_NAMES,
        factor_values=tuple(
            tuple(all_values[number] for number in chosen_numbers)
            for all_values, chosen_numbers in zip(values, kept, strict=True)
        ),
        mapped=pixels.mapped,
        known_digest=pixels.sha256,
    )


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The HDF5 file; what is wrong with it is a DataError."""
    try:
        import h5py
    except ImportError:
        raise DataError(
            f"{path} is read by h5py, which is not installed: pip install 'fastjvae[h5]'"
        ) from None
    if not h5py.is_hdf5(path):
        raise DataError(f"{path} is no HDF5 file as {_FILE} is, or one without its beginning")
    with reading(path, "an HDF5 file"), h5py.File(path) as file:
        yield file


def _read_factors(path: Path) -> tuple[npt.NDArray[np.int64], list[tuple[float, ...]]]:
    """The factors' numbers (N, 6) and what they stand for, after a look at what the file holds."""
    with _opened(path) as file:
        if not {_IMAGES, _LABELS} <= {*file}:
            raise DataError(
                f"{path} must hold the arrays {_IMAGES} and {_LABELS} as {_FILE} does, "
                f"got {', '.join(map(legible, file)) or 'none'}"
            )
        images, labels = file[_IMAGES], file[_LABELS]
        shape, dtype = _form(images)
        if len(shape) != 4 or shape[1:] != _IMAGE or shape[0] == 0 or dtype != np.uint8:
            side, channels = _IMAGE[0], _IMAGE[-1]
            raise DataError(
                f"{path} must hold {_IMAGES} as uint8 of shape (N, {side}, {side}, {channels}), "
                f"got {dtype} of shape {list(shape)}"
            )
        expected = (shape[0], len(_NAMES))
        shape, dtype = _form(labels)
        if shape != expected or not np.issubdtype(dtype, np.floating):
            raise DataError(
                f"{path} must hold {_LABELS} as floats of shape {expected} for its {expected[0]} "
                f"images, got {dtype} of shape {list(shape)}"
            )
        for array in (images, labels):
            _check_size(array)
        values = np.asarray(labels[()], np.float64)
    columns = [_numbered(path, *each) for each in zip(_NAMES, values.T, strict=True)]
    return np.stack([numbers for numbers, _ in columns], axis=1), [known for _, known in columns]


def _form(array: h5py.Dataset | h5py.Group) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an array; those of an object where there is a group in its place."""
    return getattr(array, "shape", None) or (), getattr(array, "dtype", np.dtype(object))


def _numbered(
    path: Path, name: str, column: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], tuple[float, ...]]:
    """Numbers (N,) of the values of one factor, and those values in their order."""
    known, numbers = np.unique(column, return_inverse=True)
    most = SHAPES3D.sizes[name]
    if not np.isfinite(known).all() or len(known) > most:
        raise DataError(
            f"{path} must hold {_LABELS} of {name} with at most {most} values, all of them numbers,"
            f" got {len(known)} from {known[0]:g} to {known[-1]:g}"
        )
    if name != "shape":
        return numbers.astype(np.int64), tuple(map(float, known))
    if not np.isin(known, np.arange(most)).all():  # the names of shapes go by the value
        raise DataError(
            f"{path} must hold {_LABELS} of shape that are 0 to {most - 1}, got "
            f"{', '.join(f'{value:g}' for value in known)}"
        )
    return column.astype(np.int64), tuple(map(float, range(most)))


def _check_size(array: h5py.Dataset) -> None:
    """Compare what an array announces with the bytes that are there for it in the file.

    Raises:
        ValueError: there are too few, or a piece of it takes more memory than there is.
    """
    packed = array.id.get_storage_size()
    ratio = 1 if array.chunks is None else DEFLATE_RATIO
    if array.nbytes > ratio * packed:
        raise ValueError(
            f"its {legible(array.name.strip('/'))} announce {array.nbytes:,} bytes in {packed:,}"
        )
    check_room(math.prod(array.chunks or ()) * array.dtype.itemsize)


def _unpacked(
    path: Path, chosen: npt.NDArray[np.int64], size: tuple[int, int]
) -> Iterator[npt.NDArray[np.uint8]]:
    """The chosen images, numbers in ascending order, as (n, 3, height, width), some at a time."""
    with _opened(path) as file:
        images = file[_IMAGES]
        # HDF5 unpacks a chunk whole. The official file's may be 15,000 images of 4 x 4 pixels in
        # one channel, as h5py chunks an array of that size; each is unpacked once in this way.
        rows = images.chunks[0] if images.chunks else _CHUNK
        check_room(rows * math.prod(_IMAGE))
        for start in range(0, len(images), rows):
            first, last = np.searchsorted(chosen, (start, start + rows))
            if first == last:
                continue
            block = images[start : start + rows]
            for at in range(first, last, _CHUNK):
                pixels = block[chosen[at : min(at + _CHUNK, last)] - start]
                yield fit_images(pixels.transpose(0, 3, 1, 2), size)
