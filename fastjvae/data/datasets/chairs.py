"""The rendered chairs of Aubry et al. 2014 (Seeing 3D chairs): 1,393 models from 62 sides each.

The folder ``rendered_chairs`` of their archive has one folder for each model, with pictures named
``renders/image_001_p020_t011_r096.png``: p is the elevation and t the azimuth of the camera, in
whole degrees rounded down, r its distance. There are 2 elevations and 31 azimuths, 360 / 31 degrees
apart.
"""

import re
from collections.abc import Sequence
from itertools import compress
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fastjvae.data.cache import gather
from fastjvae.data.memory import tensor_on
from fastjvae.data.pictures import (
    ALLOW_MORE,
    all_pictures,
    channels_first,
    decode_stacked,
    intact,
    open_picture,
)
from fastjvae.data.prepare import fit, held_out
from fastjvae.data.source import SIZES, DataSource, ImageData
from fastjvae.errors import DataError

_FOLDER = "rendered_chairs"

# The published code's pictures are centre-cropped and resized to 64 x 64, by how much is not said.
# The middle 400 x 400 is what work that followed it takes (disentangling-vae).
_RENDERED = (600, 600)
_MIDDLE = (100, 100, 500, 500)


_NAME = re.compile(r"_p(?P<elevation>[0-9]{1,3})_t(?P<azimuth>[0-9]{1,3})_")


def find(source: DataSource) -> list[Path]:
    """The pictures of all chairs, in the order of their paths."""
    root = _root(source)
    if not root.is_dir():
        fault = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} {fault}: --data-root must be the folder {_FOLDER}")
    return all_pictures(root, f"--data-root must be the folder {_FOLDER}")


def prepare(source: DataSource, files: Sequence[Path]) -> ImageData:
    """Decodes the pictures of one split: grey, of 600 x 600 the middle 400 x 400, then 64 x 64.

    Pictures of another size are taken to be cropped already. The last tenth of the chairs in the
    order of their names, and one at least, is the test split; the other chairs are the train split.
    Factors are numbers among what occurs in both splits: of the model's name, of the azimuth and of
    the elevation. For azimuth and elevation ``factor_values`` has the degrees of the file names.
    """
    root = _root(source)
    views = [_view(root, file) for file in files]
    models, azimuths, elevations = (sorted(set(column)) for column in zip(*views, strict=True))
    if len(models) < 2:
        raise DataError(
            f"{root} must hold the folders of at least 2 chairs, one of them for the test split, "
            f"got only {models[0]}"
        )
    numbers = np.stack(
        [np.unique(column, return_inverse=True)[1] for column in zip(*views, strict=True)], axis=1
    ).astype(np.int64)
    in_test = numbers[:, 0] >= len(models) - held_out(len(models))
    chosen = in_test == (source.split == "test")
    size = source.image_size or SIZES[source.name]
    pictures, factors = list(compress(files, chosen)), numbers[chosen]
    notices: tuple[str, ...] = ()

    def decode(file: Path) -> npt.NDArray[np.uint8]:
        return _decoded(file, size, source.max_pixels)

    if source.skip_damaged:
        kept, notices = intact(range(len(pictures)), lambda number: decode(pictures[number]))
        pictures, factors = [pictures[number] for number in kept], factors[kept]
    pixels = gather(
        source, files, (len(pictures), 1, *size), lambda: decode_stacked(pictures, decode)
    )
    values = (range(len(models)), azimuths, elevations)
    return ImageData(
        name=f"chairs/{source.split}",
        images=tensor_on(pixels.array),
        factors=torch.from_numpy(factors),
        factor_names=("model", "azimuth", "elevation"),
        factor_values=tuple(tuple(map(float, known)) for known in values),
        mapped=pixels.mapped,
        notices=notices,
        known_digest=pixels.sha256,
    )


def _root(source: DataSource) -> Path:
    """The folder of the models' folders, also where the folder that it lies in is named."""
    inside = source.path / _FOLDER
    return inside if inside.is_dir() else source.path


def _view(root: Path, file: Path) -> tuple[str, int, int]:
    """The view that a picture shows, by its path: model, azimuth and elevation in degrees."""
    parts = file.relative_to(root).parts
    match = _NAME.search(file.name)
    if match is None or len(parts) < 2:
        raise DataError(
            f"{file} must lie in the folder of its chair and be named as in "
            f"{_FOLDER}/MODEL/renders/image_001_p020_t011_r096.png"
        )
    return parts[0], int(match["azimuth"]) % 360, int(match["elevation"])


def _decoded(file: Path, size: tuple[int, int], max_pixels: int) -> npt.NDArray[np.uint8]:
    """(1, height, width) of one picture file."""
    picture = open_picture(file, str(file), max_pixels, ALLOW_MORE).convert("L")
    if picture.size == _RENDERED:
        picture = picture.crop(_MIDDLE)
    return channels_first(fit(picture, size))
