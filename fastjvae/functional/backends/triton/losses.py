"""The Bernoulli cross-entropy of images, alone and in the loss of a JointVAE (paper eq. 8)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastjvae.functional.backends.triton.operation import Operation, one_of, tensor_and_float
from fastjvae.functional.capacity import Capacity
from fastjvae.functional.latents import largest_kl
from fastjvae_kernels import joint_loss as kernel
from fastjvae_kernels.column_sums import column_sums
from fastjvae_kernels.joint_loss import REPORT_SCALARS, Ramp, Report
from fastjvae_kernels.reconstruction import (
    DivergenceSlopes,
    reconstruction_backward,
    reconstruction_forward,
)


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


def joint_loss(
    logits: Tensor,
    target: Tensor,
    sums: Tensor,
    sizes: tuple[int, ...],
    step: int | Tensor,
    cont: Capacity | None,
    disc: Capacity | None,
    *,
    rows: int,
    divisor: int,
    pixels: int,
    information: bool,
) -> tuple[Tensor, Report]:
    """Loss () and the numbers that it is made of, which carry no gradient.

    ``sums`` (R, Z + D + sum K): they add up to ``rows`` times the batch means, as the cross-entropy
    of every element to ``divisor`` times the reconstruction. Counts and not their inverses, because
    torch.compile keeps integers symbolic where the batch size changes.
    """
    on_device = isinstance(step, Tensor)
    loss, report = _JOINT_LOSS(
        logits, target, sums, sizes, step if on_device else None, 0 if on_device else step,
        *_capacity_arguments(cont, math.inf), *_capacity_arguments(disc, largest_kl(sizes)),
        rows, divisor, pixels, information,
    )  # fmt: skip
    return loss, Report.of(report)


def _capacity_arguments(
    capacity: Capacity | None, maximum: float
) -> tuple[list[float], Tensor | None, float]:
    """(lo, hi, start, iters, maximum) and the weight; the weight 0 where there is no capacity."""
    if capacity is None:
        return [0.0, 0.0, 0.0, 1.0, 0.0], None, 0.0
    numbers = (capacity.lo, capacity.hi, capacity.start, capacity.iters, maximum)
    return [float(number) for number in numbers], *tensor_and_float(capacity.gamma)


def _joint_loss_forward(
    logits: Tensor,
    target: Tensor,
    sums: Tensor,
    sizes: Sequence[int],
    step_tensor: Tensor | None,
    step: int,
    cont: Sequence[float],
    cont_gamma_tensor: Tensor | None,
    cont_gamma: float,
    disc: Sequence[float],
    disc_gamma_tensor: Tensor | None,
    disc_gamma: float,
    rows: int,
    divisor: int,
    pixels: int,
    information: bool,
) -> tuple[Tensor, Tensor]:
    return kernel.joint_loss(
        sums,
        reconstruction_forward(logits, target),
        sizes,
        step if step_tensor is None else step_tensor,
        _ramp(cont, one_of(cont_gamma_tensor, cont_gamma)),
        _ramp(disc, one_of(disc_gamma_tensor, disc_gamma)),
        scale=1 / rows,
        reconstruction_scale=1 / divisor,
        log_sizes=largest_kl(sizes),
        pixels=pixels,
        information=information,
    )


def _ramp(numbers: Sequence[float], gamma: float | Tensor) -> Ramp:
    lo, hi, start, iters, maximum = numbers
    return Ramp(lo, hi, int(start), iters, maximum, gamma)


def _joint_loss_fake(
    logits: Tensor, _target: Tensor, sums: Tensor, *_: Any
) -> tuple[Tensor, Tensor]:
    return sums.new_empty(()), sums.new_empty(REPORT_SCALARS + sums.shape[1])


def _joint_loss_save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    logits, target, sums, ctx.sizes, *_ = inputs
    *_, ctx.rows, ctx.divisor, ctx.pixels, ctx.information = inputs
    ctx.programs = sums.shape[0]
    ctx.save_for_backward(logits, target, output[1])
    ctx.mark_non_differentiable(output[1])


def _joint_loss_arguments(ctx: Any, upstream: Tensor, _report: Any) -> tuple[Any, ...]:
    return (
        *ctx.saved_tensors, upstream, ctx.sizes, ctx.rows, ctx.divisor * ctx.pixels,
        ctx.information,
    )  # fmt: skip


def _joint_loss_backward(
    logits: Tensor,
    target: Tensor,
    report: Tensor,
    upstream: Tensor,
    sizes: Sequence[int],
    rows: int,
    divisor: int,
    information: bool,
) -> tuple[Tensor, Tensor]:
    slopes = DivergenceSlopes(report, sizes, 1 / rows, information)
    return reconstruction_backward(logits, target, upstream, 1 / divisor, slopes)


def _joint_loss_backward_fake(
    logits: Tensor, _target: Tensor, report: Tensor, *_: Any
) -> tuple[Tensor, Tensor]:
    columns = report.shape[0] - REPORT_SCALARS
    return torch.empty_like(logits), report.new_empty(columns)


def _joint_loss_spread(ctx: Any, gradients: tuple[Tensor, Tensor]) -> tuple[Any, ...]:
    grad_logits, grad_sums = gradients
    # Every row of the sums has the same gradient.
    return grad_logits, None, grad_sums.expand(ctx.programs, -1), *[None] * 13


_JOINT_LOSS = Operation(
    "joint_loss",
    schema="(Tensor logits, Tensor target, Tensor sums, int[] sizes, Tensor? step_tensor,"
    " SymInt step, float[] cont, Tensor? cont_gamma_tensor, float cont_gamma, float[] disc,"
    " Tensor? disc_gamma_tensor, float disc_gamma, SymInt rows, SymInt divisor, int pixels,"
    " bool information) -> (Tensor, Tensor)",
    forward=_joint_loss_forward,
    fake=_joint_loss_fake,
    save=_joint_loss_save,
    arguments=_joint_loss_arguments,
    backward_schema="(Tensor logits, Tensor target, Tensor report, Tensor upstream, int[] sizes,"
    " SymInt rows, SymInt divisor, bool information) -> (Tensor, Tensor)",
    backward=_joint_loss_backward,
    backward_fake=_joint_loss_backward_fake,
    spread=_joint_loss_spread,
)
