"""Every setting of a training run of a JointVAE, and the model that is built from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastjvae.functional.weights import Seeded
from fastjvae.model import Encoder, JointVAE
from fastjvae.model.networks import initialise_he
from fastjvae.training.settings.fields import Bounds, from_mapping, only_heeded
from fastjvae.training.settings.objective import ObjectiveConfig
from fastjvae.training.settings.run import Rate, StepsOrNone

Initialisation = Literal["torch", "he"]


@dataclass(frozen=True)
class TrainConfig(ObjectiveConfig):
    """Everything that decides what a training run of a JointVAE computes, and where it goes."""

    # --- optimisation -----------------------------------------------------------------------------
    initialisation: Initialisation = "torch"
    """of the weights; he: normal ones in the encoder (He et al. 2015), with which its codes differ
    from image to image at the first step and no layer's ReLUs end"""
    start_from: str | None = None
    """a model whose weights training begins with, in the place of initialised ones: a run folder,
    or whatever else fastjvae or the published code has saved; a --warmup of some hundred steps
    keeps Adam's first ones from leading away from it"""
    lr: Rate = 5e-4
    """learning rate of Adam, per step"""
    warmup: StepsOrNone = 0
    """training steps in which the learning rates grow linearly from 0: without, the first hundred
    steps can end every ReLU of an encoder layer, above all at learning rates above the paper's, and
    its codes then tell no images apart"""
    accumulate: Annotated[int, Bounds(1, 10_000)] = 1
    """parts that the images of a step are taken in, one after the other, for less memory; the
    gradient stays that of the whole batch"""

    # --- computation ------------------------------------------------------------------------------
    compile: bool = False
    """torch.compile for encoder, decoder and losses; takes half a minute before the first step"""
    cuda_graph: bool = True
    """a GPU replays the whole step as one CUDA graph; this flag launches its kernels one by one"""
    timeout: Annotated[float, Bounds(above=0, most=10_000_000)] = 300.0
    """several processes: seconds to wait for one that does not answer"""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """Read the form of :meth:`to_dict`, of runs of before as well.

        A setting that is missing has its default, and so has one that the objective does not heed.

        Raises:
            ArgumentError: a setting is unknown, missing without a default, of another type or out
                of range.
        """
        return from_mapping(cls, only_heeded(cls, with_current_names(values)))


# Of settings, with the names that they have now.
FORMER_NAMES = {"discrete_capacity": "disc_measure"}


def with_current_names(values: dict[str, Any]) -> dict[str, Any]:
    """Settings as a run of before has them, under the names that they have now."""
    return {FORMER_NAMES.get(name, name): value for name, value in values.items()}


def build_model(config: TrainConfig, img_size: tuple[int, int, int]) -> JointVAE:
    """Build the model of a run; its initialisation depends on ``config.seed`` alone."""
    with Seeded(config.seed):
        model = JointVAE(img_size, config.spec, config.temperature)
        if config.initialisation == "he":
            assert isinstance(model.encoder, Encoder)
            initialise_he(model.encoder, model.spec)
        return model
