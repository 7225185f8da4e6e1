"""``torch.autograd.Function`` wrappers of the Triton kernels; imported only where they run.

A backward pass is one launch. Nothing here waits for the device, and nothing but the inputs, the
sample of the categories and the seed is kept for the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from fastjvae.latents import LatentSpec
from fastjvae_kernels import launch
from fastjvae_kernels.launch import LatentNoise, LatentParts


def joint_latent(
    params: Tensor, spec: LatentSpec, tau: float | Tensor, noise: LatentNoise
) -> tuple[Tensor, Tensor]:
    """Sample rows (N, L) and the batch means (Z + D + sum K,) of divergences and probabilities."""
    return _JointLatent.apply(params, spec, tau, noise)  # type: ignore[no-any-return]


def divergences(mean: Tensor, logvar: Tensor, logits: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Batch means (Z + D + sum K,) of divergences and probabilities; (N, Z), (N, Z), (N, sum K)."""
    return _Divergences.apply(mean, logvar, logits, sizes)  # type: ignore[no-any-return]


def gumbel_softmax(logits: Tensor, tau: float | Tensor, noise: LatentNoise) -> Tensor:
    """(N, K) logits -> (N, K) relaxed one-hot rows."""
    return _GumbelSoftmax.apply(logits, tau, noise)  # type: ignore[no-any-return]


def gaussian_rsample(mean: Tensor, logvar: Tensor, noise: LatentNoise) -> Tensor:
    """(N, Z) mean and logvar -> (N, Z) samples."""
    return _GaussianRsample.apply(mean, logvar, noise)  # type: ignore[no-any-return]


def bernoulli_reconstruction(logits: Tensor, target: Tensor, scale: float) -> Tensor:
    """``scale`` times the cross-entropy summed over every element."""
    return _Reconstruction.apply(logits, target, scale)  # type: ignore[no-any-return]


def _parts(params: Tensor, spec: LatentSpec) -> LatentParts:
    return LatentParts(params[:, spec.mean], params[:, spec.logvar], params[:, 2 * spec.cont :])


class _JointLatent(Function):
    @staticmethod
    def forward(
        ctx: Any, params: Tensor, spec: LatentSpec, tau: float | Tensor, noise: LatentNoise
    ) -> tuple[Tensor, Tensor]:
        sample = params.new_empty(params.shape[0], spec.sample_dim)
        z, y = sample[:, : spec.cont], sample[:, spec.cont :]
        partials = launch.latent_forward(
            _parts(params, spec), spec.disc, noise, tau, z, y, diverge=True
        )
        ctx.save_for_backward(params, sample, noise.seed, noise.normal)
        ctx.spec, ctx.tau = spec, tau
        return sample, launch.column_sums(partials, 1 / max(params.shape[0], 1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_sample: Tensor, grad_means: Tensor) -> tuple[Any, ...]:
        params, sample, seed, normal = ctx.saved_tensors
        spec: LatentSpec = ctx.spec
        grad = torch.empty_like(params)
        launch.latent_backward(
            _parts(params, spec),
            spec.disc,
            LatentNoise(seed, normal),
            ctx.tau,
            sample[:, spec.cont :],
            grad_sample[:, : spec.cont],
            grad_sample[:, spec.cont :],
            grad_means,
            1 / max(params.shape[0], 1),
            _parts(grad, spec),
        )
        return grad, None, None, None


class _Divergences(Function):
    @staticmethod
    def forward(
        ctx: Any, mean: Tensor, logvar: Tensor, logits: Tensor, sizes: tuple[int, ...]
    ) -> Tensor:
        partials = launch.latent_forward(
            LatentParts(mean, logvar, logits), sizes, None, 1.0, None, None, diverge=True
        )
        ctx.save_for_backward(mean, logvar, logits)
        ctx.sizes = sizes
        return launch.column_sums(partials, 1 / max(mean.shape[0], 1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_means: Tensor) -> tuple[Any, ...]:
        parts = LatentParts(*ctx.saved_tensors)
        grads = LatentParts(*(torch.empty_like(part) for part in parts))
        launch.latent_backward(
            parts, ctx.sizes, None, 1.0, None, None, None, grad_means,
            1 / max(parts.mean.shape[0], 1), grads,
        )  # fmt: skip
        return (*grads, None)


class _GumbelSoftmax(Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, tau: float | Tensor, noise: LatentNoise) -> Tensor:
        y = torch.empty_like(logits)
        none = logits[:, :0]
        launch.latent_forward(
            LatentParts(none, none, logits), (logits.shape[1],), noise, tau, none, y, diverge=False
        )
        ctx.save_for_backward(logits, y, noise.seed)
        ctx.tau = tau
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Any, ...]:
        logits, y, seed = ctx.saved_tensors
        grad = torch.empty_like(logits)
        none = logits[:, :0]
        launch.latent_backward(
            LatentParts(none, none, logits), (logits.shape[1],), LatentNoise(seed), ctx.tau, y,
            none, grad_y, None, 1.0, LatentParts(none, none, grad),
        )  # fmt: skip
        return grad, None, None


class _GaussianRsample(Function):
    @staticmethod
    def forward(ctx: Any, mean: Tensor, logvar: Tensor, noise: LatentNoise) -> Tensor:
        z = torch.empty_like(mean)
        launch.latent_forward(
            LatentParts(mean, logvar, mean[:, :0]), (), noise, 1.0, z, None, diverge=False
        )
        ctx.save_for_backward(mean, logvar, noise.seed, noise.normal)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_z: Tensor) -> tuple[Any, ...]:
        mean, logvar, seed, normal = ctx.saved_tensors
        grad_mean, grad_logvar = torch.empty_like(mean), torch.empty_like(logvar)
        none = mean[:, :0]
        launch.latent_backward(
            LatentParts(mean, logvar, none), (), LatentNoise(seed, normal), 1.0, None, grad_z,
            none, None, 1.0, LatentParts(grad_mean, grad_logvar, none),
        )  # fmt: skip
        return grad_mean, grad_logvar, None


class _Reconstruction(Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, scale: float) -> Tensor:
        partials = launch.reconstruction_forward(logits, target)
        ctx.save_for_backward(logits, target)
        ctx.scale = scale
        return launch.column_sums(partials[:, None], scale).reshape(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        logits, target = ctx.saved_tensors
        return launch.reconstruction_backward(logits, target, upstream, ctx.scale), None, None
