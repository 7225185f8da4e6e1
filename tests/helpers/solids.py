"""Small files with the names, dtypes and layout of 3D Shapes' and MPI3D's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastjvae.data.factors import SHAPES3D, Grid

# The values in 3dshapes.h5 that the numbers of its factors stand for; shapes are in between.
HUES = np.arange(10) / 10
VALUES = (HUES, HUES, HUES, np.linspace(0.75, 1.25, 8), np.arange(4.0), np.linspace(-30, 30, 15))


def some_numbers(count: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Numbers (count, 6) of 3D Shapes' factors, each value of which occurs from 15 images on."""
    columns = [np.arange(count) % size for size in SHAPES3D.sizes.values()]
    random = np.random.default_rng(seed)
    return np.stack([random.permutation(column) for column in columns], axis=1)


def values_of(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The labels that 3dshapes.h5 has for these factors."""
    return np.stack(
        [known[column] for known, column in zip(VALUES, numbers.T, strict=True)], axis=1
    )


def noise(count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Images (count, 64, 64, 3), in which no two places are alike."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)


def write_shapes3d(path: Path, arrays: dict[str, Any], mode: str = "w", **options: Any) -> Path:
    """An HDF5 file of these arrays; None leaves one out, a dict is a group."""
    import h5py

    with h5py.File(path, mode) as file:
        for name, array in arrays.items():
            if isinstance(array, dict):
                file.create_group(name)
            elif array is not None:
                file.create_dataset(name, data=array, **options)
    return path


# MPI3D's factors, with fewer values each: 48 images.
SMALL_MPI3D = Grid(
    {
        "object_color": 2,
        "object_shape": 3,
        "object_size": 2,
        "camera_height": 1,
        "background_color": 1,
        "horizontal_axis": 2,
        "vertical_axis": 2,
    },
    {"object_shape": ("cone", "cube", "cylinder")},
    "object_shape=cube",
)


def write_mpi3d(
    path: Path, images: npt.NDArray[Any], save: Callable[..., None] = np.savez_compressed
) -> Path:
    """An .npz file as MPI3D's."""
    save(path, images=images)
    return path
