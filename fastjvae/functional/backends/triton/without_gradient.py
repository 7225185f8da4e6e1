"""What a step does beside its loss, which nothing differentiates.

Under ``torch.compile`` the launches are custom operators, at which a graph does not break.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensor

from fastjvae_kernels import affine, gather, recording


def _operator(
    name: str, schema: str, launch: Callable[..., Any], fake: Callable[..., Any], *written: str
) -> Callable[..., Any]:
    operator = torch.library.custom_op(
        f"fastjvae::{name}", launch, mutates_args=written, schema=schema
    )
    operator.register_fake(fake)

    def call(*inputs: Any) -> Any:
        traced = torch.compiler.is_compiling() or isinstance(inputs[0], FakeTensor)
        return operator(*inputs) if traced else launch(*inputs)

    return call


def random_affine(images: Tensor, uniform: Tensor, largest: Tensor) -> Tensor:
    """(N, C, H, W) images moved by (N, 6) numbers, see :mod:`fastjvae_kernels.affine`."""
    return _RANDOM_AFFINE(images, uniform, largest)  # type: ignore[no-any-return]


def gather_images(images: Tensor, index: Tensor, dtype: torch.dtype) -> Tensor:
    """(M, C, H, W) contiguous images by (N,) int64, see :mod:`fastjvae_kernels.gather`."""
    return _GATHER_IMAGES(images, index, dtype)  # type: ignore[no-any-return]


def record_row(
    rows: Tensor,
    following: Tensor,
    values: Sequence[Tensor],
    factors: Sequence[float],
    counts: Tensor | None,
) -> None:
    """Write values times factors into a row, see :mod:`fastjvae_kernels.recording`."""
    _RECORD_ROW(rows, following, values, factors, counts)


def _fake_affine(images: Tensor, _uniform: Tensor, largest: Tensor) -> Tensor:
    return torch.empty(
        images.shape, dtype=largest.dtype, device=images.device, memory_format=torch.channels_last
    )


def _fake_gather(images: Tensor, index: Tensor, dtype: torch.dtype) -> Tensor:
    _, channels, height, width = images.shape
    shape = (index.shape[0], height, width, channels)
    return images.new_empty(shape, dtype=dtype).permute(0, 3, 1, 2)


_RANDOM_AFFINE = _operator(
    "random_affine",
    "(Tensor images, Tensor uniform, Tensor largest) -> Tensor",
    affine.random_affine,
    _fake_affine,
)
_GATHER_IMAGES = _operator(
    "gather_images",
    "(Tensor images, Tensor index, ScalarType dtype) -> Tensor",
    gather.gather,
    _fake_gather,
)
_RECORD_ROW = _operator(
    "record_row",
    "(Tensor(a!) rows, Tensor(b!) following, Tensor[] values, float[] factors, Tensor(c!)? counts)"
    " -> ()",
    recording.record_row,
    lambda *_: None,
    "rows",
    "following",
    "counts",
)
