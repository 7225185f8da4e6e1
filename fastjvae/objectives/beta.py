"""The objectives of beta-VAE (Higgins et al. 2017) and CC-beta-VAE (Burgess et al. 2018)."""

from dataclasses import dataclass

from torch import Tensor

from fastjvae import functional
from fastjvae.functional import Noise
from fastjvae.functional.capacity import Capacity
from fastjvae.functional.checks import (
    ChannelReduction,
    check_channel_reduction,
    check_weight,
)
from fastjvae.objectives.base import LatentModel, LossOutput, bound_terms, loss_output


@dataclass(frozen=True)
class BetaObjective:
    """reconstruction + beta (KL_z + KL_c): beta-VAE; with ``beta=1`` the plain VAE."""

    beta: float = 4.0
    channel_reduction: ChannelReduction = "mean"

    def __post_init__(self) -> None:
        check_channel_reduction(self.channel_reduction)
        check_weight("beta", self.beta)

    def loss(self, model: LatentModel, x: Tensor, step: int | Tensor, noise: Noise) -> LossOutput:
        terms = bound_terms(model, x, noise, self.channel_reduction)
        return loss_output(model, terms.reconstruction + self.beta * terms.kl, terms)


@dataclass(frozen=True)
class CCBetaObjective:
    """reconstruction + gamma |KL_z + KL_c - C(t)|: one capacity for all latent variables."""

    capacity: Capacity
    channel_reduction: ChannelReduction = "mean"

    def __post_init__(self) -> None:
        check_channel_reduction(self.channel_reduction)

    def loss(self, model: LatentModel, x: Tensor, step: int | Tensor, noise: Noise) -> LossOutput:
        terms = bound_terms(model, x, noise, self.channel_reduction)
        like = terms.reconstruction
        capacity = self.capacity.at(step, device=like.device, dtype=like.dtype)
        penalty = functional.capacity_loss(terms.kl, capacity, self.capacity.gamma)
        return loss_output(
            model, terms.reconstruction + penalty, terms, {"capacity_total": capacity}
        )
