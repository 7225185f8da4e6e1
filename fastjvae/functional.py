"""The operations of JointVAE as functions; each call picks its backend.

A sampling function takes its noise in one of three ways: explicitly (``normal=``, ``uniform=``),
from a ``seed`` (a Philox key; the same numbers on every device and backend), or from ``generator``,
by default the device's own generator.

Shapes: N images, Z continuous units, categorical variables of sizes K_1..K_D
(:class:`fastjvae.latents.LatentSpec`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from fastjvae import reference
from fastjvae._numbers import is_integer, is_real
from fastjvae.errors import ArgumentError, BackendError
from fastjvae.latents import LatentSpec
from fastjvae.reference import JointLatent, category_imbalance

__all__ = [
    "JointLatent",
    "Noise",
    "backend",
    "bernoulli_reconstruction",
    "capacity_loss",
    "category_imbalance",
    "draw_seed",
    "gaussian_rsample",
    "gumbel_softmax",
    "joint_latent",
    "kl_categorical",
    "kl_gaussian",
    "latent_sample",
]

Backend = Literal["reference", "triton"]
ChannelReduction = Literal["mean", "sum"]


class Noise(NamedTuple):
    """Where the noise of a latent sample comes from; all empty means the device's own generator.

    ``normal`` (N, Z) and ``uniform`` (N, sum K) in [0, 1) stand in the order of the sample row;
    ``seed`` is a Python int or a (1,) int64 tensor on the device of the parameters.
    """

    normal: Tensor | None = None
    uniform: Tensor | None = None
    seed: int | Tensor | None = None
    generator: torch.Generator | None = None


# --- operations -----------------------------------------------------------------------------------


def gumbel_softmax(
    logits: Tensor,
    tau: float | Tensor,
    *,
    seed: int | Tensor | None = None,
    uniform: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Sample relaxed one-hot rows (paper section 3.4).

    Args:
        logits: (N, K) unnormalised log probabilities of one categorical variable.
        tau: temperature above 0; a float, or a scalar tensor on the same device.
        seed, uniform, generator: the noise; ``uniform`` is (N, K) in [0, 1).

    Returns:
        (N, K) rows that sum to 1, in the dtype of ``logits``.

    Raises:
        ArgumentError: the noise is given twice or has another shape or device; tau is not above 0.
    """
    _check_matrix("logits", logits)
    _check_tau(tau)
    noise = Noise(uniform=uniform, seed=seed, generator=generator)
    uniform = _uniform(logits, noise, logits.shape[1])
    _choose_backend(logits)
    return reference.gumbel_softmax(logits, tau, uniform)


def gaussian_rsample(
    mean: Tensor,
    logvar: Tensor,
    *,
    seed: int | Tensor | None = None,
    normal: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Sample z = mean + exp(logvar / 2) eps (paper section 3.3).

    Args:
        mean, logvar: (N, Z).
        seed, normal, generator: the noise; ``normal`` is (N, Z).

    Returns:
        (N, Z) in the dtype of ``mean``.

    Raises:
        ArgumentError: shapes differ, or the noise is given twice or has another shape or device.
    """
    _check_gaussian(mean, logvar)
    noise = Noise(normal=normal, seed=seed, generator=generator)
    normal = _normal(mean, noise, mean.shape[1])
    _choose_backend(mean)
    return reference.gaussian_rsample(mean, logvar, normal)


def kl_gaussian(mean: Tensor, logvar: Tensor) -> Tensor:
    """Batch mean of KL(N(mean, exp(logvar)) || N(0, 1)) of every unit: (N, Z) -> (Z,), nats."""
    _check_gaussian(mean, logvar)
    _choose_backend(mean)
    return reference.kl_gaussian(mean, logvar)


def kl_categorical(logits: Tensor) -> Tensor:
    """Batch mean of KL(softmax(logits) || uniform): (N, K) -> (), nats; between 0 and log K."""
    _check_matrix("logits", logits)
    _choose_backend(logits)
    return reference.kl_categorical(logits)


def capacity_loss(kl: Tensor, capacity: float | Tensor, gamma: float | Tensor) -> Tensor:
    """gamma |sum kl - capacity| in nats (paper eq. 8); ``kl`` of any shape is summed first."""
    _choose_backend(kl)
    return reference.capacity_loss(kl, capacity, gamma)


def bernoulli_reconstruction(
    logits: Tensor, target: Tensor, channel_reduction: ChannelReduction = "mean"
) -> Tensor:
    """Cross-entropy of the target's pixels under Bernoulli(sigmoid(logits)), nats per image.

    Args:
        logits: (N, C, H, W).
        target: the same shape; uint8 0..255, or floats 0..1.
        channel_reduction: the sum over pixels is averaged over channels ("mean", as the published
            code has it and its gammas are tuned to) or summed over them ("sum").

    Returns:
        Scalar batch mean, float32 (float64 for float64 logits).

    Raises:
        ArgumentError: shapes differ, or the target has another integer dtype.
    """
    if logits.shape != target.shape or logits.dim() != 4:
        raise ArgumentError(
            "logits and target must have one shape (N, C, H, W),"
            f" got {tuple(logits.shape)} and {tuple(target.shape)}"
        )
    if not (target.dtype == torch.uint8 or target.is_floating_point()):
        raise ArgumentError(
            f"target images must be uint8 (0..255) or floating point (0..1), got {target.dtype}"
        )
    check_channel_reduction(channel_reduction)
    _choose_backend(logits)
    return reference.bernoulli_reconstruction(logits, target, channel_reduction)


def joint_latent(
    params: Tensor,
    spec: LatentSpec | Mapping[str, Any],
    tau: float | Tensor,
    *,
    seed: int | Tensor | None = None,
    normal: Tensor | None = None,
    uniform: Tensor | None = None,
    generator: torch.Generator | None = None,
    training: bool = True,
) -> JointLatent:
    """Sample all latent variables and measure their divergences in one pass.

    Args:
        params: (N, P) rows ``[mean | logvar | logits_1 | ... | logits_D]``.
        spec: sizes of the latent variables, also as ``{'cont': int, 'disc': [int, ...]}``.
        tau: temperature above 0; a float, or a scalar tensor on the same device.
        seed, normal, uniform, generator: the noise; ``normal`` is (N, Z), ``uniform`` (N, sum K).
        training: False gives the evaluation sample (mean, one-hot argmax) and draws no noise.

    Returns:
        :class:`JointLatent`: sample (N, L) in the dtype of ``params``; kl_cont (Z,), kl_disc (D,)
        and category_mean (sum K,) in float32. All four are differentiable.

    Raises:
        ArgumentError: ``params`` does not fit ``spec``; the noise is incomplete, given twice or
            has another shape or device; tau is not above 0.
    """
    spec = LatentSpec.from_dict(spec)
    _check_params(params, spec)
    _choose_backend(params)
    if not training:
        sample = reference.evaluation_sample(params, spec)
        return JointLatent(sample, *reference.divergences(params, spec))
    _check_tau(tau)
    normal, uniform = _joint_noise(params, spec, Noise(normal, uniform, seed, generator))
    return reference.joint_latent(params, spec, tau, normal, uniform)


def latent_sample(
    params: Tensor,
    spec: LatentSpec | Mapping[str, Any],
    tau: float | Tensor,
    noise: Noise = Noise(),  # noqa: B008  a NamedTuple is immutable
    *,
    training: bool = True,
) -> Tensor:
    """Return the sample rows (N, L) of :func:`joint_latent` alone."""
    spec = LatentSpec.from_dict(spec)
    _check_params(params, spec)
    _choose_backend(params)
    if not training:
        return reference.evaluation_sample(params, spec)
    _check_tau(tau)
    return reference.latent_sample(params, spec, tau, *_joint_noise(params, spec, noise))


def draw_seed(device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Draw a Philox key, a (1,) int64 tensor on ``device``, without waiting for the device."""
    _check_generator(generator, device)
    return torch.randint(
        -(2**63), 2**63 - 1, (1,), dtype=torch.int64, device=device, generator=generator
    )


# --- backends -------------------------------------------------------------------------------------

_forced_backend: ContextVar[Backend | None] = ContextVar("fastjvae_backend", default=None)


@contextmanager
def backend(name: Backend) -> Iterator[None]:
    """Run every operation inside the block on one backend, "reference" or "triton".

    Without it, or the environment variable ``FASTJVAE_BACKEND``, the Triton kernels take CUDA and
    HIP tensors where they exist, and the reference everything else.

    >>> import torch
    >>> with backend("reference"):
    ...     kl_gaussian(torch.zeros(8, 3), torch.zeros(8, 3))
    tensor([0., 0., 0.])

    Raises:
        ArgumentError: there is no backend of this name.
        BackendError: an operation inside the block cannot run on it; the message says why.
    """
    token = _forced_backend.set(_checked_backend(name, "the backend"))
    try:
        yield
    finally:
        _forced_backend.reset(token)


def _choose_backend(tensor: Tensor) -> Backend:
    wanted = _forced_backend.get()
    if wanted is None and (variable := os.environ.get("FASTJVAE_BACKEND")):
        wanted = _checked_backend(variable, "FASTJVAE_BACKEND")
    if wanted == "reference":
        return "reference"
    obstacle = _triton_obstacle(tensor)
    if wanted == "triton" and obstacle:
        raise BackendError(f"the triton backend was asked for, but {obstacle}")
    return "reference" if obstacle else "triton"


def _checked_backend(name: str, source: str) -> Backend:
    if name not in get_args(Backend):
        raise ArgumentError(f"{source} must be 'reference' or 'triton', got {name!r}")
    return name  # type: ignore[return-value]


def _triton_obstacle(tensor: Tensor) -> str | None:
    """Why the kernels cannot take this tensor, or None where they can."""
    if tensor.device.type != "cuda":
        return f"its kernels need CUDA or HIP tensors and this one is on {tensor.device}"
    return "its kernels are not connected to these functions in this version"


# --- noise ----------------------------------------------------------------------------------------


def _joint_noise(params: Tensor, spec: LatentSpec, noise: Noise) -> tuple[Tensor, Tensor]:
    explicit = {"normal": noise.normal, "uniform": noise.uniform}
    widths = {"normal": spec.cont, "uniform": spec.num_categories}
    missing = [name for name in explicit if widths[name] and explicit[name] is None]
    if missing and any(tensor is not None for tensor in explicit.values()):
        raise ArgumentError(
            f"explicit noise must cover every latent variable, but {missing[0]} of shape"
            f" {(params.shape[0], widths[missing[0]])} is missing"
        )
    if noise.seed is not None:  # one tensor, so that both streams use one key
        noise = noise._replace(seed=_seed_tensor(noise.seed, params.device))
    return _normal(params, noise, spec.cont), _uniform(params, noise, spec.num_categories)


def _normal(like: Tensor, noise: Noise, columns: int) -> Tensor:
    rows, compute = like.shape[0], reference._compute_dtype(like)
    if noise.normal is not None:
        return _checked_noise("normal", noise.normal, noise, like, columns)
    if noise.seed is not None:
        return reference.philox_normal(_seed_of(noise, like), rows, columns)
    _check_generator(noise.generator, like.device)
    return torch.randn(rows, columns, device=like.device, dtype=compute, generator=noise.generator)


def _uniform(like: Tensor, noise: Noise, columns: int) -> Tensor:
    rows, compute = like.shape[0], reference._compute_dtype(like)
    if noise.uniform is not None:
        return _checked_noise("uniform", noise.uniform, noise, like, columns)
    if noise.seed is not None:
        seed = _seed_of(noise, like)
        return reference.philox_uniform(seed, rows, columns, reference.GUMBEL_STREAM)
    _check_generator(noise.generator, like.device)
    return torch.rand(rows, columns, device=like.device, dtype=compute, generator=noise.generator)


def _seed_of(noise: Noise, like: Tensor) -> Tensor:
    assert noise.seed is not None
    if noise.generator is not None:
        raise ArgumentError("noise comes from a seed or from a generator, got both")
    return _seed_tensor(noise.seed, like.device)


def _seed_tensor(seed: int | Tensor, device: torch.device) -> Tensor:
    if not isinstance(seed, Tensor):
        if not is_integer(seed) or not -(2**63) <= seed < 2**63:
            raise ArgumentError(f"a seed is a 64-bit integer, got {seed!r}")
        return torch.tensor([int(seed)], dtype=torch.int64, device=device)
    if seed.shape != (1,) or seed.dtype != torch.int64 or seed.device != device:
        raise ArgumentError(
            f"a seed tensor must be int64 of shape (1,) on {device},"
            f" got {seed.dtype} of shape {tuple(seed.shape)} on {seed.device}"
        )
    return seed


def _checked_noise(name: str, tensor: Tensor, noise: Noise, like: Tensor, columns: int) -> Tensor:
    if noise.seed is not None or noise.generator is not None:
        raise ArgumentError(
            f"noise is given as {name}= or drawn from a seed or generator, got both"
        )
    expected = (like.shape[0], columns)
    if tuple(tensor.shape) != expected or tensor.device != like.device:
        raise ArgumentError(
            f"{name} must have shape {expected} on {like.device},"
            f" got {tuple(tensor.shape)} on {tensor.device}"
        )
    return tensor


def _check_generator(generator: torch.Generator | None, device: torch.device) -> None:
    if generator is not None and generator.device.type != device.type:
        raise ArgumentError(
            f"the generator is on {generator.device} but the noise is needed on {device};"
            f" make one with torch.Generator('{device}')"
        )


# --- argument checks ------------------------------------------------------------------------------


def _check_matrix(name: str, tensor: Tensor) -> None:
    if tensor.dim() != 2 or not tensor.is_floating_point():
        raise ArgumentError(
            f"{name} must be a floating-point matrix (N, K),"
            f" got {tensor.dtype} of shape {tuple(tensor.shape)}"
        )


def _check_gaussian(mean: Tensor, logvar: Tensor) -> None:
    _check_matrix("mean", mean)
    if mean.shape != logvar.shape:
        raise ArgumentError(
            "mean and logvar must have one shape (N, Z),"
            f" got {tuple(mean.shape)} and {tuple(logvar.shape)}"
        )


def _check_params(params: Tensor, spec: LatentSpec) -> None:
    _check_matrix("params", params)
    if params.shape[1] != spec.num_params:
        raise ArgumentError(
            f"params must have {spec.num_params} columns for {spec.to_dict()},"
            f" got shape {tuple(params.shape)}"
        )


def _check_tau(tau: float | Tensor) -> None:
    if isinstance(tau, Tensor):  # its value would have to be read back
        return
    if not is_real(tau) or not tau > 0:
        raise ArgumentError(f"the temperature must be a number above 0, got {tau!r}")


def check_channel_reduction(name: str) -> None:
    """Raise ArgumentError unless ``name`` is one of :data:`ChannelReduction`."""
    if name not in get_args(ChannelReduction):
        raise ArgumentError(f"channel_reduction must be 'mean' or 'sum', got {name!r}")
