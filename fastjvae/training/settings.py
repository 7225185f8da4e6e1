"""Every setting of a training run, and what is built from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from tyro.conf import Suppress

from fastjvae._numbers import shown
from fastjvae.data import SPLIT_DATASETS, DatasetName, DataSource
from fastjvae.data.source import MAX_PIXELS
from fastjvae.errors import ArgumentError
from fastjvae.functional.capacity import Capacity
from fastjvae.functional.checks import ChannelReduction, DiscreteMeasure
from fastjvae.functional.latents import LatentSpec
from fastjvae.functional.weights import Seeded
from fastjvae.model import Encoder, JointVAE
from fastjvae.model.initialisation import initialise_he
from fastjvae.objectives import (
    BetaObjective,
    BetaTCObjective,
    CCBetaObjective,
    FactorObjective,
    JointObjective,
    Objective,
    SharedObjective,
)
from fastjvae.training.fields import (
    Bounds,
    HeededWith,
    check_fields,
    check_heeded,
    from_mapping,
    only_heeded,
    unknown_fields,
    without_fields,
)

# Settings that may change between a checkpoint and its resumption: when to stop and what to write,
# where the data lie (their content is compared) and where to compute.
RUN_SETTINGS = frozenset(
    {"steps", "epochs", "log_every", "checkpoint_every", "tensorboard", "figures", "animate_every"}
    | {"data_root", "labels", "download", "skip_damaged", "max_pixels"}
    | {"device", "keep_freed_memory", "cuda_graph", "timeout"}
)

Precision = Literal["fp32", "tf32", "bf16"]
ObjectiveName = Literal["joint", "beta", "cc-beta", "factor", "beta-tc"]
Initialisation = Literal["torch", "he"]
DiscreteCapacity = Literal[DiscreteMeasure, "shared"]

_MOST_STEPS = 10**12  # a run of a step each millisecond takes 30 years for them
Steps = Annotated[int, Bounds(1, _MOST_STEPS)]
StepsOrNone = Annotated[int, Bounds(0, _MOST_STEPS)]
Weight = Annotated[float, Bounds(0)]  # of a term of a loss, or a number of nats
Rate = Annotated[float, Bounds(above=0)]
_JOINT = HeededWith("objective", ("joint",), others_set_it=True)
_SHARED = HeededWith("discrete_capacity", ("shared",), others_set_it=True)


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


@dataclass(frozen=True)
class RunConfig:
    """What every training run has: data, latent variables, its length, and where it goes."""

    dataset: Suppress[DatasetName]

    # --- data -------------------------------------------------------------------------------------
    data_root: str | None = None
    """folder or file of the data; for mnist and fashion-mnist torchvision's layout or a folder of
    IDX files, for chairs the folder rendered_chairs, for celeba torchvision's layout, a folder of
    aligned pictures or a .zip file of them, for dsprites its .npz file, for images a folder of
    pictures, for arrays a .npy or .npz file, or FILE.npz:NAME for the images of that name in it"""
    image_size: Annotated[tuple[int, int] | None, Bounds(1, 4096)] = None
    """height and width in pixels that images are resized to; by default 32 32 for digits, mnist
    and fashion-mnist, 64 64 for chairs, celeba, dsprites and sprites, and the images' own size
    otherwise"""
    channels: Literal[1, 3] | None = None
    """images: 1 for grey, 3 for RGB; by default as the pictures are"""
    labels: str | None = None
    """arrays: a .npy or .npz file with the labels, or FILE.npz:NAME, for evaluation only"""
    download: bool = False
    """mnist and fashion-mnist: download what is missing into the data root"""
    grid: tuple[str, ...] = ()
    """sprites: the part of the grid to draw, such as shape=square,heart scale=5 x=0..31/4: values
    of shape (3 of them), scale (6), orientation (40), x and y (32) by their numbers from 0, as
    lists or ranges with or without a step; what is not named keeps all of its values"""
    skip_damaged: bool = False
    """chairs, celeba and images: leave out pictures that cannot be read, and say how many"""
    max_pixels: Annotated[int, Bounds(1)] = MAX_PIXELS
    """chairs, celeba and images: pixels of the largest picture that is read; others are refused
    before they are decoded, since a file of some kB can hold one that takes all memory"""

    # --- model ------------------------------------------------------------------------------------
    cont: Annotated[int, Bounds(0, 100_000)] = 10
    """number of continuous latent units; 0 for none"""
    disc: Annotated[tuple[int, ...], Bounds(most=100_000)] = (10,)
    """numbers of categories of the discrete latent variables; nothing after the flag for none"""

    # --- length -----------------------------------------------------------------------------------
    batch_size: Annotated[int, Bounds(1, 10_000_000)] = 64
    """images per training step, of all processes together"""
    epochs: Annotated[int, Bounds(1, 10**9)] = 100
    """passes over the data"""
    steps: Annotated[int | None, Bounds(1, _MOST_STEPS)] = None
    """training steps; given, it replaces epochs"""
    seed: Annotated[int, Bounds(0, 2**31 - 1)] = 0
    """seed of initialisation, data order and noise"""

    # --- run --------------------------------------------------------------------------------------
    out: str | None = None
    """run folder; by default runs/DATASET-seedSEED"""
    device: str = "auto"
    """cpu, cuda, cuda:1, ...; auto takes a GPU where there is one"""
    precision: Precision = "fp32"
    """arithmetic of the networks: fp32; tf32, matrix products of a GPU with 10 bits of mantissa;
    bf16 under autocast, with latent variables and losses in fp32"""
    keep_freed_memory: bool = True
    """on a CPU, freed memory stays in the process for the next step, whose pages would fault in
    again otherwise (glibc); the process then keeps its peak"""
    log_every: Annotated[int, Bounds(1, 10_000_000)] = 50
    """training steps between two lines of metrics.jsonl"""
    checkpoint_every: Steps = 1000
    """training steps between two checkpoints"""
    tensorboard: bool = False
    """also write what metrics.jsonl holds for TensorBoard; needs the tensorboard extra"""
    figures: bool = True
    """the figures are drawn when training ends; this flag leaves them out"""
    animate_every: Annotated[int | None, Bounds(1, _MOST_STEPS)] = None
    """training steps from frame to frame of figures/animation.gif, which shows how the traversals
    come about; by default there is none"""

    def __post_init__(self) -> None:
        check_fields(self)
        _ = self.spec  # an impossible specification is an error here already

    @property
    def spec(self) -> LatentSpec:
        return LatentSpec(self.cont, self.disc)

    @property
    def name(self) -> str:
        """Of the default run folder, before its seed."""
        return self.dataset

    @property
    def run_folder(self) -> str:
        return self.out or f"runs/{self.name}-seed{self.seed}"

    def source(self, split: Literal["train", "test"] = "train") -> DataSource:
        """Where the data come from."""
        return DataSource(
            name=self.dataset,
            root=self.data_root,
            split=split if self.dataset in SPLIT_DATASETS else "train",
            image_size=self.image_size,
            channels=self.channels,
            labels=self.labels,
            download=self.download,
            grid=self.grid or None,
            skip_damaged=self.skip_damaged,
            max_pixels=self.max_pixels,
        )

    def total_steps(self, steps_per_epoch: int) -> int:
        """Training steps of the run."""
        return self.steps or self.epochs * steps_per_epoch

    def to_dict(self) -> dict[str, Any]:
        """JSON form for config.json; the run folder may be moved, so it is left out."""
        values = dataclasses.asdict(self)
        del values["out"]
        return values

    def differing(self, other: RunConfig, ignored: Collection[str] = ()) -> str | None:
        """Name the first setting in which two runs differ, or None."""
        ours, theirs = self.to_dict(), other.to_dict()
        names = [*ours, *(n for n in theirs if n not in ours)]
        return next((n for n in names if n not in ignored and ours.get(n) != theirs.get(n)), None)


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """Everything that decides what a training run of a JointVAE computes, and where it goes."""

    temperature: Rate = 0.67
    """temperature of the Gumbel-softmax, no unit"""

    # --- objective --------------------------------------------------------------------------------
    objective: ObjectiveName = "joint"
    """joint: JointVAE (paper eq. 8); beta: beta-VAE; cc-beta: one capacity for all latents; factor:
    FactorVAE; beta-tc: beta-TCVAE"""
    cont_capacity: Annotated[CapacityConfig, _JOINT] = field(
        default_factory=lambda: CapacityConfig(0.0, 5.0, 25_000, 30.0)
    )
    """joint: capacity of the continuous units together"""
    disc_capacity: Annotated[CapacityConfig, _JOINT] = field(
        default_factory=lambda: CapacityConfig(0.0, 5.0, 25_000, 30.0)
    )
    """joint: capacity of the discrete variables together; never above sum log K"""
    discrete_capacity: Annotated[DiscreteCapacity, _JOINT] = "kl"
    """joint: what the discrete capacity bounds. kl: the paper's KL_c; information: that part of it
    which tells images apart, the batch's mutual information H(category mean) - mean H(p); shared:
    that part of the information which the images of a group have in common, see --group, of
    categories that are to be equally frequent"""
    total_capacity: Annotated[CapacityConfig, HeededWith("objective", ("cc-beta",))] = field(
        default_factory=lambda: CapacityConfig(0.0, 10.0, 25_000, 30.0)
    )
    """cc-beta: capacity of all latent variables together"""
    beta: Annotated[float, Bounds(0), HeededWith("objective", ("beta", "beta-tc"))] = 4.0
    """beta: weight of the KL divergence; beta-tc: weight of the total correlation; no unit"""
    factor: Annotated[FactorConfig, HeededWith("objective", ("factor",))] = field(
        default_factory=lambda: FactorConfig()
    )
    """factor: weight of the total correlation, and the discriminator that estimates it"""
    channel_reduction: ChannelReduction = "mean"
    """cross-entropy averaged over channels, as the published code has it, or summed over them"""

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
    refits: Annotated[tuple[int, ...], Bounds(most=_MOST_STEPS), _JOINT, _SHARED] = ()
    """shared: training steps before which the head of the discrete variables is fitted anew to the
    encoder's features, from 30 beginnings, and replaced by the best where that shares more"""
    augment: Annotated[float, Bounds(0, 100)] = 0.0
    """strength of random rotations, shears, scales and shifts of the training images: 1 for up to
    20 degrees, a shear of 0.35, 20 % of the size and moves by 10 % of it; 0 for none"""

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

    def __post_init__(self) -> None:
        super().__post_init__()
        check_heeded(self)
        self._check_groups()

    def _check_groups(self) -> None:
        if self.batch_size % self.group:
            raise ArgumentError(
                f"--batch-size must be a multiple of --group {self.group}, got {self.batch_size}"
            )
        if self.neighbours < 0 or 0 < self.neighbours < self.group - 1:
            raise ArgumentError(
                f"--neighbours must be 0 or at least {max(1, self.group - 1)}, what a group of"
                f" {self.group} takes, got {self.neighbours}"
            )
        if self.discrete_capacity == "shared" and self.group == 1:
            raise ArgumentError(
                "--discrete-capacity shared needs a --group of at least 2 images, got 1"
            )
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

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """Read :meth:`to_dict`'s form; a setting that is missing has its default.

        So has one that the objective does not heed, which was no mistake once.

        Raises:
            ArgumentError: a setting is unknown, missing without a default, of another type or out
                of range.
        """
        return from_mapping(cls, only_heeded(cls, values))


@dataclass(frozen=True)
class InfoGANConfig(RunConfig):
    """Everything that decides what a training run of InfoGAN computes, and where it goes."""

    # What the model that is saved needs beside its sizes.
    temperature: ClassVar[float] = 0.67
    channel_reduction: ClassVar[ChannelReduction] = "mean"

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

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> InfoGANConfig:
        """Read :meth:`to_dict`'s form; errors as for :meth:`TrainConfig.from_dict`."""
        return from_mapping(cls, {k: v for k, v in values.items() if k != "method"})


AnyConfig = TrainConfig | InfoGANConfig


def config_from_dict(values: object) -> AnyConfig:
    """Read the settings of any run, without those that this version does not know.

    Raises:
        ArgumentError: as :meth:`TrainConfig.from_dict`, or the settings are of no kind of run.
    """
    kind, settings = _kind_of_run(values)
    unknown = unknown_fields(kind, settings)
    return kind.from_dict(without_fields(settings, unknown))


def unknown_settings(values: object) -> dict[str, Any]:
    """What :func:`config_from_dict` leaves out, nested as it is there."""
    return unknown_fields(*_kind_of_run(values))


def _kind_of_run(values: object) -> tuple[type[AnyConfig], dict[str, Any]]:
    if not isinstance(values, dict):
        raise ArgumentError(f"the settings of a run are a JSON object, got {shown(values)}")
    method = values.get("method")
    if method not in (None, "infogan"):
        raise ArgumentError(
            f"the method of a run must be infogan or not named, got {shown(method)}"
        )
    settings = {name: value for name, value in values.items() if name != "method"}
    return (InfoGANConfig if method else TrainConfig), settings


def build_model(config: AnyConfig, img_size: tuple[int, int, int]) -> JointVAE:
    """Build the model of a run; its initialisation depends on ``config.seed`` alone."""
    with Seeded(config.seed):
        model = JointVAE(img_size, config.spec, config.temperature)
        if isinstance(config, TrainConfig) and config.initialisation == "he":
            assert isinstance(model.encoder, Encoder)
            initialise_he(model.encoder, model.spec)
        return model


def build_objective(config: TrainConfig) -> Objective:
    """Build the objective of a run."""
    if config.objective == "beta":
        return BetaObjective(config.beta, config.channel_reduction)
    if config.objective == "cc-beta":
        return CCBetaObjective(config.total_capacity.build(), config.channel_reduction)
    if config.objective == "beta-tc":
        return BetaTCObjective(config.beta, config.channel_reduction)
    if config.objective == "factor":
        return FactorObjective(
            config.spec,
            config.factor.gamma,
            layers=config.factor.layers,
            width=config.factor.width,
            lr=config.factor.lr,
            channel_reduction=config.channel_reduction,
            seed=config.seed,
        )
    cont, disc = config.cont_capacity.build(), config.disc_capacity.build()
    if config.discrete_capacity == "shared" and config.disc:
        return SharedObjective(
            config.spec,
            cont=cont,
            disc=disc,
            group=config.group,
            overclusters=config.overclusters,
            channel_reduction=config.channel_reduction,
            seed=config.seed,
        )
    measure = config.discrete_capacity
    if measure == "shared":  # by no categories
        measure = "kl"
    return JointObjective(cont, disc, config.channel_reduction, measure)
