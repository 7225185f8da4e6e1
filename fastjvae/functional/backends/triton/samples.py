"""Samples of one variable: Gumbel-softmax and the Gaussian reparametrization."""

from typing import Any

import torch
from torch import Tensor

from fastjvae.functional.backends.triton.operation import (
    Operation,
    one_of,
    prepare,
    tensor_and_float,
)
from fastjvae_kernels.latent_launch import (
    LatentNoise,
    LatentParams,
    latent_backward,
    latent_forward,
)


def gumbel_softmax(
    logits: Tensor, tau: float | Tensor, seed: Tensor | None, uniform: Tensor | None = None
) -> Tensor:
    """(N, K) logits -> (N, K) relaxed one-hot rows."""
    return _GUMBEL_SOFTMAX(  # type: ignore[no-any-return]
        logits, *tensor_and_float(tau), seed, uniform
    )


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
    latent_forward(
        LatentParams(none, none, logits), (logits.shape[1],), noise, one_of(tau_tensor, tau),
        none, y, diverge=False,
    )  # fmt: skip
    return y


def _gumbel_softmax_fake(logits: Tensor, *_: Any) -> Tensor:
    prepare(logits, (logits.shape[1],))
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
    latent_backward(
        LatentParams(none, none, y), (y.shape[1],), LatentNoise(), one_of(tau_tensor, tau), y,
        none, grad_y, None, 1.0, LatentParams(none, none, grad),
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


def gaussian_rsample(
    mean: Tensor, logvar: Tensor, seed: Tensor | None, normal: Tensor | None = None
) -> Tensor:
    """(N, Z) mean and logvar -> (N, Z) samples."""
    return _GAUSSIAN_RSAMPLE(mean, logvar, seed, normal)  # type: ignore[no-any-return]


def _gaussian_rsample_forward(
    mean: Tensor, logvar: Tensor, seed: Tensor | None, normal: Tensor | None
) -> Tensor:
    z = torch.empty_like(mean)
    latent_forward(
        LatentParams(mean, logvar, mean[:, :0]), (), LatentNoise(seed, normal), 1.0, z, None,
        diverge=False,
    )  # fmt: skip
    return z


def _gaussian_rsample_fake(mean: Tensor, *_: Any) -> Tensor:
    prepare(mean, ())
    return torch.empty_like(mean)


def _gaussian_rsample_save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _gaussian_rsample_backward(
    mean: Tensor, logvar: Tensor, seed: Tensor | None, normal: Tensor | None, grad_z: Tensor
) -> tuple[Tensor, Tensor]:
    grad_mean, grad_logvar = torch.empty_like(mean), torch.empty_like(logvar)
    none = mean[:, :0]
    latent_backward(
        LatentParams(mean, logvar, none), (), LatentNoise(seed, normal), 1.0, None, grad_z, none,
        None, 1.0, LatentParams(grad_mean, grad_logvar, none),
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
