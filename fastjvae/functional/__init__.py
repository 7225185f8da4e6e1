"""The operations of JointVAE as functions; each call picks its backend.

A sampling function takes its noise in one of three ways: explicitly (``normal=``, ``uniform=``),
from a ``seed`` (a Philox key; the same numbers on every device and backend), or from ``generator``,
by default the device's own generator.

Shapes: N images, Z continuous units, categorical variables of sizes K_1..K_D
(:class:`fastjvae.LatentSpec`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastjvae.functional.backends import cpu as by_hand
from fastjvae.functional.backends import reference
from fastjvae.functional.backends.choice import backend, use_by_hand, use_kernels
from fastjvae.functional.backends.reference import JointLatent, category_imbalance
from fastjvae.functional.batch_parts import (
    current_part,
    part_of_batch,
    whole_loss,
    whole_reconstruction,
    whole_rows,
    whole_sums,
)
from fastjvae.functional.capacity import Capacity
from fastjvae.functional.checks import (
    ChannelReduction,
    DiscreteMeasure,
    check_categories,
    check_channel_reduction,
    check_device,
    check_disc_measure,
    check_gamma,
    check_gaussian,
    check_images,
    check_params,
    check_step,
    check_tau,
    check_weight,
)
from fastjvae.functional.latents import LatentSpec
from fastjvae.functional.noise import Noise, draw_seed, noise_key, noise_tensors

__all__ = [
    "Capacity",
    "JointLatent",
    "JointLoss",
    "LatentBlock",
    "LatentSpec",
    "Noise",
    "backend",
    "batch_rows",
    "batch_share",
    "bernoulli_reconstruction",
    "capacity_loss",
    "category_imbalance",
    "divergence_sums",
    "draw_seed",
    "gaussian_rsample",
    "gumbel_softmax",
    "joined_rows",
    "joint_latent",
    "joint_loss",
    "kl_capacity_loss",
    "kl_categorical",
    "kl_gaussian",
    "latent_block",
    "latent_sample",
    "part_of_batch",
]


class LatentBlock(NamedTuple):
    """Sample rows, and sums over the batch that are not finished yet; see :func:`latent_block`."""

    sample: Tensor  # (N, L), dtype of the parameters
    sums: Tensor  # (R, Z + D + sum K) float32: their sum over R is `rows` times the batch means
    rows: int


class JointLoss(NamedTuple):
    """What :func:`joint_loss` returns, nats per image; ``loss`` alone carries gradients."""

    loss: Tensor  # (), divided by the pixels
    reconstruction: Tensor  # ()
    kl_cont: Tensor  # (Z,)
    kl_disc: Tensor  # (D,)
    category_mean: Tensor  # (sum K,)
    capacity_cont: Tensor  # (), C_z(t)
    capacity_disc: Tensor  # (), C_c(t)


# --- sampling -------------------------------------------------------------------------------------


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
        tau: temperature above 0; a float is a constant, to anneal it pass a scalar tensor on the
            same device.
        seed, uniform, generator: the noise; ``uniform`` is (N, K) in [0, 1).

    Returns:
        (N, K) rows that sum to 1, in the dtype of ``logits``.

    Raises:
        ArgumentError: the noise is given twice or has another shape or device; tau is not above 0.
    """
    check_categories(logits)
    check_tau(tau, logits)
    noise = Noise(uniform=uniform, seed=seed, generator=generator)
    if use_kernels(logits, logits.shape[1], tau=tau, uniform=uniform):
        key, _, uniform = noise_key(logits, noise, 0, logits.shape[1])
        return _kernels().gumbel_softmax(logits, tau, key, uniform)  # type: ignore[no-any-return]
    _, uniform = noise_tensors(logits, noise, 0, logits.shape[1])
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
    check_gaussian(mean, logvar)
    noise = Noise(normal=normal, seed=seed, generator=generator)
    if use_kernels(mean, normal=normal):
        key, normal, _ = noise_key(mean, noise, mean.shape[1], 0)
        return _kernels().gaussian_rsample(mean, logvar, key, normal)  # type: ignore[no-any-return]
    normal, _ = noise_tensors(mean, noise, mean.shape[1], 0)
    return reference.gaussian_rsample(mean, logvar, normal)


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
    check_params(params, spec)
    if not training:
        return reference.evaluation_sample(params, spec)
    check_tau(tau, params)
    if _latent_kernels(params, spec, tau, noise):
        key = noise_key(params, noise, spec.cont, spec.num_categories)
        return _kernels().joint_latent(params, spec, tau, *key, sums="none")[0]  # type: ignore[no-any-return]
    normal, uniform = noise_tensors(params, noise, spec.cont, spec.num_categories)
    return reference.latent_sample(params, spec, tau, normal, uniform)


# --- divergences and losses -----------------------------------------------------------------------


def kl_gaussian(mean: Tensor, logvar: Tensor) -> Tensor:
    """Batch mean of KL(N(mean, exp(logvar)) || N(0, 1)) of every unit: (N, Z) -> (Z,), nats."""
    check_gaussian(mean, logvar)
    if use_kernels(mean):
        return _kernels().divergences(mean, logvar, mean[:, :0], ())  # type: ignore[no-any-return]
    return reference.kl_gaussian(mean, logvar)


def kl_categorical(logits: Tensor) -> Tensor:
    """Batch mean of KL(softmax(logits) || uniform): (N, K) -> (), nats; between 0 and log K."""
    check_categories(logits)
    if use_kernels(logits, logits.shape[1]):
        none = logits[:, :0]
        return _kernels().divergences(none, none, logits, (logits.shape[1],))[0]  # type: ignore[no-any-return]
    return reference.kl_categorical(logits)


def capacity_loss(kl: Tensor, capacity: float | Tensor, gamma: float | Tensor) -> Tensor:
    """gamma |sum kl - capacity| in nats (paper eq. 8); ``kl`` of any shape is summed first.

    Plain PyTorch on every device; :func:`kl_capacity_loss` is the fused form from the parameters.
    """
    if not isinstance(capacity, Tensor):
        check_weight("the capacity", capacity)
    check_gamma(gamma, kl)
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
    check_images(logits, target)
    check_channel_reduction(channel_reduction)
    part = current_part()
    images = part.images if part else None
    if use_kernels(logits, target=target):
        divisor = reference.divisor(logits, channel_reduction, images)
        share = _kernels().bernoulli_reconstruction(logits, target, divisor)
    else:
        share = reference.bernoulli_reconstruction(logits, target, channel_reduction, images)
    return whole_reconstruction(part, share) if part else share


# --- all of it in one pass ------------------------------------------------------------------------


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
        tau: temperature above 0; a float is a constant, to anneal it pass a scalar tensor on the
            same device.
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
    noise = Noise(normal, uniform, seed, generator)
    check_params(params, spec)
    if training:
        check_tau(tau, params)
    if _latent_kernels(params, spec, tau, noise):
        if training:
            key = noise_key(params, noise, spec.cont, spec.num_categories)
            sample, means = _kernels().joint_latent(params, spec, tau, *key)
        else:
            sample = reference.evaluation_sample(params, spec)
            means = _kernels().divergences(*_parts(params, spec), spec.disc)
    elif training:
        tensors = noise_tensors(params, noise, spec.cont, spec.num_categories)
        sample, *parts = reference.joint_latent(params, spec, tau, *tensors)
        means = torch.cat(parts)
    else:
        sample = reference.evaluation_sample(params, spec)
        means = torch.cat(reference.divergences(params, spec))
    if part := current_part():
        sums = whole_sums(part, means * params.shape[0], part.processes)
        means = sums / part.images
    return JointLatent(sample, *_split(means, spec))


def latent_block(
    params: Tensor,
    spec: LatentSpec,
    tau: float | Tensor,
    noise: Noise = Noise(),  # noqa: B008  a NamedTuple is immutable
    *,
    training: bool = True,
) -> LatentBlock:
    """:func:`joint_latent` with the sums over the batch left to :func:`joint_loss`.

    That saves a launch on a GPU.
    """
    check_params(params, spec)
    if not training:
        sample = reference.evaluation_sample(params, spec)
        return _whole(LatentBlock(sample, *_divergence_sums(params, spec)))
    check_tau(tau, params)
    if _latent_kernels(params, spec, tau, noise):
        key = noise_key(params, noise, spec.cont, spec.num_categories)
        sample, sums = _kernels().joint_latent(params, spec, tau, *key, sums="partials")
        return _whole(LatentBlock(sample, sums, max(params.shape[0], 1)))
    tensors = noise_tensors(params, noise, spec.cont, spec.num_categories)
    if use_by_hand(params, tau=tau, normal=noise.normal, uniform=noise.uniform):
        sample, means = by_hand.joint_latent(params, spec, tau, *tensors)
    else:
        sample, *parts = reference.joint_latent(params, spec, tau, *tensors)
        means = torch.cat(parts)
    return _whole(LatentBlock(sample, means[None], 1))


def joint_loss(
    logits: Tensor,
    target: Tensor,
    block: LatentBlock,
    spec: LatentSpec,
    step: int | Tensor,
    *,
    cont: Capacity | None,
    disc: Capacity | None,
    channel_reduction: ChannelReduction = "mean",
    disc_measure: DiscreteMeasure = "kl",
) -> JointLoss:
    """(reconstruction + gamma_z |KL_z - C_z(t)| + gamma_c |KL_c - C_c(t)|) / (H W) (paper eq. 8).

    Args:
        logits, target: (N, C, H, W) as for :func:`bernoulli_reconstruction`.
        block: of the same batch, from :func:`latent_block`.
        spec: sizes of the latent variables.
        step: training step t, counted from 1; an int or an integer tensor of one element on the
            device. While a CUDA graph is being captured it must be a tensor.
        cont, disc: the capacities; None leaves the part free. C_c(t) never exceeds sum log K.
        channel_reduction: see :func:`bernoulli_reconstruction`.
        disc_measure: "kl", or "information" for the part of KL_c that tells images apart, see
            :class:`fastjvae.JointObjective`.

    Raises:
        ArgumentError: shapes, dtypes or devices do not fit.
    """
    check_images(logits, target)
    check_channel_reduction(channel_reduction)
    check_disc_measure(disc_measure)
    check_step(step, logits)
    check_device("the sums of the block", block.sums, logits)
    for capacity in (cont, disc):
        if capacity is not None:  # torch.compile of 2.6 does not know filter(None, ...)
            check_gamma(capacity.gamma, logits)
    pixels = reference.pixels(logits)
    part = current_part()
    images = part.images if part else None
    constants: dict[str, Any] = {
        "target": target,
        "cont_gamma": cont.gamma if cont else None,
        "disc_gamma": disc.gamma if disc else None,
    }
    if use_kernels(logits, **constants):
        loss, report = _kernels().joint_objective(
            logits,
            target,
            block.sums,
            spec.disc,
            step,
            cont,
            disc,
            rows=block.rows,
            divisor=reference.divisor(logits, channel_reduction, images),
            pixels=pixels,
            information=disc_measure == "information",
        )
        means, reconstruction = report.means, report.reconstruction
        capacity_cont, capacity_disc = report.capacity_cont, report.capacity_disc
    else:
        means = block.sums.sum(dim=0) / block.rows
        compute = by_hand.joint_loss if use_by_hand(logits, **constants) else reference.joint_loss
        loss, reconstruction, capacity_cont, capacity_disc = compute(
            logits, target, means, step, spec, cont, disc, channel_reduction, disc_measure, images
        )
    reconstruction = reconstruction.detach()
    if part:
        loss, reconstruction = whole_loss(part, loss, reconstruction, pixels)
    parts = _split(means.detach(), spec)
    return JointLoss(loss, reconstruction, *parts, capacity_cont, capacity_disc)


def kl_capacity_loss(
    params: Tensor,
    spec: LatentSpec | Mapping[str, Any],
    step: int | Tensor,
    *,
    cont: Capacity | None = None,
    disc: Capacity | None = None,
    disc_measure: DiscreteMeasure = "kl",
) -> JointLoss:
    """gamma_z |KL_z - C_z(t)| + gamma_c |KL_c - C_c(t)| of parameter rows (N, P), nats per image.

    The penalties of :func:`joint_loss` without a reconstruction: ``loss`` is not divided, and
    ``reconstruction`` is 0.
    """
    spec = LatentSpec.from_dict(spec)
    check_params(params, spec)
    none = params.new_zeros(0, 1, 1, 1)
    block = _whole(LatentBlock(params[:0], *_divergence_sums(params, spec)))
    return joint_loss(
        none, none, block, spec, step, cont=cont, disc=disc, disc_measure=disc_measure
    )


def divergence_sums(params: Tensor, spec: LatentSpec | Mapping[str, Any]) -> Tensor:
    """Sums over the images of parameter rows (N, P), in the order [KL of units | KL of variables |
    category probabilities]: (Z + D + sum K,), for :func:`fastjvae.functional.part_of_batch`.
    """
    spec = LatentSpec.from_dict(spec)
    check_params(params, spec)
    sums, rows = _divergence_sums(params, spec)
    return sums.sum(dim=0) * (params.shape[0] / rows)


def batch_rows(*rows: Tensor) -> tuple[Tensor, ...]:
    """Parameter rows (N, P), sample rows (N, L) and others of the whole batch, for what compares
    images.

    They are as given, but for float32 (float64 for float64). Inside
    :func:`part_of_batch` they are those of all parts, in one order on every process, and a loss of
    them that every part computes has the whole batch's value and gradient.
    """
    joined = joined_rows(*rows)
    if part := current_part():
        joined = whole_rows(part, joined)
    return torch.split(joined, [each.shape[1] for each in rows], dim=1)


def joined_rows(*rows: Tensor) -> Tensor:
    """Rows (N, ...) side by side as :func:`part_of_batch` takes them, float32 or float64."""
    compute = reference._compute_dtype(rows[0])
    return torch.cat([each.to(compute) for each in rows], dim=1)


def batch_share(rows: int) -> float:
    """What a loss that every part computes of the whole batch is multiplied by in a part of
    ``rows`` images, so that the gradients of all parts add up to the whole batch's once.
    """
    part = current_part()
    return rows * part.processes / part.images if part else 1.0


# --- internals ------------------------------------------------------------------------------------


def _kernels() -> ModuleType:
    from fastjvae.functional.backends.triton import (
        operations as autograd,  # imports triton, which not everybody has
    )

    return autograd


def _latent_kernels(params: Tensor, spec: LatentSpec, tau: float | Tensor, noise: Noise) -> bool:
    largest = max(spec.disc, default=0)
    return use_kernels(params, largest, tau=tau, normal=noise.normal, uniform=noise.uniform)


def _divergence_sums(params: Tensor, spec: LatentSpec) -> tuple[Tensor, int]:
    """The sums and rows of a :class:`LatentBlock`."""
    if use_kernels(params, max(spec.disc, default=0)):
        sums = _kernels().divergences(*_parts(params, spec), spec.disc, sums="partials")
        return sums, max(params.shape[0], 1)
    return torch.cat(reference.divergences(params, spec))[None], 1


def _whole(block: LatentBlock) -> LatentBlock:
    """The block of the whole batch where its rows are a part of one."""
    part = current_part()
    if part is None:
        return block
    local = block.sums.sum(dim=0) * (block.sample.shape[0] / block.rows)
    return LatentBlock(block.sample, whole_sums(part, local)[None], part.images)


def _parts(params: Tensor, spec: LatentSpec) -> tuple[Tensor, Tensor, Tensor]:
    """(N, Z) means, (N, Z) log variances and (N, sum K) logits of parameter rows."""
    return params[:, spec.mean], params[:, spec.logvar], params[:, 2 * spec.cont :]


def _split(means: Tensor, spec: LatentSpec) -> tuple[Tensor, Tensor, Tensor]:
    """(Z + D + sum K,) batch means: KL of units, KL of variables, category probabilities."""
    kl_cont, kl_disc, category_mean = torch.split(
        means, [spec.cont, len(spec.disc), spec.num_categories]
    )
    return kl_cont, kl_disc, category_mean
