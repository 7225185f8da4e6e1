"""The terms of a loss, one by one: divergences, their penalty, the reconstruction."""

from torch import Tensor

from fastjvae.functional.backends import reference
from fastjvae.functional.backends.choice import use_triton
from fastjvae.functional.batch_parts import Part, enclosing_part, whole_reconstruction
from fastjvae.functional.checks import (
    ChannelReduction,
    check_categories,
    check_channel_reduction,
    check_gamma,
    check_gaussian,
    check_images,
    check_likelihood,
    check_weight,
)
from fastjvae.functional.gaussian import Gaussian


def kl_gaussian(mean: Tensor, logvar: Tensor) -> Tensor:
    """Batch mean of KL(N(mean, exp(logvar)) || N(0, 1)) of every unit: (N, Z) -> (Z,), nats."""
    check_gaussian(mean, logvar)
    if use_triton(mean):
        from fastjvae.functional.backends.triton.latent import divergences

        return divergences(mean, logvar, mean[:, :0], ())
    return reference.kl_gaussian(mean, logvar)


def kl_categorical(logits: Tensor) -> Tensor:
    """Batch mean of KL(softmax(logits) || uniform): (N, K) -> (), nats; between 0 and log K."""
    check_categories(logits)
    if use_triton(logits, logits.shape[1]):
        from fastjvae.functional.backends.triton.latent import divergences

        none = logits[:, :0]
        return divergences(none, none, logits, (logits.shape[1],))[0]
    return reference.kl_categorical(logits)


def capacity_loss(kl: Tensor, capacity: float | Tensor, gamma: float | Tensor) -> Tensor:
    """gamma |sum kl - capacity| in nats (paper eq. 8); ``kl`` of any shape is summed first.

    Plain PyTorch on every device; :func:`kl_capacity_loss` is the fused form from the parameters.
    """
    if not isinstance(capacity, Tensor):
        check_weight("the capacity", capacity)
    check_gamma(gamma, kl)
    return reference.capacity_loss(kl, capacity, gamma)


def reconstruction(
    logits: Tensor,
    target: Tensor,
    gaussian: Gaussian | None = None,
    channel_reduction: ChannelReduction = "mean",
    *,
    part: Part | None = None,
) -> Tensor:
    """The reconstruction of a model's likelihood, nats per image.

    :func:`bernoulli_reconstruction`, or :func:`gaussian_reconstruction` where ``gaussian`` is
    given; an objective asks its model for it, ``model.gaussian``.
    """
    check_images(logits, target)
    check_channel_reduction(channel_reduction)
    check_likelihood(gaussian, logits)
    part = part or enclosing_part()
    images = part.images if part else None
    if use_triton(logits, target=target):
        from fastjvae.functional.backends.triton import losses

        divisor = reference.divisor(logits, channel_reduction, images)
        if gaussian is None:
            share = losses.bernoulli_reconstruction(logits, target, divisor)
        else:
            share = losses.gaussian_reconstruction(logits, target, gaussian, divisor)
    else:
        share = reference.reconstruction(logits, target, gaussian, channel_reduction, images)
    return whole_reconstruction(part, share) if part else share


def gaussian_reconstruction(
    logits: Tensor,
    target: Tensor,
    log_scale: float | Tensor = 0.0,
    channel_reduction: ChannelReduction = "mean",
    *,
    value_range: tuple[float, float] = (0.0, 1.0),
    part: Part | None = None,
) -> Tensor:
    """Negative log density of the target's pixels under Gaussians of one scale, nats per image.

    A pixel's mean is ``low + (high - low) (1/2 + logit/4)``, and its share

        (target - mean)^2 / (2 scale^2) + log scale + log(2 pi) / 2.

    With ``log_scale = -log(2) / 2``, a scale of 0.7071, that is the squared error plus
    log(pi) / 2 a pixel; with 0, a scale of 1, half of it plus log(2 pi) / 2.

    It is a density and may be below 0.

    >>> import math
    >>> import torch
    >>> logits, target = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)  # means 0.5
    >>> loss = gaussian_reconstruction(logits, target, -math.log(2) / 2)
    >>> round(float(loss - 4 * math.log(math.pi) / 2), 4)  # 4 (1 - 0.5)^2
    1.0

    Args:
        logits: (N, C, H, W).
        target: the same shape; uint8 0..255, which stand for the value range, or floats in it.
        log_scale: logarithm of the standard deviation in the unit of the value range; a tensor of
            one number beside ``logits`` is differentiable.
        channel_reduction: see :func:`bernoulli_reconstruction`; only the sum is the whole density.
        value_range: low and high, the lowest and the highest value of a pixel.
        part: see :func:`bernoulli_reconstruction`.

    Returns:
        Scalar batch mean, float32 (float64 for float64 logits).

    Raises:
        ArgumentError: as for :func:`bernoulli_reconstruction`; the scale or the range cannot be.
    """
    gaussian = Gaussian(log_scale, *value_range)
    return reconstruction(logits, target, gaussian, channel_reduction, part=part)


def bernoulli_reconstruction(
    logits: Tensor,
    target: Tensor,
    channel_reduction: ChannelReduction = "mean",
    *,
    part: Part | None = None,
) -> Tensor:
    """Cross-entropy of the target's pixels under Bernoulli(sigmoid(logits)), nats per image.

    Args:
        logits: (N, C, H, W).
        target: the same shape; uint8 0..255, or floats 0..1.
        channel_reduction: the sum over pixels is averaged over channels ("mean", as the published
            code has it and its gammas are tuned to) or summed over them ("sum").
        part: the part of a batch that these images are; by default that of the enclosing
            :func:`part_of_batch`, if there is one.

    Returns:
        Scalar batch mean, float32 (float64 for float64 logits).

    Raises:
        ArgumentError: shapes differ, or the target has another integer dtype.
    """
    return reconstruction(logits, target, None, channel_reduction, part=part)
