"""Samples of one latent variable: Gumbel-softmax and the Gaussian reparametrization."""

import torch
from torch import Tensor

from fastjvae.functional.backends import reference
from fastjvae.functional.backends.choice import use_triton
from fastjvae.functional.checks import check_categories, check_gaussian, check_tau
from fastjvae.functional.noise import Noise, noise_key, noise_tensors


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
    if use_triton(logits, logits.shape[1], tau=tau, uniform=uniform):
        from fastjvae.functional.backends.triton import samples

        key, _, uniform = noise_key(logits, noise, 0, logits.shape[1])
        return samples.gumbel_softmax(logits, tau, key, uniform)
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
    if use_triton(mean, normal=normal):
        from fastjvae.functional.backends.triton import samples

        key, normal, _ = noise_key(mean, noise, mean.shape[1], 0)
        return samples.gaussian_rsample(mean, logvar, key, normal)
    normal, _ = noise_tensors(mean, noise, mean.shape[1], 0)
    return reference.gaussian_rsample(mean, logvar, normal)
