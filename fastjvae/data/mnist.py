"""MNIST and FashionMNIST from IDX files: torchvision's layout or a plain folder, gzipped or not.

The 28 x 28 images become 32 x 32 by PIL bilinear, which is what torchvision's ``Resize(32)`` does
to a PIL image. The result is uint8 again, so keeping it loses nothing against ``ToTensor``.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fastjvae.data.cache import user_folder
from fastjvae.data.prepare import fit_images, reason
from fastjvae.data.source import SIZES, DataSource, ImageData
from fastjvae.errors import DataError

LABEL_NAMES = {
    "mnist": tuple("0123456789"),
    "fashion-mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
}
_CLASS_NAMES = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}  # torchvision's
_DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # of dataset-fashion-mnist


def find(source: DataSource) -> list[Path]:
    """The images' and the labels' file, fetched first if they are missing and may be."""
    if source.root is not None:
        root = source.path
    elif "FASTJVAE_DATA" in os.environ:
        root = Path(os.environ["FASTJVAE_DATA"]).expanduser()
    else:
        root = user_folder() / "data"
    folders = [root / _CLASS_NAMES[source.name] / "raw"]
    if source.root is not None:
        folders.append(root)
    elif source.name == "fashion-mnist":
        folders.append(_DEBIAN_FOLDER)
    prefix = "train" if source.split == "train" else "t10k"
    names = (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte")

    files = _find_together(folders, names)
    if not files and source.download:
        _download(source, root)
        files = _find_together(folders, names)
    if not files:
        raise DataError(
            f"{source.name}/{source.split} needs {' and '.join(names)} (plain or .gz), which are "
            f"not together in {' or '.join(map(str, folders))}: pass --download to fetch them or "
            f"--data-root with the folder that holds them"
        )
    return files


def prepare(source: DataSource, files: Sequence[Path]) -> ImageData:
    """Reads the two IDX files and resizes the images to 32 x 32 or ``source.image_size``."""
    images_file, labels_file = files
    images = _read_idx(images_file, rank=3)
    labels = _read_idx(labels_file, rank=1)
    if len(images) != len(labels):
        raise DataError(
            f"{images_file} holds {len(images)} images but {labels_file} {len(labels)} labels"
        )
    if labels.max() > 9:
        raise DataError(f"{labels_file} must hold labels from 0 to 9, got {labels.max()}")
    size = source.image_size or SIZES[source.name]
    return ImageData(
        name=f"{source.name}/{source.split}",
        images=torch.from_numpy(fit_images(images[:, None], size)),
        labels=torch.from_numpy(labels.astype(np.int64)),
        label_names=LABEL_NAMES[source.name],
    )


def _find_together(folders: Sequence[Path], names: Sequence[str]) -> list[Path]:
    """Both files from the first folder that has both; images and labels are never mixed."""
    for folder in folders:
        files = [
            next((f for f in (folder / name, folder / f"{name}.gz") if f.is_file()), None)
            for name in names
        ]
        found = [file for file in files if file is not None]
        if len(found) == len(names):
            return found
    return []


def _download(source: DataSource, root: Path) -> None:
    from torchvision import datasets

    try:
        getattr(datasets, _CLASS_NAMES[source.name])(root, download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        raise DataError(
            f"{source.name} could not be downloaded into {root}: {reason(error)}"
        ) from error


def _read_idx(path: Path, rank: int) -> npt.NDArray[np.uint8]:
    """The uint8 array of an IDX file: 0, 0, 8 (uint8), rank; big-endian sizes; the values."""
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {reason(error)}") from error
    start = 4 + 4 * rank
    magic = bytes((0, 0, 8, rank))
    if data[:4] != magic:
        raise DataError(
            f"{path} is not an IDX file of rank {rank}: it must begin with the bytes "
            f"{magic.hex(' ')}, got {data[:4].hex(' ') or 'an empty file'}"
        )
    shape = [int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4)]
    if len(data) - start < math.prod(shape) or len(data) < start:
        raise DataError(
            f"{path} is truncated: its header announces {math.prod(shape)} values, "
            f"got {max(0, len(data) - start)}"
        )
    if len(data) - start > math.prod(shape):
        raise DataError(
            f"{path} has {len(data) - start - math.prod(shape)} bytes after its "
            f"{math.prod(shape)} values"
        )
    if 0 in shape:
        raise DataError(f"{path} is empty: its header announces the shape {shape}")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
