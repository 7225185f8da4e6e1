"""The Bernoulli cross-entropy of images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastjvae.functional.backends.triton.operation import Operation
from fastjvae_kernels.column_sums import column_sums
from fastjvae_kernels.reconstruction import reconstruction_backward, reconstruction_forward


def bernoulli_reconstruction(logits: Tensor, target: Tensor, divisor: int) -> Tensor:
    """The cross-entropy summed over every element, over ``divisor``."""
    return _RECONSTRUCTION(logits, target, divisor)  # type: ignore[no-any-return]


def _reconstruction_forward(logits: Tensor, target: Tensor, divisor: int) -> Tensor:
    partials = reconstruction_forward(logits, target)
    return column_sums(partials[:, None], 1 / divisor).reshape(())


def _reconstruction_backward(
    logits: Tensor, target: Tensor, upstream: Tensor, divisor: int
) -> Tensor:
    return reconstruction_backward(logits, target, upstream, 1 / divisor)[0]


def _reconstruction_save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    logits, target, ctx.divisor = inputs
    ctx.save_for_backward(logits, target)


_RECONSTRUCTION = Operation(
    "bernoulli_reconstruction",
    schema="(Tensor logits, Tensor target, SymInt divisor) -> Tensor",
    forward=_reconstruction_forward,
    fake=lambda logits, _target, _divisor: logits.new_empty((), dtype=torch.float32),
    save=_reconstruction_save,
    arguments=lambda ctx, upstream: (*ctx.saved_tensors, upstream, ctx.divisor),
    backward_schema="(Tensor logits, Tensor target, Tensor upstream, SymInt divisor) -> Tensor",
    backward=_reconstruction_backward,
    backward_fake=lambda logits, *_: torch.empty_like(logits),
    spread=lambda _ctx, gradient: (gradient, None, None),
)
