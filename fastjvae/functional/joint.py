"""All latent variables of a batch at once, and the loss that is made of them (paper eq. 8)."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from fastjvae.functional.backends import cpu, reference
from fastjvae.functional.backends.choice import use_cpu, use_triton
from fastjvae.functional.backends.reference import JointLatent
from fastjvae.functional.batch_parts import Part, enclosing_part, whole_loss, whole_sums
from fastjvae.functional.capacity import Capacity
from fastjvae.functional.checks import (
    ChannelReduction,
    DiscreteMeasure,
    check_channel_reduction,
    check_device,
    check_disc_measure,
    check_gamma,
    check_images,
    check_likelihood,
    check_params,
    check_step,
    check_tau,
)
from fastjvae.functional.gaussian import Gaussian
from fastjvae.functional.latents import LatentSpec
from fastjvae.functional.noise import Noise, noise_key, noise_tensors

# What becomes of the sums over the batch: means, sums of a few rows each, or nothing.
_Sums = Literal["means", "partials", "none"]


class LatentBlock(NamedTuple):
    """Sample rows, and sums over the batch that are not finished yet; see :func:`latent_block`."""

    sample: Tensor  # (N, L), dtype of the parameters
    sums: Tensor  # (R, Z + D + sum K) float32: added up over R and divided, the batch means
    divisor: int


class JointLoss(NamedTuple):
    """The result of :func:`joint_loss`, nats per image; ``loss`` alone carries gradients."""

    loss: Tensor  # (), divided by the pixels
    reconstruction: Tensor  # ()
    kl_cont: Tensor  # (Z,)
    kl_disc: Tensor  # (D,)
    category_mean: Tensor  # (sum K,)
    capacity_cont: Tensor  # (), C_z(t)
    capacity_disc: Tensor  # (), C_c(t)


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
    part: Part | None = None,
) -> JointLatent:
    """Sample all latent variables and measure their divergences in one pass.

    Args:
        params: (N, P) rows ``[mean | logvar | logits_1 | ... | logits_D]``.
        spec: sizes of the latent variables, also as ``{'cont': int, 'disc': [int, ...]}``.
        tau: temperature above 0; a float is a constant, to anneal it pass a scalar tensor on the
            same device.
        seed, normal, uniform, generator: the noise; ``normal`` is (N, Z), ``uniform`` (N, sum K).
        training: False gives the evaluation sample (mean, one-hot argmax) and draws no noise.
        part: the part of a batch that these rows are, see :func:`bernoulli_reconstruction`.

    Returns:
        :class:`JointLatent`: sample (N, L) in the dtype of ``params``; kl_cont (Z,), kl_disc (D,)
        and category_mean (sum K,) in float32. All four are differentiable.

    Raises:
        ArgumentError: ``params`` does not fit ``spec``; the noise is incomplete, given twice or
            has another shape or device; tau is not above 0.
    """
    spec = LatentSpec.from_dict(spec)
    noise = Noise(normal, uniform, seed, generator)
    block = _block(params, spec, tau, noise, training, sums="means")
    means = block.sums.sum(dim=0) / block.divisor
    if part := part or enclosing_part():
        sums = whole_sums(part, means * params.shape[0], part.processes)
        means = sums / part.images
    return JointLatent(block.sample, *spec.split_means(means))


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
    return _block(params, spec, tau, noise, training, sums="none").sample


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
    return _block(params, spec, tau, noise, training, sums="partials")


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
    gaussian: Gaussian | None = None,
    part: Part | None = None,
) -> JointLoss:
    """(reconstruction + gamma_z |KL_z - C_z(t)| + gamma_c |KL_c - C_c(t)|) / (H W) (paper eq. 8).

    Args:
        logits, target: (N, C, H, W) as for :func:`bernoulli_reconstruction`.
        block: of the same batch, from :func:`latent_block`.
        spec: sizes of the latent variables.
        step: training step t, counted from 1; an int or an integer tensor of one element on the
            device. While a CUDA graph is being captured it must be a tensor.
        cont, disc: the capacities; None leaves the variables free. C_c(t) never exceeds sum log K.
        channel_reduction: see :func:`bernoulli_reconstruction`.
        disc_measure: "kl", or "information" for what of KL_c tells images apart, see
            :class:`fastjvae.JointObjective`.
        gaussian: the likelihood of :func:`gaussian_reconstruction`; None is Bernoulli's.
        part: the part of a batch that these images are, see :func:`bernoulli_reconstruction`.

    Raises:
        ArgumentError: shapes, dtypes or devices do not fit.
    """
    check_images(logits, target)
    check_channel_reduction(channel_reduction)
    check_disc_measure(disc_measure)
    check_step(step, logits)
    check_device("the sums of the block", block.sums, logits)
    check_likelihood(gaussian, logits)
    for capacity in (cont, disc):
        if capacity is not None:  # torch.compile of 2.8 does not know filter(None, ...)
            check_gamma(capacity.gamma, logits)
    pixels = reference.pixels(logits)
    part = part or enclosing_part()
    images = part.images if part else None
    sums, divisor = block.sums, block.divisor
    if part:
        local = sums.sum(dim=0) * (len(block.sample) / divisor)
        sums, divisor = whole_sums(part, local)[None], part.images
    constants: dict[str, Any] = {
        "target": target,
        "cont_gamma": cont.gamma if cont else None,
        "disc_gamma": disc.gamma if disc else None,
    }
    if use_triton(logits, **constants):
        from fastjvae.functional.backends.triton import losses

        loss, report = losses.joint_loss(
            logits,
            target,
            sums,
            spec.disc,
            step,
            cont,
            disc,
            rows=divisor,
            divisor=reference.divisor(logits, channel_reduction, images),
            pixels=pixels,
            information=disc_measure == "information",
            gaussian=gaussian,
        )
        means, reconstruction = report.means, report.reconstruction
        capacity_cont, capacity_disc = report.capacity_cont, report.capacity_disc
    else:
        means = sums.sum(dim=0) / divisor
        backend = cpu if use_cpu(logits, **constants) else reference
        loss, reconstruction, capacity_cont, capacity_disc = backend.joint_loss(
            logits,
            target,
            means,
            reference.LossTerms(
                step, spec, cont, disc, channel_reduction, disc_measure, images, gaussian
            ),
        )
    reconstruction = reconstruction.detach()
    if part:
        loss, reconstruction = whole_loss(part, loss, reconstruction, pixels)
    vectors = spec.split_means(means.detach())
    return JointLoss(loss, reconstruction, *vectors, capacity_cont, capacity_disc)


def kl_capacity_loss(
    params: Tensor,
    spec: LatentSpec | Mapping[str, Any],
    step: int | Tensor,
    *,
    cont: Capacity | None = None,
    disc: Capacity | None = None,
    disc_measure: DiscreteMeasure = "kl",
    part: Part | None = None,
) -> JointLoss:
    """gamma_z |KL_z - C_z(t)| + gamma_c |KL_c - C_c(t)| of parameter rows (N, P), nats per image.

    The penalties of :func:`joint_loss` without a reconstruction: ``loss`` is not divided, and
    ``reconstruction`` is 0.
    """
    spec = LatentSpec.from_dict(spec)
    check_params(params, spec)
    none = params.new_zeros(0, 1, 1, 1)
    block = LatentBlock(params[:, :0], *_divergences(params, spec, sums="partials"))
    return joint_loss(
        none, none, block, spec, step, cont=cont, disc=disc, disc_measure=disc_measure, part=part
    )


def divergence_sums(params: Tensor, spec: LatentSpec | Mapping[str, Any]) -> Tensor:
    """Sums over the images of parameter rows (N, P), for :func:`part_of_batch`: (Z + D + sum K,).

    Their order is [KL of units | KL of variables | category probabilities].
    """
    spec = LatentSpec.from_dict(spec)
    check_params(params, spec)
    sums, divisor = _divergences(params, spec, sums="partials")
    return sums.sum(dim=0) * (params.shape[0] / divisor)


def _block(
    params: Tensor, spec: LatentSpec, tau: float | Tensor, noise: Noise, training: bool, sums: _Sums
) -> LatentBlock:
    """Samples and sums on the backend that takes them."""
    check_params(params, spec)
    if not training:
        sample = reference.evaluation_sample(params, spec)
        if sums == "none":
            return LatentBlock(sample, params.new_empty(0, 0), 1)
        return LatentBlock(sample, *_divergences(params, spec, sums))
    check_tau(tau, params)
    constants = {"tau": tau, "normal": noise.normal, "uniform": noise.uniform}
    if use_triton(params, max(spec.disc, default=0), **constants):
        from fastjvae.functional.backends.triton import latent

        key = noise_key(params, noise, spec.cont, spec.num_categories)
        sample, found = latent.joint_latent(params, spec, tau, *key, sums=sums)
        return LatentBlock(sample, *_rows(found, params, sums))
    tensors = noise_tensors(params, noise, spec.cont, spec.num_categories)
    if sums == "none":
        sample = reference.latent_sample(params, spec, tau, *tensors)
        return LatentBlock(sample, params.new_empty(0, 0), 1)
    if use_cpu(params, **constants):
        sample, means = cpu.joint_latent(params, spec, tau, *tensors)
    else:
        sample, *vectors = reference.joint_latent(params, spec, tau, *tensors)
        means = torch.cat(vectors)
    return LatentBlock(sample, means[None], 1)


def _divergences(params: Tensor, spec: LatentSpec, sums: _Sums) -> tuple[Tensor, int]:
    """Sums and divisor of a :class:`LatentBlock`."""
    if use_triton(params, max(spec.disc, default=0)):
        from fastjvae.functional.backends.triton import latent

        logits = params[:, 2 * spec.cont :]
        mean, logvar = params[:, spec.mean], params[:, spec.logvar]
        found = latent.divergences(mean, logvar, logits, spec.disc, sums=sums)
        return _rows(found, params, sums)
    return torch.cat(reference.divergences(params, spec))[None], 1


def _rows(found: Tensor, params: Tensor, sums: _Sums) -> tuple[Tensor, int]:
    """The kernels' means or partial sums as sums and divisor of a :class:`LatentBlock`."""
    return (found[None], 1) if sums == "means" else (found, max(len(params), 1))
