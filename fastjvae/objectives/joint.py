"""The objective of JointVAE (paper eq. 8)."""

from dataclasses import dataclass

from torch import Tensor

from fastjvae import functional
from fastjvae.functional import Noise
from fastjvae.functional.capacity import Capacity
from fastjvae.functional.checks import (
    ChannelReduction,
    DiscreteMeasure,
    check_channel_reduction,
    check_disc_measure,
    check_weight,
)
from fastjvae.functional.latents import LatentSpec
from fastjvae.objectives.base import LatentModel, LossOutput, needed
from fastjvae.objectives.drawn import with_drawn_information


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
            tells images apart, H(category mean) - mean H(p), estimated on the batch, whose N images
            give up to (K - 1) / (2 N) nats too little.
        drawn_gamma: weight of :func:`fastjvae.objectives.drawn_information`, which is then added:
            gamma (sum log K - I), in ``extra`` as ``drawn_information``. The decoder then has to
            show what the discrete variables tell. A step takes about twice the time; 0 leaves it
            out.

    A model with continuous units needs ``cont``, one with discrete variables ``disc``; the other
    capacity is not used.
    """

    cont: Capacity | None = None
    disc: Capacity | None = None
    channel_reduction: ChannelReduction = "mean"
    disc_measure: DiscreteMeasure = "kl"
    drawn_gamma: float = 0.0

    def __post_init__(self) -> None:
        check_channel_reduction(self.channel_reduction)
        check_disc_measure(self.disc_measure)
        check_weight("drawn_gamma", self.drawn_gamma)

    def loss(self, model: LatentModel, x: Tensor, step: int | Tensor, noise: Noise) -> LossOutput:
        spec = model.spec
        cont = needed(self.cont, spec.cont, "cont", f"{spec.cont} continuous units")
        disc = needed(self.disc, len(spec.disc), "disc", f"discrete variables {list(spec.disc)}")
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
            gaussian=model.gaussian,
        )
        loss = LossOutput(*terms, extra={})
        return with_drawn_information(loss, model, block.sample, step, self.drawn_gamma)


def paper_mnist(spec: LatentSpec) -> JointObjective:
    """The paper's setting for MNIST (appendix C): both capacities 0 -> 5 nats in 25,000 steps."""
    capacity = Capacity(0.0, 5.0, 25_000, 30.0)
    return JointObjective(
        cont=capacity if spec.cont else None, disc=capacity if spec.disc else None
    )
