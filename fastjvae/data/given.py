"""Images and labels that are given in Python, as ``ImageData``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fastjvae.data.batches.loader import LoaderBatches
from fastjvae.data.forms import as_uint8, channels_second, integers, is_ready
from fastjvae.data.memory import tensor_on
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
            integers 0..255, booleans, or floats 0..1, see :mod:`fastjvae.data.forms`. Contiguous
            bytes (N, C, H, W) are not copied: they must stay as they are meanwhile.
        labels: (N,) integers or strings.
        image_size: (height, width) to crop around the centre and resize to.
        value_range: lowest and highest value of a pixel, where values are no bytes.
        name: of the data in what is printed.

    Raises:
        DataError: the images or labels have another form.
    """
    array = channels_second(_WHERE, _array(images))
    check_value_range(value_range)
    if ready := is_ready(_WHERE, array, image_size, value_range):
        pixels = array
    else:
        pixels = np.concatenate(list(as_uint8(_WHERE, array, image_size, value_range)))
    mapped = ready and isinstance(array, np.memmap)
    numbers, names = (None, None) if labels is None else _labels(labels, len(pixels))
    return ImageData(name, tensor_on(pixels), numbers, label_names=names, mapped=mapped)


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
        raise DataError(f"{_WHERE} must have one size for all of them: {error}") from error


def _labels(labels: Any, count: int) -> tuple[torch.Tensor | None, tuple[str, ...] | None]:
    """Numbers (N,), and their names where the labels are strings."""
    array = _array(labels)
    names: Sequence[str] | None = None
    if array.dtype.kind == "U":
        found, array = np.unique(array, return_inverse=True)
        names = found.tolist()
    numbers = integers("the array of labels", "labels", array, rank=1, count=count)
    return numbers, None if names is None else tuple(names)
