"""Every setting of a training run of a JointVAE, and the model that is built from them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Any, Literal

from tyro.conf import Suppress, arg

from fastjvae.errors import ArgumentError
from fastjvae.functional.checks import check_value_range
from fastjvae.functional.weights import Seeded
from fastjvae.model import Encoder, JointVAE
from fastjvae.model.chain import Networks
from fastjvae.model.likelihood import Likelihood, Scale
from fastjvae.model.networks import initialise_he
from fastjvae.model.own_networks import NETWORKS, Network, check_name
from fastjvae.training.settings.fields import (
    Bounds,
    HeededWith,
    from_mapping,
    only_heeded,
)
from fastjvae.training.settings.json_flag import Arguments
from fastjvae.training.settings.objective import ObjectiveConfig
from fastjvae.training.settings.phases import (
    Phase,
    check_names,
    last_lengthened,
    shared_out,
)
from fastjvae.training.settings.run import MOST_STEPS, PhaseConfig, Rate, StepsOrNone

Initialisation = Literal["torch", "he"]
_GAUSSIAN = HeededWith("likelihood", ("gaussian",))


@dataclass(frozen=True)
class TrainConfig(ObjectiveConfig):
    """Everything that decides what a training run of a JointVAE computes, and where it goes."""

    # --- networks ---------------------------------------------------------------------------------
    encoder: Annotated[str | None, arg(metavar="MODULE:CLASS")] = None
    """an encoder of your own, by module and class, such as nets:ResNetEncoder, from images (N, C,
    H, W) to parameters (N, P); by default the paper's"""
    encoder_args: Arguments = None
    """arguments of that class beside the sizes, such as '{"width": 64}'"""
    decoder: Annotated[str | None, arg(metavar="MODULE:CLASS")] = None
    """a decoder of your own, from samples (N, L) to the logits of images (N, C, H, W); by default
    the paper's"""
    decoder_args: Arguments = None
    """arguments of that class beside the sizes"""

    # --- likelihood of the images -----------------------------------------------------------------
    likelihood: Likelihood = "bernoulli"
    """of the pixels around the decoded image: bernoulli, cross-entropy; gaussian, a squared error
    by its scale, for images of the world and for pixels of any range"""
    scale: Annotated[Scale, Bounds(above=0), _GAUSSIAN] = 1.0
    """gaussian: standard deviation of the pixels, in their unit, or learned; 0.7071 is the plain
    squared error"""
    value_range: Annotated[tuple[float, float], _GAUSSIAN] = (0.0, 1.0)
    """gaussian: lowest and highest value of a pixel, of arrays whose floats do not lie in 0..1;
    bytes 0..255 stand for it"""

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
    networks: Networks = "modules"
    """what computes the networks of a training step on a GPU: modules, PyTorch's; triton, cuDNN and
    cuBLAS with hand-written kernels for all between them, and the backward pass by hand"""
    compile: bool = False
    """torch.compile for encoder, decoder and losses; takes half a minute before the first step"""
    cuda_graph: bool = True
    """a GPU replays the whole step as one CUDA graph; this flag launches its kernels one by one"""
    timeout: Annotated[float, Bounds(above=0, most=10_000_000)] = 300.0
    """several processes: seconds to wait for one that does not answer"""

    # --- images whose labels are known ------------------------------------------------------------
    labelled: Annotated[int, Bounds(0, 10**9)] = 0
    """images of the training set whose labels training may see, as many of each class as of every
    other as far as it goes, chosen by the seed; 0 for none. The categories of a discrete variable
    are then the classes: of the first that has as many as there are classes, or of the first with
    more; --refits are left out"""

    # --- length -----------------------------------------------------------------------------------
    patience: Annotated[int | None, Bounds(1, MOST_STEPS)] = None
    """training ends before its last step when the held-out images, or the test images of a data set
    that has some, have not been reconstructed better in so many evaluations in a row, of which each
    epoch has one; the model is then that of the best evaluation. Of phases the last one counts"""

    # --- phases -----------------------------------------------------------------------------------
    phases: Suppress[tuple[Phase, ...]] = ()
    """the phases of the run, none for a run in one piece; ``steps`` are those of all of them, and
    another number is shared out among them. What a phase does not set is as the run has it"""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_value_range(self.value_range)
        for which in NETWORKS:
            name, args = getattr(self, which), getattr(self, f"{which}_args")
            if name is not None:
                check_name(which, name)
            elif args is not None:
                raise ArgumentError(f"--{which}-args are for --{which} MODULE:CLASS, got {args}")
        if self.phases:
            check_names(self.phases)
            steps = self.steps or sum(phase.steps for phase in self.phases)
            phases = tuple(phase.without(self) for phase in shared_out(self.phases, steps))
            object.__setattr__(self, "steps", steps)
            object.__setattr__(self, "phases", phases)
            _ = self.phase_configs  # a setting that a phase cannot have is an error here already

    def check_objective(self) -> None:
        if not self.phases:  # else each phase is checked, the run's settings may be of none
            super().check_objective()

    @property
    def phase_configs(self) -> tuple[PhaseConfig, ...]:
        if not self.phases:
            return super().phase_configs
        firsts = accumulate((phase.steps for phase in self.phases), initial=0)
        return tuple(
            PhaseConfig(phase.name, first, self._of(phase))
            for phase, first in zip(self.phases, firsts, strict=False)
        )

    def _of(self, phase: Phase) -> TrainConfig:
        try:
            return dataclasses.replace(self, phases=(), steps=phase.steps, **phase.differences())
        except ArgumentError as error:
            raise ArgumentError(f"in the phase {phase.name}: {error}") from None

    def ending_at(self, steps: int) -> TrainConfig:
        if not self.phases:
            return dataclasses.replace(self, steps=steps)
        phases = last_lengthened(self.phases, steps)
        return dataclasses.replace(self, steps=steps, phases=phases)

    def to_dict(self) -> dict[str, Any]:
        values = super().to_dict()
        del values["phases"]
        if self.phases:
            values["phases"] = [phase.to_dict() for phase in self.phases]
        return values

    def flat(self) -> dict[str, Any]:
        values = self.to_dict()
        for number, phase in enumerate(values.pop("phases", ()), start=1):
            own = {f"{phase['name']}.{k}": v for k, v in phase.items() if k != "name"}
            if number == len(self.phases):  # its length is what is left of the run's
                del own[f"{phase['name']}.steps"]
            values |= own
        return values

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


def build_model(
    config: TrainConfig,
    img_size: tuple[int, int, int],
    encoder: Network | None = None,
    decoder: Network | None = None,
) -> JointVAE:
    """Build the model of a run; its initialisation depends on ``config.seed`` alone.

    Args:
        config: the settings, which may name the classes of own networks.
        img_size: (C, H, W).
        encoder, decoder: own networks, which keep the weights that they have.

    Raises:
        ArgumentError: an own network does not fit the images, the latent variables or the settings.
    """
    with Seeded(config.seed):
        model = JointVAE(
            img_size,
            config.spec,
            config.temperature,
            encoder=config.encoder if encoder is None else encoder,
            decoder=config.decoder if decoder is None else decoder,
            encoder_args=config.encoder_args if encoder is None else None,
            decoder_args=config.decoder_args if decoder is None else None,
            likelihood=config.likelihood,
            scale=config.scale,
            value_range=config.value_range,
        )
        if config.initialisation == "he":
            if "encoder" in model.own_networks:
                raise ArgumentError("--initialisation he is for the standard encoder alone")
            assert isinstance(model.encoder, Encoder)
            initialise_he(model.encoder, model.spec)
        return model
