"""Images and labels that are given in Python, as ``ImageData``."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from fastjvae.data.batches.loader import LoaderBatches
from fastjvae.data.forms import bytes_of, channels_second, integers
from fastjvae.data.memory import tensor_on
from fastjvae.data.pictures import channels_first, upright
from fastjvae.data.prepare import fit, reason
from fastjvae.data.source import ImageData
from fastjvae.errors import DataError
from fastjvae.functional.checks import check_value_range

_WHERE = "the array of images"


def image_data(
    images: Any,
    labels: Any = None,
    *,
    image_size: tuple[int, int] | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
    name: str = "array",
) -> ImageData:
    """Images and labels of one's own, as everything here takes them.

    >>> data = image_data(np.zeros((20, 32, 32, 3), np.uint8), labels=["cat"] * 15 + ["dog"] * 5)
    >>> data.img_size, data.label_names
    ((3, 32, 32), ('cat', 'dog'))

    Args:
        images: numpy, torch or nested lists, (N, C, H, W), (N, H, W, C) or (N, H, W): bytes 0..255,
            integers 0..255, booleans, or floats 0..1, see :mod:`fastjvae.data.forms`; or a list of
            PIL images, see :func:`array_of`. Contiguous bytes (N, C, H, W) are not copied: they
            must stay as they are meanwhile.
        labels: (N,) integers or strings.
        image_size: (height, width) to crop around the centre and resize to.
        value_range: lowest and highest value of a pixel, where values are no bytes.
        name: of the data in what is printed.

    Raises:
        DataError: the images or labels have another form.
    """
    array = channels_second(_WHERE, array_of(images, image_size))
    check_value_range(value_range)
    pixels = bytes_of(_WHERE, array, image_size, value_range)
    mapped = pixels is array and isinstance(array, np.memmap)
    numbers, names = (None, None) if labels is None else _labels(labels, len(pixels))
    return ImageData(name, tensor_on(pixels), numbers, label_names=names, mapped=mapped)


def array_of(images: Any, image_size: tuple[int, int] | None = None) -> npt.NDArray[Any]:
    """Images of one's own in one array, in the layout and with the values that they have.

    PIL images become (N, 1, H, W) if all are grey and (N, 3, H, W) otherwise, as picture files do:
    see :func:`fastjvae.data.pictures.plain`.

    Args:
        images: numpy, torch, nested lists, or a list of PIL images.
        image_size: (height, width) to crop PIL images around the centre and resize them to; by
            default they must have one size.

    Raises:
        DataError: it is something else.
    """
    from PIL.Image import Image

    if isinstance(images, (list, tuple)) and any(isinstance(each, Image) for each in images):
        return _of_pictures(images, image_size)
    if instead := _instead_of(images):
        raise DataError(instead)
    array = _array(images)
    if array.ndim == 0 and not isinstance(images, (np.ndarray, Tensor)):
        raise DataError(
            f"images must be an array (N, H, W), (N, C, H, W) or (N, H, W, C), or a list of PIL"
            f" images, got a value of type {type(images).__name__}"
        )
    return array


def _instead_of(images: Any) -> str | None:
    """What to give in the place of something that images can be made of; None of anything else."""
    from PIL.Image import Image

    if isinstance(images, (str, os.PathLike)):
        name = os.fspath(images)
        if Path(name).is_dir():
            return (
                f"a folder was given, {name!r}: load its pictures,"
                f" fastjvae.data.load(DataSource('images', root={name!r}))"
            )
        return (
            f"a path was given, {name!r}: np.load it, or"
            f" fastjvae.data.load(DataSource('arrays', root={name!r}))"
        )
    if isinstance(images, Dataset):
        return (
            f"a Dataset was given, {type(images).__name__}: give DataLoader(dataset, batch_size=64)"
        )
    if isinstance(images, Image):
        return "one PIL image was given: give a list of them"
    first = images[0] if isinstance(images, (list, tuple)) and images else None
    if isinstance(first, (list, tuple)) and len(first) == 2:
        image, label = first
        if isinstance(image, Image) or (np.ndim(image) > 1 and np.ndim(label) == 0):
            return (
                "pairs of an image and a label were given: give the images in one list and the"
                " labels in another, as labels="
            )
    return None


def _of_pictures(pictures: Sequence[Any], size: tuple[int, int] | None) -> npt.NDArray[np.uint8]:
    """(N, 1, H, W) of PIL images that are grey, (N, 3, H, W) of others."""
    found: list[npt.NDArray[np.uint8]] = []
    for number, picture in enumerate(pictures):
        try:
            made = upright(picture)
        except Exception as error:  # no picture, or one of a file that is damaged
            raise DataError(
                f"number {number} of the list of PIL images cannot be read, a"
                f" {type(picture).__name__}: {reason(error)}"
            ) from error
        found.append(channels_first(made if size is None else fit(made, size)))
        sizes = [" x ".join(map(str, each.shape[1:])) for each in (found[0], found[-1])]
        if sizes[0] != sizes[1]:
            raise DataError(
                f"PIL images must have one size, but number 0 has {sizes[0]} and number {number}"
                f" {sizes[1]} (height x width): resize them, Image.resize((width, height)), or give"
                f" fit an image_size"
            )
    channels = max(map(len, found))
    return np.stack([np.broadcast_to(each, (channels, *each.shape[1:])) for each in found])


def gathered(
    loader: DataLoader[Any],
    most: int = 10_000,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> ImageData:
    """The first images of a DataLoader, as it gives them in its first epoch here."""
    batches = LoaderBatches(loader, torch.device("cpu"), seed=0)
    found: list[Tensor] = []
    number = 0
    for step in range(batches.steps_per_epoch):
        found.append(batches.select(step)[: most - number])
        number += len(found[-1])
        if number >= most:
            break
    batches.close()
    name = type(loader.dataset).__name__
    return image_data(torch.cat(found), value_range=value_range, name=name)


def items_of(loader: DataLoader[Any], rows: Tensor) -> ImageData:
    """Images of a DataLoader's dataset by their numbers, as the dataset gives them.

    Raises:
        DataError: it gives none by a number.
    """
    with torch.random.fork_rng(devices=[]):  # a dataset may draw numbers
        torch.manual_seed(0)
        try:
            items = [loader.dataset[row] for row in rows.tolist()]
        except (TypeError, NotImplementedError, KeyError, IndexError) as error:
            raise DataError(
                f"known_labels are by the numbers of images, and the loader's dataset,"
                f" {type(loader.dataset).__name__}, gives no image by its number: {error!r}"
            ) from error
    images = [each[0] if isinstance(each, (tuple, list)) else each for each in items]
    return image_data(np.stack([_array(each) for each in images]))


def _array(values: Any) -> npt.NDArray[Any]:
    """The values as numpy has them; what a tensor holds is not copied where it is on the CPU."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    try:
        return np.asanyarray(values)
    except ValueError as error:  # lists of unequal lengths
        shapes = [list(shape) for each in values if (shape := getattr(each, "shape", None))]
        others = (n for n, shape in enumerate(shapes) if shape != shapes[0])
        why = reason(error)
        if (other := next(others, None)) is not None:
            why = f"number 0 has the shape {shapes[0]}, number {other} {shapes[other]}"
        raise DataError(f"{_WHERE} must have one size for all of them: {why}") from error


def _labels(labels: Any, count: int) -> tuple[torch.Tensor | None, tuple[str, ...] | None]:
    """Numbers (N,), and their names where the labels are strings."""
    array = _array(labels)
    names: Sequence[str] | None = None
    if array.dtype.kind == "U":
        found, array = np.unique(array, return_inverse=True)
        names = found.tolist()
    numbers = integers("the array of labels", "labels", array, rank=1, count=count)
    return numbers, None if names is None else tuple(names)
