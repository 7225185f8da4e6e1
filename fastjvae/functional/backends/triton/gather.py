"""Images by index, as floats."""

import torch
from torch import Tensor
from torch._subclasses import FakeTensor

from fastjvae_kernels.gather import gather


def gather_images(images: Tensor, index: Tensor, dtype: torch.dtype) -> Tensor:
    """(M, C, H, W) contiguous and (N,) int64 -> (N, C, H, W) in channels_last."""
    if torch.compiler.is_compiling() or isinstance(images, FakeTensor):
        return _operator(images, index, dtype)  # type: ignore[no-any-return]
    return gather(images, index, dtype)


_operator = torch.library.custom_op(
    "fastjvae::gather_images",
    gather,
    mutates_args=(),
    schema="(Tensor images, Tensor index, ScalarType dtype) -> Tensor",
)


@_operator.register_fake
def _gather_images_fake(images: Tensor, index: Tensor, dtype: torch.dtype) -> Tensor:
    _, channels, height, width = images.shape
    shape = (index.shape[0], height, width, channels)
    return images.new_empty(shape, dtype=dtype).permute(0, 3, 1, 2)
