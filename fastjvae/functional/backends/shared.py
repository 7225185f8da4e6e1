"""Shared information in plain PyTorch: the specification, the CPU path and the float64 oracle.

It belongs to :mod:`fastjvae.functional.backends.reference`; shapes and dtypes are as there.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fastjvae.functional.backends import reference
from fastjvae.functional.capacity import Capacity
from fastjvae.functional.latents import LatentSpec, largest_kl

_FLOOR = 1e-8  # of a joint probability; float32 does not tell smaller ones from 0 beside 1


class SharedInformation(NamedTuple):
    """Two terms of the loss, nats, differentiable."""

    information: Tensor  # I(c; c')
    imbalance: Tensor  # KL(category mean || uniform)


class SharedTerms(NamedTuple):
    """How :func:`shared_loss` weighs its terms, at one training step."""

    step: int | Tensor
    disc: Capacity
    group: int
    balance: float
    pixels: int


def shared_loss(
    loss: Tensor, params: Tensor, spec: LatentSpec, further: Tensor | None, terms: SharedTerms
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Loss, C_c(t), information, imbalance and the further head's information, all ()."""
    information, imbalance = shared_information(params, spec, terms.group)
    capacity = terms.disc.at(
        terms.step,
        device=information.device,
        dtype=information.dtype,
        maximum=largest_kl(spec.disc),
    )
    gamma = terms.disc.gamma
    penalty = reference.capacity_loss(information, capacity, gamma)
    penalty = penalty + gamma * terms.balance * imbalance
    overclustered = torch.zeros_like(information)
    if further is not None:
        found = shared_information(further, LatentSpec(0, (further.shape[1],)), terms.group)
        overclustered = found.information
        missing = math.log(further.shape[1]) - overclustered
        penalty = penalty + gamma * (missing + terms.balance * found.imbalance)
    return loss + penalty / terms.pixels, capacity, information, imbalance, overclustered


def shared_information(params: Tensor, spec: LatentSpec, group: int) -> SharedInformation:
    """Sums over the variables of parameter rows (N, P), see :mod:`fastjvae.objectives.shared`."""
    compute = params.to(reference.compute_dtype(params))
    found = [shared_by(_probabilities(compute[:, logits]), group) for logits in spec.logits]
    zero = compute.new_zeros(())
    return SharedInformation(
        sum((each.information for each in found), start=zero),
        sum((each.imbalance for each in found), start=zero),
    )


def shared_by(p: Tensor, group: int) -> SharedInformation:
    """Shared information of one variable's probabilities (..., N, K), for each leading index."""
    categories = p.shape[-1]
    joint = joint_of(p, group).clamp_min(_FLOOR)
    log_mean = joint.sum(dim=-2).log()
    own = joint.log() - log_mean[..., :, None] - log_mean[..., None, :]
    information = (joint * own).sum(dim=(-2, -1))
    imbalance = math.log(categories) + (joint.sum(dim=-2) * log_mean).sum(dim=-1)
    return SharedInformation(information, imbalance)


def joint_of(p: Tensor, group: int) -> Tensor:
    """P(c, c') (..., K, K) of two different images of a group, of probabilities (..., N, K)."""
    images, categories = p.shape[-2:]
    totals = p.view(*p.shape[:-2], images // group, group, categories).sum(dim=-2)
    with torch.autocast(p.device.type, enabled=False):
        # Pairs of an image with itself do not count.
        pairs = totals.mT @ totals - p.mT @ p
    return pairs / (max(images, 1) * (group - 1))


def _probabilities(logits: Tensor) -> Tensor:
    """softmax; NaN where a logit is not finite, which exp would hide."""
    hidden = logits.detach()
    return logits.softmax(dim=1) + (hidden - hidden)
