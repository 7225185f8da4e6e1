"""dSprites (Matthey et al. 2017): 737,280 shapes and their factors, from the official .npz file."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from zipfile import is_zipfile

import numpy as np
import numpy.typing as npt
import torch

from fastjvae.data.cache import gather
from fastjvae.data.factors import FULL_TURN, GRID, SHAPES, values_of_grid
from fastjvae.data.memory import tensor_on
from fastjvae.data.npy import open_archive
from fastjvae.data.prepare import fit_images, legible
from fastjvae.data.source import SIZES, DataSource, ImageData
from fastjvae.errors import DataError

_FILE = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
_IMAGES, _CLASSES = "imgs", "latents_classes"
_COLUMNS = {"colour": 1, **GRID}  # of latents_classes, with the numbers of their classes

# Unpacked at a time, 4 MiB, the share of one shape, scale and orientation.
_CHUNK = 1024

# 64 MiB of images, of part of the data set, are unpacked anew each time; more are unpacked once.
MOST_UNPACKED_ANEW = 2**26


def find(source: DataSource) -> list[Path]:
    """The .npz file, also where the folder is named in which it has its official name."""
    path = source.path / _FILE if source.path.is_dir() else source.path
    if not path.is_file():
        raise DataError(f"{path} does not exist: dsprites are loaded from the file {_FILE}")
    return [path]


def prepare(source: DataSource, files: Sequence[Path]) -> ImageData:
    """Unpacks the images once into the cache, as 0 and 255 instead of 0 and 1, and maps them.

    They are never in memory as a whole, and neither are those of the .npz file. Factors are the
    columns of ``latents_classes`` without the colour, of which there is one; ``factor_values``
    says what the classes stand for: a shape, a scale, an orientation in radians from 0 to 2 pi,
    both included, and positions from 0 to 1. Labels are the shapes.
    """
    (path,) = files
    factors = _read_factors(path)
    count, size = len(factors), source.image_size or SIZES[source.name]
    pixels = gather(
        source,
        files,
        (count, 1, *size),
        lambda: _unpacked(path, count, size),
        in_memory=MOST_UNPACKED_ANEW,
    )
    return ImageData(
        name="dsprites",
        images=tensor_on(pixels.array),
        labels=factors[:, 0].contiguous(),
        factors=factors,
        label_names=SHAPES,
        factor_names=tuple(GRID),
        factor_values=values_of_grid(FULL_TURN / (GRID["orientation"] - 1)),
        mapped=pixels.mapped,
        known_digest=pixels.sha256,
    )


def _read_factors(path: Path) -> torch.Tensor:
    """The (N, 5) int64 factors, after a look at what the file holds."""
    if not is_zipfile(path):  # which is what an .npz file is
        raise DataError(f"{path} is no .npz file, or a truncated one")
    with open_archive(path) as archive:
        if not {_IMAGES, _CLASSES} <= {*archive}:
            raise DataError(
                f"{path} must hold the arrays {_IMAGES} and {_CLASSES} as {_FILE} does, "
                f"got {', '.join(map(legible, archive)) or 'none'}"
            )
        shape, fortran, dtype, _ = archive.header(_IMAGES)
        classes = archive[_CLASSES]
    side = SIZES["dsprites"]
    if len(shape) != 3 or shape[1:] != side or shape[0] == 0 or fortran or dtype != np.uint8:
        raise DataError(
            f"{path} must hold {_IMAGES} as uint8 of shape (N, {side[0]}, {side[1]}), got {dtype} "
            f"of shape {list(shape)}{' in Fortran order' if fortran else ''}"
        )
    if classes.dtype.kind not in "iu" or classes.shape != (shape[0], len(_COLUMNS)):
        raise DataError(
            f"{path} must hold {_CLASSES} as integers of shape ({shape[0]}, {len(_COLUMNS)}) for "
            f"its {shape[0]} images, got {classes.dtype} of shape {list(classes.shape)}"
        )
    for (name, number), low, high in zip(
        _COLUMNS.items(), classes.min(axis=0), classes.max(axis=0), strict=True
    ):
        if low < 0 or high >= number:
            raise DataError(
                f"{path} must hold classes of {name} from 0 to {number - 1}, got {low} to {high}"
            )
    return torch.from_numpy(np.ascontiguousarray(classes[:, 1:], np.int64))


def _unpacked(path: Path, count: int, size: tuple[int, int]) -> Iterator[npt.NDArray[np.uint8]]:
    """The images as (n, 1, height, width) uint8, 0 and 255, some at a time; checks their values."""
    side = SIZES["dsprites"]
    with open_archive(path) as archive:
        for start, images in zip(
            range(0, count, _CHUNK), archive.images(_IMAGES, _CHUNK), strict=True
        ):
            if images.max() > 1:
                raise DataError(
                    f"{path} must hold {_IMAGES} of values 0 and 1, got {images.max()} in one "
                    f"of the images {start} to {start + len(images) - 1}"
                )
            images = images[:, None] * np.uint8(255)
            yield images if size == side else fit_images(images, size)
