"""The negative log likelihood of images, alone and in the loss of a JointVAE (paper eq. 8)."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fastjvae.functional.backends.triton.operation import Operation, one_of, tensor_and_float
from fastjvae.functional.capacity import Capacity
from fastjvae.functional.gaussian import Gaussian
from fastjvae.functional.latents import largest_kl
from fastjvae_kernels import joint_loss as kernel
from fastjvae_kernels.column_sums import column_sums
from fastjvae_kernels.joint_loss import REPORT_SCALARS, Ramp, Report
from fastjvae_kernels.reconstruction import (
    DivergenceSlopes,
    reconstruction_backward,
    reconstruction_forward,
)
from fastjvae_kernels.reconstruction import Gaussian as Pixels


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


def gaussian_reconstruction(
    logits: Tensor, target: Tensor, gaussian: Gaussian, divisor: int
) -> Tensor:
    """The negative log density summed over every element, over ``divisor``."""
    numbers = [float(gaussian.low), float(gaussian.width)]
    log_scale = tensor_and_float(gaussian.log_scale)
    return _GAUSSIAN(logits, target, *log_scale, numbers, divisor)  # type: ignore[no-any-return]


def _pixels(log_scale_tensor: Tensor | None, log_scale: float, ends: Sequence[float]) -> Pixels:
    return Pixels(one_of(log_scale_tensor, log_scale), *ends)


def _gaussian_forward(
    logits: Tensor,
    target: Tensor,
    log_scale_tensor: Tensor | None,
    log_scale: float,
    ends: Sequence[float],
    divisor: int,
) -> Tensor:
    pixels = _pixels(log_scale_tensor, log_scale, ends)
    partials = reconstruction_forward(logits, target, pixels)
    return column_sums(partials[:, None], 1 / divisor).reshape(())


def _gaussian_save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    logits, target, log_scale_tensor, ctx.log_scale, ctx.ends, ctx.divisor = inputs
    ctx.save_for_backward(logits, target, log_scale_tensor, output)


def _gaussian_arguments(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
    logits, target, log_scale_tensor, output = ctx.saved_tensors
    return (
        logits, target, log_scale_tensor, ctx.log_scale, ctx.ends, output, upstream, ctx.divisor,
    )  # fmt: skip


def _gaussian_backward(
    logits: Tensor,
    target: Tensor,
    log_scale_tensor: Tensor | None,
    log_scale: float,
    ends: Sequence[float],
    output: Tensor,
    upstream: Tensor,
    divisor: int,
) -> tuple[Tensor, Tensor]:
    pixels = _pixels(log_scale_tensor, log_scale, ends)
    by_logits, _, by_log_scale = reconstruction_backward(
        logits, target, upstream, 1 / divisor, gaussian=pixels, reconstruction=output
    )
    return by_logits, by_log_scale


def _fake_by_log_scale(log_scale: Tensor | None, like: Tensor) -> Tensor:
    """The gradient of a scale on the device, or the empty tensor in its place."""
    return like.new_empty((0,)) if log_scale is None else torch.empty_like(log_scale)


def _unless_empty(by_log_scale: Tensor) -> Tensor | None:
    return by_log_scale if by_log_scale.numel() else None


_GAUSSIAN = Operation(
    "gaussian_reconstruction",
    schema="(Tensor logits, Tensor target, Tensor? log_scale_tensor, float log_scale,"
    " float[] ends, SymInt divisor) -> Tensor",
    forward=_gaussian_forward,
    fake=lambda logits, *_: logits.new_empty((), dtype=torch.float32),
    save=_gaussian_save,
    arguments=_gaussian_arguments,
    backward_schema="(Tensor logits, Tensor target, Tensor? log_scale_tensor, float log_scale,"
    " float[] ends, Tensor output, Tensor upstream, SymInt divisor) -> (Tensor, Tensor)",
    backward=_gaussian_backward,
    backward_fake=lambda logits, _target, log_scale, _number, _ends, _output, upstream, _divisor: (
        torch.empty_like(logits),
        _fake_by_log_scale(log_scale, upstream),
    ),
    spread=lambda _ctx, gradients: (
        gradients[0],
        None,
        _unless_empty(gradients[1]),
        None,
        None,
        None,
    ),
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
    gaussian: Gaussian | None,
) -> tuple[Tensor, Report]:
    """Loss () and the numbers that it is made of, which carry no gradient.

    ``sums`` (R, Z + D + sum K): they add up to ``rows`` times the batch means, as the cross-entropy
    of every element to ``divisor`` times the reconstruction. Counts and not their inverses, because
    torch.compile keeps integers symbolic where the batch size changes.
    """
    on_device = isinstance(step, Tensor)
    log_scale, numbers = None, []
    if gaussian is not None:
        log_scale, number = tensor_and_float(gaussian.log_scale)
        numbers = [number, float(gaussian.low), float(gaussian.width)]
    loss, report = _JOINT_LOSS(
        logits, target, sums, sizes, step if on_device else None, 0 if on_device else step,
        *_capacity_arguments(cont, math.inf), *_capacity_arguments(disc, largest_kl(sizes)),
        rows, divisor, pixels, information, log_scale, numbers,
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
    log_scale: Tensor | None,
    gaussian: Sequence[float],
) -> tuple[Tensor, Tensor]:
    return kernel.joint_loss(
        sums,
        reconstruction_forward(logits, target, _pixels_or_none(log_scale, gaussian)),
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


def _pixels_or_none(log_scale: Tensor | None, gaussian: Sequence[float]) -> Pixels | None:
    """Log scale, low end and width as the kernels take them; nothing for a Bernoulli."""
    return _pixels(log_scale, gaussian[0], gaussian[1:]) if gaussian else None


def _ramp(numbers: Sequence[float], gamma: float | Tensor) -> Ramp:
    lo, hi, start, iters, maximum = numbers
    return Ramp(lo, hi, int(start), iters, maximum, gamma)


def _joint_loss_fake(
    logits: Tensor, _target: Tensor, sums: Tensor, *_: Any
) -> tuple[Tensor, Tensor]:
    return sums.new_empty(()), sums.new_empty(REPORT_SCALARS + sums.shape[1])


def _joint_loss_save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    logits, target, sums, ctx.sizes, *_ = inputs
    *_, ctx.rows, ctx.divisor, ctx.pixels, ctx.information, log_scale, ctx.gaussian = inputs
    ctx.programs = sums.shape[0]
    ctx.save_for_backward(logits, target, output[1], log_scale)
    ctx.mark_non_differentiable(output[1])


def _joint_loss_arguments(ctx: Any, upstream: Tensor, _report: Any) -> tuple[Any, ...]:
    *tensors, log_scale = ctx.saved_tensors
    return (
        *tensors, upstream, ctx.sizes, ctx.rows, ctx.divisor, ctx.pixels, ctx.information,
        log_scale, ctx.gaussian,
    )  # fmt: skip


def _joint_loss_backward(
    logits: Tensor,
    target: Tensor,
    report: Tensor,
    upstream: Tensor,
    sizes: Sequence[int],
    rows: int,
    divisor: int,
    pixels: int,
    information: bool,
    log_scale: Tensor | None,
    gaussian: Sequence[float],
) -> tuple[Tensor, Tensor, Tensor]:
    return reconstruction_backward(
        logits,
        target,
        upstream,
        1 / (divisor * pixels),
        DivergenceSlopes(report, sizes, 1 / rows, information),
        _pixels_or_none(log_scale, gaussian),
        reconstruction=report,
        reconstruction_scale=1 / pixels,
    )


def _joint_loss_backward_fake(
    logits: Tensor, _target: Tensor, report: Tensor, upstream: Tensor, *others: Any
) -> tuple[Tensor, Tensor, Tensor]:
    columns = report.shape[0] - REPORT_SCALARS
    by_log_scale = _fake_by_log_scale(others[-2], upstream)
    return torch.empty_like(logits), report.new_empty(columns), by_log_scale


def _joint_loss_spread(ctx: Any, gradients: tuple[Tensor, Tensor, Tensor]) -> tuple[Any, ...]:
    grad_logits, grad_sums, by_log_scale = gradients
    # Every row of the sums has the same gradient.
    of_sums = grad_sums.expand(ctx.programs, -1)
    return grad_logits, None, of_sums, *[None] * 13, _unless_empty(by_log_scale), None


_JOINT_LOSS = Operation(
    "joint_loss",
    schema="(Tensor logits, Tensor target, Tensor sums, int[] sizes, Tensor? step_tensor,"
    " SymInt step, float[] cont, Tensor? cont_gamma_tensor, float cont_gamma, float[] disc,"
    " Tensor? disc_gamma_tensor, float disc_gamma, SymInt rows, SymInt divisor, int pixels,"
    " bool information, Tensor? log_scale, float[] gaussian) -> (Tensor, Tensor)",
    forward=_joint_loss_forward,
    fake=_joint_loss_fake,
    save=_joint_loss_save,
    arguments=_joint_loss_arguments,
    backward_schema="(Tensor logits, Tensor target, Tensor report, Tensor upstream, int[] sizes,"
    " SymInt rows, SymInt divisor, int pixels, bool information, Tensor? log_scale,"
    " float[] gaussian) -> (Tensor, Tensor, Tensor)",
    backward=_joint_loss_backward,
    backward_fake=_joint_loss_backward_fake,
    spread=_joint_loss_spread,
)
