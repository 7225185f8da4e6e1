"""The operations in plain PyTorch: the specification, the CPU path and the float64 oracle.

Arithmetic is float32 whatever the input's dtype, float64 where the input is float64. Sections of
the paper (arXiv:1804.00104) are named where a formula comes from one; constants of the published
code are marked as such.

Shapes: N images, Z continuous units, D categorical variables of sizes K_1..K_D, P = 2 Z + sum K,
L = Z + sum K (:class:`fastjvae.LatentSpec`).
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fastjvae.functional.capacity import Capacity
from fastjvae.functional.checks import ChannelReduction, DiscreteMeasure
from fastjvae.functional.gaussian import Gaussian, gaussian_mean, unit_interval
from fastjvae.functional.latents import LatentSpec, largest_kl

# The published code adds 1e-12 inside both logarithms of the Gumbel transform. As a lower bound it
# gives the same float32 numbers wherever u > 0 and keeps u = 0 finite (gumbel = -3.32), and unlike
# the sum it cannot push a float64 u beyond 1.
GUMBEL_FLOOR = 1e-12


class JointLatent(NamedTuple):
    """The result of :func:`joint_latent`; every tensor is differentiable."""

    sample: Tensor  # (N, L), dtype of the parameters
    kl_cont: Tensor  # (Z,), nats
    kl_disc: Tensor  # (D,), nats
    category_mean: Tensor  # (sum K,), batch mean of the category probabilities


# --- sampling (paper section 3.3 and 3.4) ---------------------------------------------------------


def gaussian_rsample(mean: Tensor, logvar: Tensor, normal: Tensor) -> Tensor:
    """z = mean + exp(logvar / 2) * normal; shapes (N, Z), result in the dtype of ``mean``."""
    compute = compute_dtype(mean)
    std = (0.5 * logvar.to(compute)).exp() + _not_finite(logvar)
    return (mean.to(compute) + std * normal.to(compute)).to(mean.dtype)


def gumbel_softmax(logits: Tensor, tau: float | Tensor, uniform: Tensor) -> Tensor:
    """softmax((log_softmax(logits) + gumbel(uniform)) / tau); shapes (N, K)."""
    compute = compute_dtype(logits)
    log_alpha = F.log_softmax(logits.to(compute), dim=-1)
    y = F.softmax((log_alpha + gumbel(uniform.to(compute))) / tau, dim=-1)
    return (y + _not_finite(logits)).to(logits.dtype)


def gumbel(uniform: Tensor) -> Tensor:
    """Map uniform numbers in [0, 1) to Gumbel(0, 1); finite at 0 and at 1."""
    exponential = -uniform.clamp_min(GUMBEL_FLOOR).log()
    return -exponential.clamp_min(GUMBEL_FLOOR).log()


def one_hot_argmax(logits: Tensor) -> Tensor:
    """One-hot of the largest logit, the first one on a tie; a NaN or infinite logit gives NaN."""
    hot = F.one_hot(logits.argmax(dim=-1), logits.shape[-1]).to(logits.dtype)
    return hot + _not_finite(logits)


def latent_sample(
    params: Tensor, spec: LatentSpec, tau: float | Tensor, normal: Tensor, uniform: Tensor
) -> Tensor:
    """Parameter rows (N, P) and noise (N, Z), (N, sum K) -> relaxed sample rows (N, L)."""
    z = gaussian_rsample(params[:, spec.mean], params[:, spec.logvar], normal)
    relaxed = [
        gumbel_softmax(params[:, logits], tau, uniform[:, variable])
        for logits, variable in zip(spec.logits, spec.variables, strict=True)
    ]
    return torch.cat([z, *relaxed], dim=1)


def evaluation_sample(params: Tensor, spec: LatentSpec) -> Tensor:
    """Parameter rows (N, P) -> sample rows (N, L) of the means and one-hot argmax categories."""
    hot = [one_hot_argmax(params[:, logits]) for logits in spec.logits]
    return torch.cat([params[:, spec.mean], *hot], dim=1)


# --- divergences (paper section 3.2, eq. 2-8) -----------------------------------------------------


def kl_gaussian(mean: Tensor, logvar: Tensor) -> Tensor:
    """Batch mean of KL(N(mean, exp(logvar)) || N(0, 1)) per unit: (N, Z) -> (Z,), nats."""
    compute = compute_dtype(mean)
    mean, logvar = mean.to(compute), logvar.to(compute)
    # expm1(v) - v instead of exp(v) - 1 - v: near logvar = 0, where unused units live, the latter
    # loses every digit in float32.
    return _batch_mean(0.5 * (mean.square() + logvar.expm1() - logvar))


def kl_categorical(logits: Tensor) -> Tensor:
    """Batch mean of KL(softmax(logits) || uniform) = log K - H(p): (N, K) -> (), nats."""
    log_p = F.log_softmax(logits.to(compute_dtype(logits)), dim=-1)
    return _batch_mean(math.log(logits.shape[-1]) + (log_p.exp() * log_p).sum(dim=-1))


def category_imbalance(category_mean: Tensor, spec: LatentSpec) -> Tensor:
    """KL(batch-mean category probabilities || uniform) per variable: (sum K,) -> (D,), nats."""
    means = [category_mean[variable] for variable in spec.variables]
    tiny = torch.finfo(category_mean.dtype).tiny  # 0 log 0 = 0, also in the gradient
    divergences = [math.log(len(p)) + (p * p.clamp_min(tiny).log()).sum() for p in means]
    return torch.stack(divergences) if divergences else category_mean.new_zeros(0)


def information(kl_disc: Tensor, category_mean: Tensor, spec: LatentSpec) -> Tensor:
    """The part of KL_c (D,) that tells the images of a batch apart, nats per variable.

    It is their mutual information H(category mean) - mean H(p), KL_c less the imbalance.
    """
    return kl_disc - category_imbalance(category_mean, spec)


def joint_latent(
    params: Tensor, spec: LatentSpec, tau: float | Tensor, normal: Tensor, uniform: Tensor
) -> JointLatent:
    """Sample rows, per-unit KL and category means of parameter rows (N, P)."""
    return JointLatent(
        latent_sample(params, spec, tau, normal, uniform), *divergences(params, spec)
    )


def divergences(params: Tensor, spec: LatentSpec) -> tuple[Tensor, Tensor, Tensor]:
    """Per-unit KL (Z,), KL per categorical variable (D,) and category means (sum K,)."""
    compute = compute_dtype(params)
    kl_cont = kl_gaussian(params[:, spec.mean], params[:, spec.logvar])
    empty = params.new_zeros(0, dtype=compute)
    kl_disc = [kl_categorical(params[:, logits]) for logits in spec.logits]
    means = [_batch_mean(params[:, logits].to(compute).softmax(dim=-1)) for logits in spec.logits]
    return (
        kl_cont,
        torch.stack(kl_disc) if kl_disc else empty,
        torch.cat(means) if means else empty,
    )


# --- losses (paper eq. 8; published code) ---------------------------------------------------------


def capacity_loss(kl: Tensor, capacity: float | Tensor, gamma: float | Tensor) -> Tensor:
    """gamma |sum kl - capacity|, nats; the subgradient where they are equal is 0."""
    return gamma * (kl.to(compute_dtype(kl)).sum() - capacity).abs()


def bernoulli_reconstruction(
    logits: Tensor, target: Tensor, channel_reduction: str = "mean", images: int | None = None
) -> Tensor:
    """Cross-entropy of target pixels under Bernoulli(sigmoid(logits)), nats per image.

    Summed over pixels, batch mean, and mean over channels as the published code has it or, with
    ``channel_reduction="sum"``, their sum. Targets are uint8 0..255 or floats 0..1, (N, C, H, W).
    ``images`` replaces N where these are a part of a batch.
    """
    compute = compute_dtype(logits)
    total = F.binary_cross_entropy_with_logits(
        logits.to(compute), unit_interval(target, compute), reduction="sum"
    )
    return total / divisor(logits, channel_reduction, images)


def gaussian_reconstruction(
    logits: Tensor,
    target: Tensor,
    gaussian: Gaussian,
    channel_reduction: str = "mean",
    images: int | None = None,
) -> Tensor:
    """Negative log density of target pixels under :class:`Gaussian`, nats per image.

    (target - mean)^2 / (2 scale^2) + log scale + log(2 pi) / 2 of every pixel, reduced as by
    :func:`bernoulli_reconstruction`. Targets are uint8 0..255 or floats between the ends.
    """
    compute = compute_dtype(logits)
    error = gaussian_mean(logits.to(compute)) - gaussian.unit_interval(target, compute)
    if isinstance(gaussian.log_scale, Tensor):
        gaussian = dataclasses.replace(gaussian, log_scale=gaussian.log_scale.to(compute))
    squares = (error * gaussian.sharpness).square()
    total = 0.5 * squares.sum() + logits.numel() * gaussian.constant
    return total / divisor(logits, channel_reduction, images)


def reconstruction(
    logits: Tensor,
    target: Tensor,
    gaussian: Gaussian | None,
    channel_reduction: str = "mean",
    images: int | None = None,
) -> Tensor:
    """Nats per image of a Gaussian, or of a Bernoulli where there is none."""
    if gaussian is None:
        return bernoulli_reconstruction(logits, target, channel_reduction, images)
    return gaussian_reconstruction(logits, target, gaussian, channel_reduction, images)


def divisor(logits: Tensor, channel_reduction: str, images: int | None = None) -> int:
    """The divisor that turns a sum over the elements of (N, C, H, W) into nats per image."""
    rows, channels = logits.shape[:2]
    return (images or max(rows, 1)) * (channels if channel_reduction == "mean" else 1)


def pixels(images: Tensor) -> int:
    """H * W of (N, C, H, W)."""
    return images.shape[2] * images.shape[3]


class LossTerms(NamedTuple):
    """The terms of :func:`joint_loss`, at one training step."""

    step: int | Tensor
    spec: LatentSpec
    cont: Capacity | None
    disc: Capacity | None
    channel_reduction: ChannelReduction = "mean"
    disc_measure: DiscreteMeasure = "kl"
    images: int | None = None  # of the whole batch, where it is in parts
    gaussian: Gaussian | None = None  # of the pixels; None: Bernoulli


def joint_loss(
    logits: Tensor, target: Tensor, means: Tensor, terms: LossTerms
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss divided by the pixels, reconstruction, C_z(t) and C_c(t); see functional.joint_loss.

    ``means`` are the batch means (Z + D + sum K,) of :func:`divergences`.
    """
    step, spec, cont, disc, channel_reduction, disc_measure, images, gaussian = terms
    kl_cont, kl_disc, category_mean = spec.split_means(means)
    total = error = reconstruction(logits, target, gaussian, channel_reduction, images)
    zero = torch.zeros_like(error)
    device, dtype = zero.device, zero.dtype
    capacity_cont = capacity_disc = zero
    if cont:
        capacity_cont = cont.at(step, device=device, dtype=dtype)
        total = total + capacity_loss(kl_cont, capacity_cont, cont.gamma)
    if disc:
        capacity_disc = disc.at(step, device=device, dtype=dtype, maximum=largest_kl(spec.disc))
        measure = kl_disc
        if disc_measure == "information":
            measure = information(kl_disc, category_mean, spec)
        total = total + capacity_loss(measure, capacity_disc, disc.gamma)
    return total / pixels(logits), error, capacity_cont, capacity_disc


# --- beside the loss ------------------------------------------------------------------------------


def record_row(
    rows: Tensor,
    following: Tensor,
    values: Sequence[Tensor],
    factors: Sequence[float],
    counts: Tensor | None,
) -> None:
    """Write values times factors into a row of (R, columns), and count; see functional."""
    scaled = [v.to(rows.dtype) * f for v, f in zip(values, factors, strict=True)]
    row = torch.cat([value.reshape(-1) for value in scaled])
    rows.index_copy_(0, following, row[None])
    following.add_(1).remainder_(len(rows))
    if counts is not None:
        counts.add_(1)


def random_affine(images: Tensor, uniform: Tensor, largest: Tensor) -> Tensor:
    """Images (N, C, H, W) moved by (N, 6) numbers in [0, 1); see functional."""
    images = unit_interval(images, largest.dtype)
    if not len(images):  # of which PyTorch makes no grid
        return images
    turn, shear, width, height, right, down = ((2 * uniform.to(images.dtype) - 1) * largest).unbind(
        dim=1
    )
    cos, sin = turn.cos(), turn.sin()
    # What a pixel of the result takes its value from, in units of half a side.
    across = [(1 + width) * cos, (1 + width) * (shear * cos - sin), 2 * right]
    along = [(1 + height) * sin, (1 + height) * (cos + shear * sin), 2 * down]
    matrix = torch.stack([torch.stack(across, dim=1), torch.stack(along, dim=1)], dim=1)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def gather_images(images: Tensor, index: Tensor, dtype: torch.dtype) -> Tensor:
    """Images (M, C, H, W) by an index (N,), as :func:`unit_interval` gives them."""
    return unit_interval(images.index_select(0, index), dtype)


def compute_dtype(tensor: Tensor) -> torch.dtype:
    """float64 for float64, float32 for every other dtype."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _not_finite(values: Tensor) -> Tensor:
    """NaN where a value is NaN or infinite, 0 elsewhere: what exp and argmax would hide."""
    values = values.detach()
    return values - values


def _batch_mean(values: Tensor) -> Tensor:
    """Mean over the first dimension; 0 for an empty batch, whose share of any global mean is 0."""
    return values.sum(dim=0) / max(values.shape[0], 1)
