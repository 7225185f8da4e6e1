"""MNIST and FashionMNIST from IDX files: torchvision's layout or a plain folder, gzipped or not.

The 28 x 28 images become 32 x 32 by PIL bilinear, which is what torchvision's ``Resize(32)`` does
to a PIL image. The result is uint8 again, so keeping it loses nothing against ``ToTensor``.
"""

import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import torch

from fastjvae.data.archives import DEFLATE_RATIO
from fastjvae.data.cache import user_folder
from fastjvae.data.memory import check_room
from fastjvae.data.prepare import fit_images, reading, reason
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
        if root.absolute().name not in {*_CLASS_NAMES.values()} - {_CLASS_NAMES[source.name]}:
            folders.append(root / "raw")
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
    shape, labelled = _read_shape(images_file, rank=3), _read_shape(labels_file, rank=1)
    if shape[0] != labelled[0]:
        raise DataError(
            f"{images_file} holds {shape[0]} images but {labels_file} {labelled[0]} labels"
        )
    images, labels = _read_values(images_file, shape), _read_values(labels_file, labelled)
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
            next((path for path in _spelled(folder / name) if path.is_file()), None)
            for name in names
        ]
        found = [file for file in files if file is not None]
        if len(found) == len(names):
            return found
    return []


def _spelled(path: Path) -> Iterator[Path]:
    """The file and its other names: with a dot, as some programs unpack it, and packed."""
    for spelled in (path, path.with_name(path.name.replace("-idx", ".idx"))):
        yield from (spelled, spelled.with_name(f"{spelled.name}.gz"))


def _download(source: DataSource, root: Path) -> None:
    from torchvision import datasets

    try:
        getattr(datasets, _CLASS_NAMES[source.name])(root, download=True)
    except (OSError, RuntimeError, HTTPException) as error:
        raise DataError(
            f"{source.name} could not be downloaded into {root}: {reason(error)}"
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """An IDX file, unpacked while it is read; one sentence for what goes wrong meanwhile."""
    try:
        with path.open("rb") as file:
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield unpacked
            else:
                yield file
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {reason(error)}") from error


def _read_shape(path: Path, rank: int) -> tuple[int, ...]:
    """The shape of the uint8 array in an IDX file, compared with the file's size.

    The file has the bytes 0, 0, 8 (uint8), rank; big-endian sizes; the values.
    """
    with _opened(path) as file:
        magic, found = bytes((0, 0, 8, rank)), file.read(4)
        if found != magic:
            raise DataError(
                f"{path} is not an IDX file of rank {rank}: it must begin with the bytes "
                f"{magic.hex(' ')}, got {found.hex(' ') or 'an empty file'}"
            )
        sizes = file.read(4 * rank)
    start, size = 4 + 4 * rank, path.stat().st_size
    if len(sizes) < 4 * rank:
        raise DataError(f"{path} is truncated: its header has {4 + len(sizes)} of {start} bytes")
    shape = struct.unpack(f">{rank}I", sizes)
    count, most = math.prod(shape), size - start
    if path.suffix == ".gz":
        most = DEFLATE_RATIO * size
    if count == 0:
        raise DataError(f"{path} is empty: its header announces the shape {list(shape)}")
    if count > most:
        raise DataError(
            f"{path} is truncated: its header announces {count} values, got "
            f"{'at most ' if path.suffix == '.gz' else ''}{most}"
        )
    return shape


def _read_values(path: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The values of an IDX file of that shape, and not of a byte more."""
    count = math.prod(shape)
    with reading(path, "an IDX file"):
        check_room(count)
    with _opened(path) as file:
        file.read(4 + 4 * len(shape))
        values = file.read(count)
        if len(values) < count:
            raise DataError(
                f"{path} is truncated: its header announces {count} values, got {len(values)}"
            )
        if file.read(1):  # which also compares a packed file's checksum, at its end
            raise DataError(f"{path} has more bytes after its {count} values")
    return np.frombuffer(values, np.uint8).reshape(shape)
