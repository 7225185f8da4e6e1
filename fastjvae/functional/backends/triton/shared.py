"""Shared information of all categorical variables at once, in a loss."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastjvae.functional.backends.shared import SharedTerms
from fastjvae.functional.backends.triton.operation import (
    Operation,
    one_of,
    prepare,
    tensor_and_float,
)
from fastjvae.functional.latents import LatentSpec, largest_kl
from fastjvae_kernels import shared_launch as kernel
from fastjvae_kernels.joint_loss import Ramp
from fastjvae_kernels.shared_launch import Heads, SharedReport


def shared_loss(
    loss: Tensor, params: Tensor, spec: LatentSpec, further: Tensor | None, terms: SharedTerms
) -> tuple[Tensor, SharedReport]:
    """Loss () and the numbers that were added to it, which carry no gradient."""
    step, disc, on_device = terms.step, terms.disc, isinstance(terms.step, Tensor)
    numbers = (disc.lo, disc.hi, disc.start, disc.iters, largest_kl(spec.disc))
    total, report, _joint = _SHARED_LOSS(
        loss, params, further, spec.disc, terms.group,
        step if on_device else None, 0 if on_device else step,
        [float(number) for number in numbers], *tensor_and_float(disc.gamma),
        terms.balance, terms.pixels,
    )  # fmt: skip
    return total, SharedReport.of(report)


def _forward(
    loss: Tensor,
    params: Tensor,
    further: Tensor | None,
    sizes: Sequence[int],
    group: int,
    step_tensor: Tensor | None,
    step: int,
    disc: Sequence[float],
    gamma_tensor: Tensor | None,
    gamma: float,
    balance: float,
    pixels: int,
) -> tuple[Tensor, Tensor, Tensor]:
    lo, hi, start, iters, maximum = disc
    ramp = Ramp(lo, hi, int(start), iters, maximum, one_of(gamma_tensor, gamma))
    return kernel.shared_loss(
        loss,
        Heads(params, tuple(sizes), further, group),
        step if step_tensor is None else step_tensor,
        ramp,
        balance=balance,
        pixels=pixels,
    )


def _fake(
    loss: Tensor, params: Tensor, further: Tensor | None, sizes: Sequence[int], *_: Any
) -> tuple[Tensor, Tensor, Tensor]:
    heads = Heads(params, tuple(map(int, sizes)), further, 2)
    prepare(params, heads.all_sizes)
    shapes = ((), (kernel.report_size(heads),), (kernel.joint_size(heads),))
    total, report, joint = (loss.new_empty(shape, dtype=torch.float32) for shape in shapes)
    return total, report, joint


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    loss, params, further, ctx.sizes, ctx.group, *_ = inputs
    ctx.loss_dtype = loss.dtype
    _, report, joint = output
    ctx.save_for_backward(params, further, report, joint)
    ctx.mark_non_differentiable(report, joint)


def _arguments(ctx: Any, upstream: Tensor, *_: Any) -> tuple[Any, ...]:
    ctx.upstream = upstream
    return *ctx.saved_tensors, upstream, ctx.sizes, ctx.group


def _backward(
    params: Tensor,
    further: Tensor | None,
    report: Tensor,
    joint: Tensor,
    upstream: Tensor,
    sizes: Sequence[int],
    group: int,
) -> tuple[Tensor, Tensor]:
    heads = Heads(params, tuple(sizes), further, group)
    grad, grad_further = kernel.shared_backward(heads, report, joint, upstream)
    # A custom operator returns tensors.
    return grad, params.new_empty(0) if grad_further is None else grad_further


def _backward_fake(params: Tensor, further: Tensor | None, *_: Any) -> tuple[Tensor, Tensor]:
    none = params.new_empty(0)
    return torch.empty_like(params), none if further is None else torch.empty_like(further)


def _spread(ctx: Any, gradients: tuple[Tensor, Tensor]) -> tuple[Any, ...]:
    grad, grad_further = gradients
    if ctx.saved_tensors[1] is None:
        grad_further = None  # type: ignore[assignment]
    return ctx.upstream.to(ctx.loss_dtype), grad, grad_further, *[None] * 9


_SHARED_LOSS = Operation(
    "shared_loss",
    schema="(Tensor loss, Tensor params, Tensor? further, int[] sizes, int group,"
    " Tensor? step_tensor, SymInt step, float[] disc, Tensor? gamma_tensor, float gamma,"
    " float balance, int pixels) -> (Tensor, Tensor, Tensor)",
    forward=_forward,
    fake=_fake,
    save=_save,
    arguments=_arguments,
    backward_schema="(Tensor params, Tensor? further, Tensor report, Tensor joint,"
    " Tensor upstream, int[] sizes, int group) -> (Tensor, Tensor)",
    backward=_backward,
    backward_fake=_backward_fake,
    spread=_spread,
)
