"""Random affine transformations of images."""

from torch import Tensor

from fastjvae.errors import ArgumentError
from fastjvae.functional.backends import reference
from fastjvae.functional.backends.choice import use_triton
from fastjvae.functional.checks import check_device

_NUMBERS = 6


def random_affine(images: Tensor, uniform: Tensor, largest: Tensor) -> Tensor:
    """Rotate, shear, scale and shift every image in its own way.

    An image's numbers u become r = largest (2 u - 1). Pixels are interpolated between their four
    neighbours, and the border goes on outwards.

    Args:
        images: (N, C, H, W) uint8 0..255, or floats.
        uniform: (N, 6) in [0, 1): rotation, shear, width, height, and moves right and down.
        largest: (6,) floats on the device of the images: rotation in radians, shear in columns a
            row, and shares of width and height by which an image grows or shrinks and by which it
            moves.

    Returns:
        (N, C, H, W) in the dtype of ``largest``; uint8 becomes 0..1.

    Raises:
        ArgumentError: shapes or devices do not fit.
    """
    numbers = (images.shape[0], _NUMBERS)
    if images.dim() != 4 or tuple(uniform.shape) != numbers or tuple(largest.shape) != numbers[1:]:
        raise ArgumentError(
            f"images (N, C, H, W) are transformed by uniform (N, 6) and largest (6,), got"
            f" {tuple(images.shape)}, {tuple(uniform.shape)} and {tuple(largest.shape)}"
        )
    for name, tensor in (("the uniform numbers", uniform), ("the largest ones", largest)):
        check_device(name, tensor, images)
    if use_triton(largest, images=images, uniform=uniform, largest=largest):
        from fastjvae.functional.backends.triton.without_gradient import random_affine as kernel

        return kernel(images, uniform, largest)
    return reference.random_affine(images, uniform, largest)
