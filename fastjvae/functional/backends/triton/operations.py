"""The Triton kernels as differentiable operations; imported only where they run.

Each operation is a forward and a backward function over the launchers of ``fastjvae_kernels``;
an :class:`Operation` makes an autograd function and a custom operator of them.

A backward pass is one launch. Nothing here waits for the device, and nothing but inputs, samples,
the seed and a few scalars on the device is kept for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from fastjvae.functional.backends.triton.operation import Operation
from fastjvae.functional.capacity import Capacity
from fastjvae.functional.latents import LatentSpec, largest_kl
from fastjvae_kernels import launch
from fastjvae_kernels.blocks import latent_blocks
from fastjvae_kernels.launch import DivergenceSlopes, LatentNoise, LatentParts, Ramp, Report

# What the latent kernel's partial sums over rows become: batch means (Z + D + sum K,), the partial
# sums themselves (programs, Z + D + sum K), or nothing, (0, 0), where only the sample is wanted.
Sums = Literal["means", "partials", "none"]

# --- operations -----------------------------------------------------------------------------------


def joint_latent(
    params: Tensor,
    spec: LatentSpec,
    tau: float | Tensor,
    seed: Tensor | None,
    normal: Tensor | None = None,
    uniform: Tensor | None = None,
    *,
    sums: Sums = "means",
) -> tuple[Tensor, Tensor]:
    """Sample rows (N, L), and what the batch says of divergences and category probabilities.

    The noise is the key ``seed`` (1,) int64, or ``normal`` (N, Z) and ``uniform`` (N, sum K).
    """
    return _JOINT_LATENT(  # type: ignore[no-any-return]
        params, spec.cont, spec.disc, *_tensor_and_float(tau), seed, normal, uniform, sums
    )


def divergences(
    mean: Tensor, logvar: Tensor, logits: Tensor, sizes: tuple[int, ...], *, sums: Sums = "means"
) -> Tensor:
    """The second part of :func:`joint_latent` alone, of (N, Z), (N, Z) and (N, sum K)."""
    return _DIVERGENCES(mean, logvar, logits, sizes, sums)  # type: ignore[no-any-return]


def gumbel_softmax(
    logits: Tensor, tau: float | Tensor, seed: Tensor | None, uniform: Tensor | None = None
) -> Tensor:
    """(N, K) logits -> (N, K) relaxed one-hot rows."""
    return _GUMBEL_SOFTMAX(  # type: ignore[no-any-return]
        logits, *_tensor_and_float(tau), seed, uniform
    )


def gaussian_rsample(
    mean: Tensor, logvar: Tensor, seed: Tensor | None, normal: Tensor | None = None
) -> Tensor:
    """(N, Z) mean and logvar -> (N, Z) samples."""
    return _GAUSSIAN_RSAMPLE(mean, logvar, seed, normal)  # type: ignore[no-any-return]


def bernoulli_reconstruction(logits: Tensor, target: Tensor, divisor: int) -> Tensor:
    """The cross-entropy summed over every element, over ``divisor``."""
    return _RECONSTRUCTION(logits, target, divisor)  # type: ignore[no-any-return]


def joint_objective(
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
    loss, report = _JOINT_OBJECTIVE(
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
    return [float(number) for number in numbers], *_tensor_and_float(capacity.gamma)


def _tensor_and_float(value: float | Tensor) -> tuple[Tensor | None, float]:
    return (value, 0.0) if isinstance(value, Tensor) else (None, float(value))


def _one_of(tensor: Tensor | None, value: float) -> float | Tensor:
    return value if tensor is None else tensor


# --- joint latent ---------------------------------------------------------------------------------


def _parts(params: Tensor, cont: int) -> LatentParts:
    return LatentParts(params[:, :cont], params[:, cont : 2 * cont], params[:, 2 * cont :])


def _batch_scale(rows: int) -> float:
    """What turns a sum over the batch into its mean; the share of an empty batch is 0."""
    return 1 / max(rows, 1)


def _finished(partials: Tensor, rows: int, sums: str) -> Tensor:
    return launch.column_sums(partials, _batch_scale(rows)) if sums == "means" else partials


def _fake_sums(like: Tensor, units: int, sizes: Sequence[int], sums: str) -> Tensor:
    units, sizes = int(units), tuple(map(int, sizes))  # what a model has does not change
    columns = units + len(sizes) + sum(sizes)
    programs = latent_blocks(like.shape[0], units, sizes).programs
    shape = {"means": (columns,), "partials": (programs, columns), "none": (0, 0)}[sums]
    return like.new_empty(shape, dtype=torch.float32)


def _upstream_of_partials(grad: Tensor | None, rows: int, sums: str) -> tuple[Tensor | None, float]:
    """The upstream gradient of the partial sums, (programs, columns), and its factor."""
    if grad is None or sums == "none":
        return None, 1.0
    if sums == "partials":
        return grad, 1.0
    return grad.expand(max(rows, 1), -1), _batch_scale(rows)


def _joint_latent_forward(
    params: Tensor,
    cont: int,
    sizes: Sequence[int],
    tau_tensor: Tensor | None,
    tau: float,
    seed: Tensor | None,
    normal: Tensor | None,
    uniform: Tensor | None,
    sums: str,
) -> tuple[Tensor, Tensor]:
    rows = params.shape[0]
    sample = params.new_empty(rows, cont + sum(sizes))
    partials = launch.latent_forward(
        _parts(params, cont),
        sizes,
        LatentNoise(seed, normal, uniform),
        _one_of(tau_tensor, tau),
        sample[:, :cont],
        sample[:, cont:],
        diverge=sums != "none",
    )
    return sample, _finished(partials, rows, sums)


def _prepare(like: Tensor, sizes: Sequence[int]) -> None:
    """Make the table of the variables while torch.compile traces.

    Later it might be made inside a CUDA graph, in memory that the graph takes back.
    """
    with _disable_current_modes():
        launch.variables_table(tuple(map(int, sizes)), like.device)


def _joint_latent_fake(
    params: Tensor, cont: int, sizes: Sequence[int], *others: Any
) -> tuple[Tensor, Tensor]:
    _prepare(params, sizes)
    sample = params.new_empty(params.shape[0], cont + sum(sizes))
    return sample, _fake_sums(params, cont, sizes, sums=others[-1])


def _joint_latent_save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    params, ctx.cont, ctx.sizes, tau_tensor, ctx.tau, seed, normal, _uniform, ctx.sums = inputs
    ctx.save_for_backward(params, output[0], tau_tensor, seed, normal)


def _joint_latent_arguments(
    ctx: Any, grad_sample: Tensor | None, grad_sums: Tensor | None
) -> tuple[Any, ...]:
    params, sample, tau_tensor, seed, normal = ctx.saved_tensors
    return (
        params, sample, grad_sample, grad_sums, ctx.cont, ctx.sizes, tau_tensor, ctx.tau, seed,
        normal, ctx.sums,
    )  # fmt: skip


def _joint_latent_backward(
    params: Tensor,
    sample: Tensor,
    grad_sample: Tensor | None,
    grad_sums: Tensor | None,
    cont: int,
    sizes: Sequence[int],
    tau_tensor: Tensor | None,
    tau: float,
    seed: Tensor | None,
    normal: Tensor | None,
    sums: str,
) -> Tensor:
    grad = torch.empty_like(params)
    launch.latent_backward(
        _parts(params, cont),
        sizes,
        None if grad_sample is None else LatentNoise(seed, normal),
        _one_of(tau_tensor, tau),
        sample[:, cont:],
        None if grad_sample is None else grad_sample[:, :cont],
        None if grad_sample is None else grad_sample[:, cont:],
        *_upstream_of_partials(grad_sums, params.shape[0], sums),
        _parts(grad, cont),
    )
    return grad


_JOINT_LATENT = Operation(
    "joint_latent",
    schema="(Tensor params, int cont, int[] sizes, Tensor? tau_tensor, float tau, Tensor? seed,"
    " Tensor? normal, Tensor? uniform, str sums) -> (Tensor, Tensor)",
    forward=_joint_latent_forward,
    fake=_joint_latent_fake,
    save=_joint_latent_save,
    arguments=_joint_latent_arguments,
    backward_schema="(Tensor params, Tensor sample, Tensor? grad_sample, Tensor? grad_sums,"
    " int cont, int[] sizes, Tensor? tau_tensor, float tau, Tensor? seed, Tensor? normal,"
    " str sums) -> Tensor",
    backward=_joint_latent_backward,
    backward_fake=lambda params, *_: torch.empty_like(params),
    spread=lambda _ctx, gradient: (gradient, *[None] * 8),
)


# --- divergences ----------------------------------------------------------------------------------


def _divergences_forward(
    mean: Tensor, logvar: Tensor, logits: Tensor, sizes: Sequence[int], sums: str
) -> Tensor:
    partials = launch.latent_forward(
        LatentParts(mean, logvar, logits), sizes, None, 1.0, None, None, diverge=True
    )
    return _finished(partials, mean.shape[0], sums)


def _divergences_fake(
    mean: Tensor, _logvar: Tensor, _logits: Tensor, sizes: Sequence[int], sums: str
) -> Tensor:
    _prepare(mean, sizes)
    return _fake_sums(mean, mean.shape[1], sizes, sums)


def _divergences_save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *parts, ctx.sizes, ctx.sums = inputs
    ctx.save_for_backward(*parts)


def _divergences_backward(
    mean: Tensor,
    logvar: Tensor,
    logits: Tensor,
    grad_sums: Tensor,
    sizes: Sequence[int],
    sums: str,
) -> tuple[Tensor, Tensor, Tensor]:
    parts = LatentParts(mean, logvar, logits)
    grads = LatentParts(*(torch.empty_like(part) for part in parts))
    upstream, scale = _upstream_of_partials(grad_sums, mean.shape[0], sums)
    launch.latent_backward(
        parts, sizes, None, 1.0, None, None, None, upstream, scale, grads
    )  # fmt: skip
    return tuple(grads)  # type: ignore[return-value]


_DIVERGENCES = Operation(
    "divergences",
    schema="(Tensor mean, Tensor logvar, Tensor logits, int[] sizes, str sums) -> Tensor",
    forward=_divergences_forward,
    fake=_divergences_fake,
    save=_divergences_save,
    arguments=lambda ctx, grad_sums: (*ctx.saved_tensors, grad_sums, ctx.sizes, ctx.sums),
    backward_schema="(Tensor mean, Tensor logvar, Tensor logits, Tensor grad_sums, int[] sizes,"
    " str sums) -> (Tensor, Tensor, Tensor)",
    backward=_divergences_backward,
    backward_fake=lambda *inputs: tuple(torch.empty_like(part) for part in inputs[:3]),
    spread=lambda _ctx, gradients: (*gradients, None, None),
)


# --- single samples -------------------------------------------------------------------------------


def _gumbel_softmax_forward(
    logits: Tensor,
    tau_tensor: Tensor | None,
    tau: float,
    seed: Tensor | None,
    uniform: Tensor | None,
) -> Tensor:
    y = torch.empty_like(logits)
    none = logits[:, :0]
    noise = LatentNoise(seed, None, uniform)
    launch.latent_forward(
        LatentParts(none, none, logits), (logits.shape[1],), noise, _one_of(tau_tensor, tau),
        none, y, diverge=False,
    )  # fmt: skip
    return y


def _gumbel_softmax_fake(logits: Tensor, *_: Any) -> Tensor:
    _prepare(logits, (logits.shape[1],))
    return torch.empty_like(logits)


def _gumbel_softmax_save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _logits, tau_tensor, ctx.tau, _seed, _uniform = inputs
    ctx.save_for_backward(output, tau_tensor)


def _gumbel_softmax_arguments(ctx: Any, grad_y: Tensor) -> tuple[Any, ...]:
    y, tau_tensor = ctx.saved_tensors
    return y, grad_y, tau_tensor, ctx.tau


def _gumbel_softmax_backward(
    y: Tensor, grad_y: Tensor, tau_tensor: Tensor | None, tau: float
) -> Tensor:
    grad = torch.empty_like(y)
    none = y[:, :0]
    launch.latent_backward(
        LatentParts(none, none, y), (y.shape[1],), LatentNoise(), _one_of(tau_tensor, tau), y,
        none, grad_y, None, 1.0, LatentParts(none, none, grad),
    )  # fmt: skip
    return grad


_GUMBEL_SOFTMAX = Operation(
    "gumbel_softmax",
    schema="(Tensor logits, Tensor? tau_tensor, float tau, Tensor? seed, Tensor? uniform)"
    " -> Tensor",
    forward=_gumbel_softmax_forward,
    fake=_gumbel_softmax_fake,
    save=_gumbel_softmax_save,
    arguments=_gumbel_softmax_arguments,
    backward_schema="(Tensor y, Tensor grad_y, Tensor? tau_tensor, float tau) -> Tensor",
    backward=_gumbel_softmax_backward,
    backward_fake=lambda y, *_: torch.empty_like(y),
    spread=lambda _ctx, gradient: (gradient, None, None, None, None),
)


def _gaussian_rsample_forward(
    mean: Tensor, logvar: Tensor, seed: Tensor | None, normal: Tensor | None
) -> Tensor:
    z = torch.empty_like(mean)
    launch.latent_forward(
        LatentParts(mean, logvar, mean[:, :0]), (), LatentNoise(seed, normal), 1.0, z, None,
        diverge=False,
    )  # fmt: skip
    return z


def _gaussian_rsample_fake(mean: Tensor, *_: Any) -> Tensor:
    _prepare(mean, ())
    return torch.empty_like(mean)


def _gaussian_rsample_save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gaussian_rsample_backward(
    mean: Tensor, logvar: Tensor, seed: Tensor | None, normal: Tensor | None, grad_z: Tensor
) -> tuple[Tensor, Tensor]:
    grad_mean, grad_logvar = torch.empty_like(mean), torch.empty_like(logvar)
    none = mean[:, :0]
    launch.latent_backward(
        LatentParts(mean, logvar, none), (), LatentNoise(seed, normal), 1.0, None, grad_z, none,
        None, 1.0, LatentParts(grad_mean, grad_logvar, none),
    )  # fmt: skip
    return grad_mean, grad_logvar


_GAUSSIAN_RSAMPLE = Operation(
    "gaussian_rsample",
    schema="(Tensor mean, Tensor logvar, Tensor? seed, Tensor? normal) -> Tensor",
    forward=_gaussian_rsample_forward,
    fake=_gaussian_rsample_fake,
    save=_gaussian_rsample_save,
    arguments=lambda ctx, grad_z: (*ctx.saved_tensors, grad_z),
    backward_schema="(Tensor mean, Tensor logvar, Tensor? seed, Tensor? normal, Tensor grad_z)"
    " -> (Tensor, Tensor)",
    backward=_gaussian_rsample_backward,
    backward_fake=lambda mean, logvar, *_: (torch.empty_like(mean), torch.empty_like(logvar)),
    spread=lambda _ctx, gradients: (*gradients, None, None),
)


# --- reconstruction -------------------------------------------------------------------------------


def _reconstruction_forward(logits: Tensor, target: Tensor, divisor: int) -> Tensor:
    partials = launch.reconstruction_forward(logits, target)
    return launch.column_sums(partials[:, None], 1 / divisor).reshape(())


def _reconstruction_backward(
    logits: Tensor, target: Tensor, upstream: Tensor, divisor: int
) -> Tensor:
    return launch.reconstruction_backward(logits, target, upstream, 1 / divisor)[0]


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


# --- joint objective ------------------------------------------------------------------------------


def _joint_objective_forward(
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
    return launch.joint_objective(
        sums,
        launch.reconstruction_forward(logits, target),
        sizes,
        step if step_tensor is None else step_tensor,
        _ramp(cont, _one_of(cont_gamma_tensor, cont_gamma)),
        _ramp(disc, _one_of(disc_gamma_tensor, disc_gamma)),
        scale=1 / rows,
        reconstruction_scale=1 / divisor,
        log_sizes=largest_kl(sizes),
        pixels=pixels,
        information=information,
    )


def _ramp(numbers: Sequence[float], gamma: float | Tensor) -> Ramp:
    lo, hi, start, iters, maximum = numbers
    return Ramp(lo, hi, int(start), iters, maximum, gamma)


def _joint_objective_fake(
    logits: Tensor, _target: Tensor, sums: Tensor, *_: Any
) -> tuple[Tensor, Tensor]:
    return sums.new_empty(()), sums.new_empty(launch.REPORT_SCALARS + sums.shape[1])


def _joint_objective_save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    logits, target, sums, ctx.sizes, *_ = inputs
    *_, ctx.rows, ctx.divisor, ctx.pixels, ctx.information = inputs
    ctx.programs = sums.shape[0]
    ctx.save_for_backward(logits, target, output[1])
    ctx.mark_non_differentiable(output[1])


def _joint_objective_arguments(ctx: Any, upstream: Tensor, _report: Any) -> tuple[Any, ...]:
    return (
        *ctx.saved_tensors, upstream, ctx.sizes, ctx.rows, ctx.divisor * ctx.pixels,
        ctx.information,
    )  # fmt: skip


def _joint_objective_backward(
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
    return launch.reconstruction_backward(logits, target, upstream, 1 / divisor, slopes)


def _joint_objective_backward_fake(
    logits: Tensor, _target: Tensor, report: Tensor, *_: Any
) -> tuple[Tensor, Tensor]:
    columns = report.shape[0] - launch.REPORT_SCALARS
    return torch.empty_like(logits), report.new_empty(columns)


def _joint_objective_spread(ctx: Any, gradients: tuple[Tensor, Tensor]) -> tuple[Any, ...]:
    grad_logits, grad_sums = gradients
    # Every row of the sums has the same gradient.
    return grad_logits, None, grad_sums.expand(ctx.programs, -1), *[None] * 13


_JOINT_OBJECTIVE = Operation(
    "joint_objective",
    schema="(Tensor logits, Tensor target, Tensor sums, int[] sizes, Tensor? step_tensor,"
    " SymInt step, float[] cont, Tensor? cont_gamma_tensor, float cont_gamma, float[] disc,"
    " Tensor? disc_gamma_tensor, float disc_gamma, SymInt rows, SymInt divisor, int pixels,"
    " bool information) -> (Tensor, Tensor)",
    forward=_joint_objective_forward,
    fake=_joint_objective_fake,
    save=_joint_objective_save,
    arguments=_joint_objective_arguments,
    backward_schema="(Tensor logits, Tensor target, Tensor report, Tensor upstream, int[] sizes,"
    " SymInt rows, SymInt divisor, bool information) -> (Tensor, Tensor)",
    backward=_joint_objective_backward,
    backward_fake=_joint_objective_backward_fake,
    spread=_joint_objective_spread,
)
