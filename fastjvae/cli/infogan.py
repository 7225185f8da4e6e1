"""``fastjvae infogan``: training of the paper's comparison."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

from fastjvae.cli.train import SeedsFlag, Train
from fastjvae.data import DatasetName
from fastjvae.data.facts import FACTS
from fastjvae.training.infogan.settings import InfoGANConfig
from fastjvae.training.settings.recipes import OWN_IMAGES, recipe
from fastjvae.training.settings.run import RunConfig


@dataclass(frozen=True)
class InfoGANFlags(SeedsFlag, InfoGANConfig):
    """The settings of a run of InfoGAN, and the flag that makes several runs of them."""

    kind: ClassVar[type[RunConfig]] = InfoGANConfig


class InfoGAN(Train, name="infogan"):
    """Train InfoGAN, the paper's comparison, with the same networks; evaluate it, draw its figures.

    The generator becomes the decoder of the saved model and Q its encoder, so that evaluate,
    figures and export take the run as any other.

    To go on with a run that was stopped: fastjvae train --resume RUN [--steps STEPS]
    """

    @classmethod
    def flags(cls) -> type:
        return InfoGANFlags

    @classmethod
    def defaults(cls, dataset: DatasetName, recipe_name: str | None, is_named: bool) -> Any:
        shared = [field.name for field in dataclasses.fields(RunConfig)]
        theirs = recipe(dataset, "paper" if dataset in OWN_IMAGES else None)
        return InfoGANFlags(**{name: getattr(theirs, name) for name in shared})

    @classmethod
    def about(cls, dataset: DatasetName) -> str:
        return FACTS[dataset].description
