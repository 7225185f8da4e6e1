"""MPI3D (Gondal et al. 2019): things on a robot's arm, from the .npz files of its authors.

``mpi3d_toy.npz`` and ``mpi3d_realistic.npz`` are drawn, ``mpi3d_real.npz`` and
``mpi3d_real_complex.npz`` photographed. Each has one array, ``images``, (N, 64, 64, 3) uint8, of
every combination of the factors once, the last one varying fastest: N is 1,036,800, or 460,800 for
the complex things, which have 4 colours and 4 shapes where the others have 6.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from zipfile import is_zipfile

import numpy as np
import numpy.typing as npt

from fastjvae.data.cache import gather
from fastjvae.data.factors import (
    MPI3D,
    MPI3D_COMPLEX,
    Grid,
    factors_of_part,
    grid_words,
    parse_grid,
)
from fastjvae.data.memory import tensor_on
from fastjvae.data.npy import open_archive
from fastjvae.data.prepare import fit_images, legible
from fastjvae.data.source import SIZES, DataSource, ImageData
from fastjvae.errors import DataError

_FILES = ("mpi3d_toy.npz", "mpi3d_realistic.npz", "mpi3d_real.npz", "mpi3d_real_complex.npz")
_IMAGES = "images"
_IMAGE: tuple[int, ...] = (*SIZES["mpi3d"], 3)
_GRIDS = (MPI3D, MPI3D_COMPLEX)

# Images that are read at a time, 12 MiB.
_CHUNK = 1024


def find(source: DataSource) -> list[Path]:
    """The .npz file, also where the folder is named in which one of them lies."""
    path = source.path
    if path.is_dir():
        there = [path / name for name in _FILES if (path / name).is_file()]
        if len(there) != 1:
            found = " and ".join(file.name for file in there) or "none of them"
            raise DataError(
                f"{path} must hold one of {', '.join(_FILES)}, got {found}: name the file"
            )
        return there
    if not path.is_file():
        raise DataError(f"{path} does not exist: mpi3d is loaded from {', '.join(_FILES)}")
    return [path]


def prepare(source: DataSource, files: Sequence[Path]) -> ImageData:
    """Unpacks the part ``source.grid`` once into the cache, channels first, and maps it.

    The images are never in memory as a whole. Factors are numbered within the part, and
    ``factor_values`` has their numbers in the whole grid. Labels are the shapes of the things.
    """
    (path,) = files
    grid = _look_at(path)
    names = tuple(grid.sizes)
    part = parse_grid(source.grid or (), grid)
    factors = factors_of_part(part)
    chosen = np.ravel_multi_index(np.ix_(*part), tuple(grid.sizes.values())).reshape(-1)
    size = source.image_size or SIZES[source.name]
    pixels = gather(
        replace(source, root=str(path), grid=grid_words(part, grid)),
        files,
        (len(factors), _IMAGE[-1], *size),
        lambda: _unpacked(path, chosen, size),
        in_memory=0,  # a small part may lie all over the file
    )
    shape = names.index("object_shape")
    notices: tuple[str, ...] = ()
    if grid is MPI3D_COMPLEX and "complex" not in path.name:
        called = ", ".join(grid.names["object_shape"])
        notices = (
            f"{path} has as many images as {_FILES[-1]}, whose shapes are {called}: if it is "
            f"another file, its colours and shapes have other names",
        )
    return ImageData(
        name="mpi3d" if source.grid is None else f"mpi3d/{','.join(source.grid)}",
        images=tensor_on(pixels.array),
        labels=factors[:, shape].contiguous(),
        factors=factors,
        label_names=tuple(grid.names["object_shape"][number] for number in part[shape]),
        factor_names=names,
        factor_values=tuple(tuple(map(float, numbers)) for numbers in part),
        mapped=pixels.mapped,
        notices=notices,
        known_digest=pixels.sha256,
    )


def _look_at(path: Path) -> Grid:
    """The grid of the file's images, by their number."""
    if not is_zipfile(path):  # which is what an .npz file is
        raise DataError(f"{path} is no .npz file, or a truncated one")
    with open_archive(path) as archive:
        if _IMAGES not in archive:
            raise DataError(
                f"{path} must hold the array {_IMAGES} as {_FILES[0]} does, "
                f"got {', '.join(map(legible, archive)) or 'none'}"
            )
        shape, fortran, dtype, _ = archive.header(_IMAGES)
    if len(shape) == 4 and shape[1:] == _IMAGE and not fortran and dtype == np.uint8:
        for grid in _GRIDS:
            if len(grid) == shape[0]:
                return grid
    side, channels = _IMAGE[0], _IMAGE[-1]
    counts = " or ".join(f"{len(grid):,}" for grid in _GRIDS)
    raise DataError(
        f"{path} must hold {_IMAGES} as uint8 of shape (N, {side}, {side}, {channels}), "
        f"N {counts}, got {dtype} of shape {list(shape)}{' in Fortran order' if fortran else ''}"
    )


def _unpacked(
    path: Path, chosen: npt.NDArray[np.int64], size: tuple[int, int]
) -> Iterator[npt.NDArray[np.uint8]]:
    """The chosen images, numbers in ascending order, as (n, 3, height, width), some at a time."""
    start = 0
    with open_archive(path) as archive:
        for images in archive.images(_IMAGES, _CHUNK):
            first, last = np.searchsorted(chosen, (start, start + len(images)))
            if first < last:
                pixels = images[chosen[first:last] - start]
                yield fit_images(pixels.transpose(0, 3, 1, 2), size)
            start += len(images)
