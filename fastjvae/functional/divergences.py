"""Divergences of the latent variables, what of them is information, and their penalty."""

from __future__ import annotations

from torch import Tensor

from fastjvae.functional.backends import reference
from fastjvae.functional.backends.choice import use_triton
from fastjvae.functional.backends.reference import category_imbalance, information
from fastjvae.functional.checks import check_categories, check_gamma, check_gaussian, check_weight

__all__ = ["capacity_loss", "category_imbalance", "information", "kl_categorical", "kl_gaussian"]


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
