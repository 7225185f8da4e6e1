"""Training objectives behind one interface: ``loss(model, x, step, noise) -> LossOutput``.

JointVAE (paper eq. 8) and the two objectives that share its terms: beta-VAE (Higgins et al. 2017)
and CC-beta-VAE (Burgess et al. 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from fastjvae import functional
from fastjvae.checks import (
    ChannelReduction,
    DiscreteMeasure,
    check_channel_reduction,
    check_disc_measure,
)
from fastjvae.errors import ArgumentError
from fastjvae.functional import JointLatent, Noise
from fastjvae.latents import LatentSpec
from fastjvae.schedules import Capacity

if TYPE_CHECKING:
    from fastjvae.model import JointVAE


class LossOutput(NamedTuple):
    """The loss of one batch and its parts.

    ``loss`` alone carries gradients. The other numbers are reported: detached, undivided, in nats
    per image. An objective of one's own is built from :mod:`fastjvae.functional`, whose results
    are differentiable.
    """

    loss: Tensor  # (), to call backward on: nats per image divided by the H * W pixels
    reconstruction: Tensor  # ()
    kl_cont: Tensor  # (Z,), batch mean per continuous unit
    kl_disc: Tensor  # (D,), batch mean per categorical variable
    category_mean: Tensor  # (sum K,), batch mean of the category probabilities
    capacity_cont: Tensor  # (), C_z(t); 0 where the objective has none
    capacity_disc: Tensor  # (), C_c(t); 0 where the objective has none
    extra: dict[str, Tensor]  # an objective's own scalars


class Objective(Protocol):
    """What the model and the trainer ask of an objective."""

    def loss(self, model: JointVAE, x: Tensor, step: int | Tensor, noise: Noise) -> LossOutput:
        """Return the loss of images ``x`` at training step ``step``."""
        ...


def call_if_offered(objective: Objective, method: str, *arguments: Any) -> Any:
    """Call what an objective may but need not offer; None where it does not."""
    function = getattr(objective, method, None)
    return None if function is None else function(*arguments)


@dataclass(frozen=True)
class JointObjective:
    """reconstruction + gamma_z |KL_z - C_z(t)| + gamma_c |KL_c - C_c(t)| (paper eq. 8).

    Args:
        cont: capacity of all continuous units together.
        disc: capacity of all categorical variables together; C_c(t) never exceeds sum log K, the
            largest KL that they can have.
        channel_reduction: see :func:`fastjvae.functional.bernoulli_reconstruction`.
        disc_measure: what ``disc`` bounds. "kl" is the paper's KL_c = log K - H(p), which is large
            also when every image falls into one category; "information" is that part of it which
            tells images apart, H(category mean) - mean H(p), estimated on the batch.

    A model with continuous units needs ``cont``, one with discrete variables ``disc``; the capacity
    of a part that the model does not have is not used.
    """

    cont: Capacity | None = None
    disc: Capacity | None = None
    channel_reduction: ChannelReduction = "mean"
    disc_measure: DiscreteMeasure = "kl"

    def __post_init__(self) -> None:
        check_channel_reduction(self.channel_reduction)
        check_disc_measure(self.disc_measure)

    def loss(self, model: JointVAE, x: Tensor, step: int | Tensor, noise: Noise) -> LossOutput:
        spec = model.spec
        cont = _needed(self.cont, spec.cont, "cont", f"{spec.cont} continuous units")
        disc = _needed(self.disc, len(spec.disc), "disc", f"discrete variables {list(spec.disc)}")
        block = functional.latent_block(
            model.encode_params(x), spec, model.temperature, noise, training=model.training
        )
        terms = functional.joint_loss(
            model.decode_logits(block.sample),
            x,
            block,
            spec,
            step,
            cont=cont,
            disc=disc,
            channel_reduction=self.channel_reduction,
            disc_measure=self.disc_measure,
        )
        return LossOutput(*terms, extra={})


@dataclass(frozen=True)
class BetaObjective:
    """reconstruction + beta (KL_z + KL_c): beta-VAE; with ``beta=1`` the plain VAE."""

    beta: float = 4.0
    channel_reduction: ChannelReduction = "mean"

    def __post_init__(self) -> None:
        check_channel_reduction(self.channel_reduction)
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise ArgumentError(f"beta must be a finite number of at least 0, got {self.beta!r}")

    def loss(self, model: JointVAE, x: Tensor, step: int | Tensor, noise: Noise) -> LossOutput:
        reconstruction, latent = _elbo_terms(model, x, noise, self.channel_reduction)
        total = reconstruction + self.beta * _total_kl(latent)
        return _output(model, total, reconstruction, latent)


@dataclass(frozen=True)
class CCBetaObjective:
    """reconstruction + gamma |KL_z + KL_c - C(t)|: one capacity for all latent variables."""

    capacity: Capacity
    channel_reduction: ChannelReduction = "mean"

    def __post_init__(self) -> None:
        check_channel_reduction(self.channel_reduction)

    def loss(self, model: JointVAE, x: Tensor, step: int | Tensor, noise: Noise) -> LossOutput:
        reconstruction, latent = _elbo_terms(model, x, noise, self.channel_reduction)
        capacity = self.capacity.at(step, device=reconstruction.device, dtype=reconstruction.dtype)
        penalty = functional.capacity_loss(_total_kl(latent), capacity, self.capacity.gamma)
        total = reconstruction + penalty
        return _output(model, total, reconstruction, latent, extra={"capacity_total": capacity})


def _elbo_terms(
    model: JointVAE, x: Tensor, noise: Noise, channel_reduction: ChannelReduction
) -> tuple[Tensor, JointLatent]:
    """Encode, sample and decode ``x``: its reconstruction loss and the latent block."""
    latent = functional.joint_latent(
        model.encode_params(x),
        model.spec,
        model.temperature,
        seed=noise.seed,
        normal=noise.normal,
        uniform=noise.uniform,
        generator=noise.generator,
        training=model.training,
    )
    logits = model.decode_logits(latent.sample)
    return functional.bernoulli_reconstruction(logits, x, channel_reduction), latent


def _total_kl(latent: JointLatent) -> Tensor:
    return latent.kl_cont.sum() + latent.kl_disc.sum()


def _needed(capacity: Capacity | None, size: int, name: str, part: str) -> Capacity | None:
    if size and capacity is None:
        raise ArgumentError(
            f"the model has {part} but the objective has no {name}=Capacity(lo, hi, iters, gamma);"
            f" gamma=0.0 leaves them free"
        )
    return capacity if size else None


def _output(
    model: JointVAE,
    total: Tensor,
    reconstruction: Tensor,
    latent: JointLatent,
    extra: dict[str, Tensor] | None = None,
) -> LossOutput:
    """The output of an objective without capacities of the two parts."""
    zero = torch.zeros_like(reconstruction)
    return LossOutput(
        total / model.num_pixels,
        reconstruction.detach(),
        latent.kl_cont.detach(),
        latent.kl_disc.detach(),
        latent.category_mean.detach(),
        capacity_cont=zero,
        capacity_disc=zero,
        extra={name: tensor.detach() for name, tensor in (extra or {}).items()},
    )


def paper_mnist(spec: LatentSpec) -> JointObjective:
    """The paper's setting for MNIST (appendix C): both capacities 0 -> 5 nats in 25,000 steps."""
    capacity = Capacity(0.0, 5.0, 25_000, 30.0)
    return JointObjective(
        cont=capacity if spec.cont else None, disc=capacity if spec.disc else None
    )
