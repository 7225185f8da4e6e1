"""The settings of the objective, and the objective that they name.

A further objective is a module of :mod:`fastjvae.objectives`, a name in :data:`ObjectiveName` and a
case of :func:`build_objective`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from fastjvae.errors import ArgumentError
from fastjvae.functional.capacity import Capacity
from fastjvae.functional.checks import ChannelReduction, DiscreteMeasure
from fastjvae.objectives.base import Objective
from fastjvae.objectives.beta import BetaObjective, CCBetaObjective
from fastjvae.objectives.beta_tc import BetaTCObjective
from fastjvae.objectives.factor import FactorObjective
from fastjvae.objectives.joint import JointObjective
from fastjvae.objectives.shared import HIDDEN_DIM, SharedObjective
from fastjvae.training.settings.fields import Bounds, HeededWith, check_heeded
from fastjvae.training.settings.run import MOST_STEPS, Rate, RunConfig, Steps, StepsOrNone, Weight

ObjectiveName = Literal["joint", "beta", "cc-beta", "factor", "beta-tc"]
Measure = Literal[DiscreteMeasure, "shared"]


@dataclass(frozen=True)
class CapacityConfig:
    """Linear growth of a capacity, and the weight of its penalty gamma |KL - C(t)|."""

    lo: Weight
    """capacity at the start, nats"""
    hi: Weight
    """capacity at the end, nats"""
    iters: Steps
    """training steps from lo to hi"""
    gamma: Weight
    """weight of the penalty, loss nats per nat of deviation"""
    start: StepsOrNone = 0
    """training step at which the growth begins"""

    def build(self) -> Capacity:
        return Capacity(self.lo, self.hi, self.iters, self.gamma, self.start)


@dataclass(frozen=True)
class FactorConfig:
    """FactorVAE's penalty gamma TC and its discriminator (Kim & Mnih 2018)."""

    gamma: Weight = 10.0
    """weight of the total correlation, no unit; the literature has 10 to 100"""
    layers: Annotated[int, Bounds(1, 100)] = 6
    """hidden layers of the discriminator"""
    width: Annotated[int, Bounds(1, 16_384)] = 1000
    """units of each hidden layer"""
    lr: Rate = 1e-4
    """learning rate of the discriminator's Adam, per step"""


_JOINT = HeededWith("objective", ("joint",), others_set_it=True)
_SHARED = HeededWith("disc_measure", ("shared",), others_set_it=True)


@dataclass(frozen=True)
class ObjectiveConfig(RunConfig):
    """The settings of a run's objective, and of the groups of images that it compares."""

    temperature: Rate = 0.67
    """temperature of the Gumbel-softmax, no unit"""

    objective: ObjectiveName = "joint"
    """joint: JointVAE (paper eq. 8); beta: beta-VAE; cc-beta: one capacity for all latents; factor:
    FactorVAE; beta-tc: beta-TCVAE"""
    cont_capacity: Annotated[CapacityConfig, _JOINT] = CapacityConfig(0.0, 5.0, 25_000, 30.0)
    """joint: capacity of the continuous units together"""
    disc_capacity: Annotated[CapacityConfig, _JOINT] = CapacityConfig(0.0, 5.0, 25_000, 30.0)
    """joint: capacity of the discrete variables together; never above sum log K"""
    disc_measure: Annotated[Measure, _JOINT] = "kl"
    """joint: the measure that --disc-capacity bounds. kl: the paper's KL_c; information: what of it
    tells images apart, the batch's mutual information H(category mean) - mean H(p); shared: the
    information that the images of a group have in common, see --group, of categories that are to
    be equally frequent"""
    drawn_gamma: Annotated[Weight, _JOINT] = 0.0
    """joint: weight of the information about the discrete variables that pictures drawn with other
    categories hold, as the encoder reads it again from them; loss nats per nat. The decoder then
    has to show what they tell, and a step takes about twice the time; 0 leaves it out"""
    total_capacity: Annotated[CapacityConfig, HeededWith("objective", ("cc-beta",))] = (
        CapacityConfig(0.0, 10.0, 25_000, 30.0)
    )
    """cc-beta: capacity of all latent variables together"""
    beta: Annotated[float, Bounds(0), HeededWith("objective", ("beta", "beta-tc"))] = 4.0
    """beta: weight of the KL divergence; beta-tc: weight of the total correlation; no unit"""
    factor: Annotated[FactorConfig, HeededWith("objective", ("factor",))] = FactorConfig()
    """factor: weight of the total correlation, and the discriminator that estimates it"""
    channel_reduction: ChannelReduction = "mean"
    """cross-entropy averaged over channels, as the published code has it, or summed over them"""

    # --- images whose labels are known ------------------------------------------------------------
    label_weight: Weight = 100.0
    """weight of the cross-entropy between the labels that are known and the categories of their
    images, some of which every step takes beside its batch; loss nats per nat"""

    # --- groups of images that likely show the same thing -----------------------------------------
    group: Annotated[int, Bounds(1, 10_000)] = 1
    """a batch is made of groups of this many images, each an image with some of its neighbours; an
    epoch ends when every image has led a group"""
    neighbours: Annotated[int, Bounds(most=10_000)] = 0
    """nearest neighbours of an image, by its pixels, that its group is drawn from; 0 for the same
    image again, to be transformed each time in its own way"""
    overclusters: Annotated[int, Bounds(most=100_000), _JOINT, _SHARED] = 0
    """shared: categories of a further head of the encoder, many more than the discrete variable
    has, whose images are to share them too; it keeps apart what the discrete variable has not yet
    told apart, and is no part of the model; 0 for none"""
    refits: Annotated[tuple[int, ...], Bounds(most=MOST_STEPS), _JOINT, _SHARED] = ()
    """shared: training steps before which the head of the discrete variables is fitted anew to the
    encoder's features, from 30 beginnings, and replaced by the best where that shares more"""
    merge: Annotated[bool, _JOINT, _SHARED] = False
    """shared: refits also begin with the overclusters, merged into as many categories as a discrete
    variable has: that finds types whole whose images are a long chain of neighbours"""
    spread: Annotated[float, Bounds(0, 100), _JOINT, _SHARED] = 0.0
    """shared: before the first step the categories' logits are centred, and scaled to this standard
    deviation over the images, so that what is shared can begin to grow; 0 for as initialised"""
    augment: Annotated[float, Bounds(0, 100)] = 0.0
    """strength of random rotations, shears, scales and shifts of the training images: 1 for up to
    20 degrees, a shear of 0.35, 20 % of the size and moves by 10 % of it; 0 for none"""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_objective()

    def check_objective(self) -> None:
        """Refuse settings that no objective can have together; ArgumentError."""
        check_heeded(self)
        if self.batch_size % self.group:
            raise ArgumentError(
                f"--batch-size must be a multiple of --group {self.group}, got {self.batch_size}"
            )
        if self.neighbours < 0 or 0 < self.neighbours < self.group - 1:
            raise ArgumentError(
                f"--neighbours must be 0 or at least {max(1, self.group - 1)}, what a group of"
                f" {self.group} takes, got {self.neighbours}"
            )
        if self.disc_measure == "shared" and self.group == 1:
            raise ArgumentError("--disc-measure shared needs a --group of at least 2 images, got 1")
        if self.overclusters < 0 or self.overclusters == 1:
            raise ArgumentError(
                f"--overclusters must be 0 or at least 2 categories, got {self.overclusters}"
            )
        if any(step < 1 for step in self.refits):
            raise ArgumentError(
                f"--refits must be training steps of at least 1, got {min(self.refits)}"
            )
        if self.group > 1 and not (self.neighbours or self.augment):
            raise ArgumentError(
                f"a --group of {self.group} needs --neighbours or --augment: its images would be"
                f" the same"
            )


def build_objective(config: ObjectiveConfig, features: int = HIDDEN_DIM) -> Objective:
    """Build the objective of a run; ``features`` are what the encoder's head reads."""
    match config.objective:
        case "joint":
            return _joint(config, features)
        case "beta":
            return BetaObjective(config.beta, config.channel_reduction)
        case "cc-beta":
            return CCBetaObjective(config.total_capacity.build(), config.channel_reduction)
        case "factor":
            return FactorObjective(
                config.spec,
                config.factor.gamma,
                layers=config.factor.layers,
                width=config.factor.width,
                lr=config.factor.lr,
                channel_reduction=config.channel_reduction,
                seed=config.seed,
            )
        case "beta-tc":
            return BetaTCObjective(config.beta, config.channel_reduction)


def _joint(config: ObjectiveConfig, features: int) -> Objective:
    cont, disc = config.cont_capacity.build(), config.disc_capacity.build()
    if config.disc_measure == "shared" and config.disc:
        return SharedObjective(
            config.spec,
            cont=cont,
            disc=disc,
            group=config.group,
            overclusters=config.overclusters,
            features=features,
            drawn_gamma=config.drawn_gamma,
            channel_reduction=config.channel_reduction,
            seed=config.seed,
        )
    # Without categories nothing can be shared.
    measure = "kl" if config.disc_measure == "shared" else config.disc_measure
    return JointObjective(cont, disc, config.channel_reduction, measure, config.drawn_gamma)
