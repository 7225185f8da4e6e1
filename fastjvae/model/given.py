"""Images that are given to a trained model in Python, in the forms that ``fastjvae.fit`` takes."""

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from fastjvae.data import ImageData
from fastjvae.data.forms import bytes_of
from fastjvae.data.given import array_of
from fastjvae.data.memory import tensor_on
from fastjvae.errors import ArgumentError
from fastjvae.functional.checks import check_unit_interval


class OfSize(Protocol):
    """A model of images of one size and range."""

    img_size: tuple[int, int, int]  # (C, H, W)
    value_range: tuple[float, float]  # lowest and highest value of a pixel


def images_for(model: OfSize, images: Any) -> Tensor:
    """Images as a model's encoder takes them, whichever of the usual forms they have.

    >>> from fastjvae import JointVAE
    >>> model = JointVAE(img_size=(3, 16, 16), latent_spec={"cont": 2})
    >>> images_for(model, np.zeros((5, 16, 16, 3))).shape
    torch.Size([5, 3, 16, 16])

    Args:
        model: has their size and range.
        images: (N, C, H, W), (N, H, W, C) or, of grey images, (N, H, W), numpy, torch or nested
            lists; a list of PIL images; or ImageData. Bytes 0..255, integers 0..255, booleans, or
            floats in the value range, as :mod:`fastjvae.data.forms` reads them; a tensor of bytes
            is taken as it is.

    Returns:
        (N, C, H, W), uint8 or floats in the value range, on the device where they were.

    Raises:
        ArgumentError: the images have another size, or floats do not lie in the value range.
        DataError: they are something else.
    """
    if isinstance(images, ImageData):
        images = images.images
    taken = _channels_second(_tensor_of(images, model.value_range), model.img_size)
    check_unit_interval(taken, model.value_range)
    return taken


def one_image_for(model: OfSize, image: Any) -> Tensor:
    """An image (1, C, H, W), as :func:`images_for` takes it, or without the axis before it."""
    alone = tuple(getattr(image, "shape", ())) in _shapes_of_one(model.img_size)
    return images_for(model, image[None] if alone else image)


def _tensor_of(images: Any, value_range: tuple[float, float]) -> Tensor:
    """Floats as they are; anything else as bytes 0..255."""
    if isinstance(images, Tensor) and (images.dtype == torch.uint8 or images.is_floating_point()):
        return images
    array = array_of(images)
    if array.dtype.kind == "f" or not array.size or array.ndim < 2:  # or none that has a size
        double = array.dtype.itemsize >= 8
        return tensor_on(np.ascontiguousarray(array, np.float64 if double else np.float32))
    return tensor_on(bytes_of("images", array, None, value_range))


def _channels_second(images: Tensor, img_size: tuple[int, int, int]) -> Tensor:
    """(N, C, H, W) of whichever layout it is."""
    channels, height, width = img_size
    shape = tuple(images.shape)
    if shape[1:] == img_size:
        return images
    if shape[1:] == (height, width, channels):
        return images.movedim(-1, 1)
    if channels == 1 and shape[1:] == (height, width):
        return images[:, None]
    one = shape in _shapes_of_one(img_size)
    grey = f", (N, {height}, {width})" if channels == 1 else ""
    raise ArgumentError(
        f"the model takes images of shape (N, {channels}, {height}, {width}){grey} or (N, {height},"
        f" {width}, {channels}), got {shape}{': give one image as image[None]' if one else ''}"
    )


def _shapes_of_one(img_size: tuple[int, int, int]) -> tuple[tuple[int, ...], ...]:
    """The shapes of an image without an axis before it."""
    channels, height, width = img_size
    return img_size, (height, width, channels), (height, width)
