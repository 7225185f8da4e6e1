"""The settings of a training run of InfoGAN."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastjvae.functional.latents import LatentSpec
from fastjvae.training.settings.fields import Bounds
from fastjvae.training.settings.run import Rate, RunConfig, Weight


@dataclass(frozen=True)
class InfoGANConfig(RunConfig):
    """Everything that decides what a training run of InfoGAN computes, and where it goes."""

    noise_units: Annotated[int, Bounds(0, 100_000)] = 0
    """further Gaussian inputs of the generator that no code has to be read from: incompressible
    noise; the saved model has them as continuous units behind the others, with a KL of 0"""
    disc_information: Weight = 1.0
    """weight of the mutual information of the discrete codes, no unit"""
    cont_information: Weight = 0.1
    """weight of the mutual information of the continuous codes, no unit"""
    generator_lr: Rate = 2e-4
    """learning rate of the generator's Adam, per step; with the 1e-3 of the InfoGAN paper, whose
    networks have batch normalisation, these make one image of all codes"""
    discriminator_lr: Rate = 2e-4
    """learning rate of the discriminator's Adam and of the code reader's, per step"""

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.codes

    @property
    def codes(self) -> LatentSpec:
        """The latent variables that are read from images."""
        return LatentSpec(self.cont, self.disc)

    @property
    def spec(self) -> LatentSpec:
        """Codes and noise, the generator's inputs."""
        return LatentSpec(self.cont + self.noise_units, self.disc)

    @property
    def name(self) -> str:
        return f"infogan-{self.dataset}"

    def to_dict(self) -> dict[str, Any]:
        return {"method": "infogan", **super().to_dict()}
