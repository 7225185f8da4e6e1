"""All latent variables at once: samples and divergences, or the divergences alone."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from fastjvae.functional.backends.triton.operation import (
    Operation,
    one_of,
    prepare,
    tensor_and_float,
)
from fastjvae.functional.latents import LatentSpec
from fastjvae_kernels.blocks import latent_blocks
from fastjvae_kernels.column_sums import column_sums
from fastjvae_kernels.latent_launch import (
    LatentNoise,
    LatentParams,
    latent_backward,
    latent_forward,
)

# What the latent kernel's partial sums over rows become: batch means (Z + D + sum K,), the partial
# sums themselves (programs, Z + D + sum K), or nothing, (0, 0), where only the sample is wanted.
Sums = Literal["means", "partials", "none"]

# --- as users of this module call them ------------------------------------------------------------


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
        params, spec.cont, spec.disc, *tensor_and_float(tau), seed, normal, uniform, sums
    )


def divergences(
    mean: Tensor, logvar: Tensor, logits: Tensor, sizes: tuple[int, ...], *, sums: Sums = "means"
) -> Tensor:
    """The sums of :func:`joint_latent` alone, of (N, Z), (N, Z) and (N, sum K)."""
    return _DIVERGENCES(mean, logvar, logits, sizes, sums)  # type: ignore[no-any-return]


# --- joint latent ---------------------------------------------------------------------------------


def _views(params: Tensor, cont: int) -> LatentParams:
    return LatentParams(params[:, :cont], params[:, cont : 2 * cont], params[:, 2 * cont :])


def _batch_scale(rows: int) -> float:
    """The factor from a sum over the batch to its mean; the share of an empty batch is 0."""
    return 1 / max(rows, 1)


def _finished(partials: Tensor, rows: int, sums: str) -> Tensor:
    return column_sums(partials, _batch_scale(rows)) if sums == "means" else partials


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
    partials = latent_forward(
        _views(params, cont),
        sizes,
        LatentNoise(seed, normal, uniform),
        one_of(tau_tensor, tau),
        sample[:, :cont],
        sample[:, cont:],
        diverge=sums != "none",
    )
    return sample, _finished(partials, rows, sums)


def _joint_latent_fake(
    params: Tensor, cont: int, sizes: Sequence[int], *others: Any
) -> tuple[Tensor, Tensor]:
    prepare(params, sizes)
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
    latent_backward(
        _views(params, cont),
        sizes,
        None if grad_sample is None else LatentNoise(seed, normal),
        one_of(tau_tensor, tau),
        sample[:, cont:],
        None if grad_sample is None else grad_sample[:, :cont],
        None if grad_sample is None else grad_sample[:, cont:],
        *_upstream_of_partials(grad_sums, params.shape[0], sums),
        _views(grad, cont),
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
    partials = latent_forward(
        LatentParams(mean, logvar, logits), sizes, None, 1.0, None, None, diverge=True
    )
    return _finished(partials, mean.shape[0], sums)


def _divergences_fake(
    mean: Tensor, _logvar: Tensor, _logits: Tensor, sizes: Sequence[int], sums: str
) -> Tensor:
    prepare(mean, sizes)
    return _fake_sums(mean, mean.shape[1], sizes, sums)


def _divergences_save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *params, ctx.sizes, ctx.sums = inputs
    ctx.save_for_backward(*params)


def _divergences_backward(
    mean: Tensor,
    logvar: Tensor,
    logits: Tensor,
    grad_sums: Tensor,
    sizes: Sequence[int],
    sums: str,
) -> tuple[Tensor, Tensor, Tensor]:
    params = LatentParams(mean, logvar, logits)
    grads = LatentParams(*map(torch.empty_like, params))
    upstream, scale = _upstream_of_partials(grad_sums, mean.shape[0], sums)
    latent_backward(
        params, sizes, None, 1.0, None, None, None, upstream, scale, grads
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
    backward_fake=lambda *inputs: tuple(map(torch.empty_like, inputs[:3])),
    spread=lambda _ctx, gradients: (*gradients, None, None),
)
