"""Images as the networks take them."""

import torch
from torch import Tensor

from fastjvae.errors import ArgumentError
from fastjvae.functional.backends import reference
from fastjvae.functional.backends.choice import use_triton
from fastjvae.functional.checks import check_device


def gather_images(images: Tensor, index: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The images of an index, as floats between 0 and 1; on a GPU in one kernel.

    Args:
        images: (M, C, H, W), uint8 0..255 or floats 0..1.
        index: (N,) int64 on the same device, each 0..M - 1, which a GPU does not look at.
        dtype: of the result, a floating one.

    Returns:
        (N, C, H, W); the Triton kernel's lies in channels_last.

    Raises:
        ArgumentError: shapes, types or devices do not fit.
    """
    if images.dim() != 4 or not (images.dtype == torch.uint8 or images.is_floating_point()):
        raise ArgumentError(
            f"images to gather must be (M, C, H, W), uint8 (0..255) or floating point (0..1),"
            f" got {tuple(images.shape)}, {images.dtype}"
        )
    if index.dim() != 1 or index.dtype != torch.int64:
        raise ArgumentError(
            f"an index of images must be (N,) int64, got {tuple(index.shape)}, {index.dtype}"
        )
    check_device("the index", index, images)
    single = dtype != torch.float64 and images.is_contiguous()
    if single and use_triton(images, images=images):
        from fastjvae.functional.backends.triton.without_gradient import gather_images as kernel

        return kernel(images, index, dtype)
    return reference.gather_images(images, index, dtype)
