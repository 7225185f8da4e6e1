"""The settings that every training run has: its data, latent variables, length, and folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from tyro.conf import Suppress

from fastjvae.data import SPLIT_DATASETS, DatasetName, DataSource
from fastjvae.data.source import MAX_PIXELS
from fastjvae.functional.checks import ChannelReduction
from fastjvae.functional.latents import LatentSpec
from fastjvae.training.settings.fields import Bounds, check_fields

# Settings that may change between a checkpoint and its resumption: when to stop and what to write,
# where the data lie (their content is compared) and where to compute.
RUN_SETTINGS = frozenset(
    {"steps", "epochs", "log_every", "checkpoint_every", "tensorboard", "figures", "animate_every"}
    | {"patience"}
    | {"data_root", "labels", "download", "skip_damaged", "max_pixels"}
    | {"device", "networks", "keep_freed_memory", "cuda_graph", "timeout"}
)

Precision = Literal["fp32", "tf32", "bf16"]
MOST_STEPS = 10**12  # a run of a step each millisecond takes 30 years for them
Steps = Annotated[int, Bounds(1, MOST_STEPS)]
StepsOrNone = Annotated[int, Bounds(0, MOST_STEPS)]
Weight = Annotated[float, Bounds(0)]  # of a term of a loss, or a number of nats
Rate = Annotated[float, Bounds(above=0)]


class PhaseConfig(NamedTuple):
    """A phase of a run as it is trained."""

    name: str | None  # None of the one phase of a run in one piece
    first: int  # steps of the run before it
    config: Any  # the run's settings with the phase's own ones


def ends_of(phases: Sequence[PhaseConfig], steps: int) -> list[int]:
    """The step at which each of the last phases of a run of ``steps`` ends."""
    return [*(phase.first for phase in phases[1:]), steps]


@dataclass(frozen=True)
class RunConfig:
    """The settings that every training run has, whatever it trains."""

    dataset: Suppress[DatasetName]

    # --- data -------------------------------------------------------------------------------------
    data_root: str | None = None
    """folder or file of the data; for mnist and fashion-mnist torchvision's layout or a folder of
    IDX files, for chairs the folder rendered_chairs, for celeba torchvision's layout, a folder of
    aligned pictures or a .zip file of them, for dsprites and mpi3d their .npz file, for shapes3d
    3dshapes.h5, for images a folder of pictures, for arrays a .npy or .npz file, or FILE.npz:NAME
    for the images of that name in it"""
    image_size: Annotated[tuple[int, int] | None, Bounds(1, 4096)] = None
    """height and width in pixels that images are resized to; by default 32 32 for digits, mnist
    and fashion-mnist, 64 64 for chairs, celeba, dsprites, sprites, shapes3d and mpi3d, and the
    images' own size otherwise"""
    channels: Literal[1, 3] | None = None
    """images: 1 for grey, 3 for RGB; by default as the pictures are"""
    labels: str | None = None
    """arrays: a .npy or .npz file with the labels, or FILE.npz:NAME, for evaluation only"""
    download: bool = False
    """mnist and fashion-mnist: download what is missing into the data root"""
    grid: tuple[str, ...] = ()
    """sprites, shapes3d and mpi3d: the part of the grid of factors to take, such as
    shape=square,heart scale=5 x=0..31/4: values by their numbers from 0, as lists or ranges with or
    without a step, or by their names; what is not named keeps all of its values. Of sprites shape
    has 3 values, scale 6, orientation 40, x and y 32; of shapes3d floor_hue, wall_hue and
    object_hue have 10, scale 8, shape 4, orientation 15; of mpi3d object_color and object_shape 6,
    object_size 2, camera_height and background_color 3, horizontal_axis and vertical_axis 40"""
    held_out: Annotated[float, Bounds(0, 0.9)] = 0.0
    """images and arrays: share of the images that training does not see and the evaluation is of,
    chosen by a seed of its own, so that all runs have the same ones; of fewer than 20 images there
    are none. Folders train and test in the root of pictures are taken in their place. 0 for none:
    all images are trained on"""
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
    steps: Annotated[int | None, Bounds(1, MOST_STEPS)] = None
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
    bf16 under autocast, with latent variables and losses in fp32, on a GPU and on a CPU that has
    AVX512-BF16 or AMX"""
    keep_freed_memory: bool = True
    """on a CPU, freed memory stays in the process for the next step, whose pages would fault in
    again otherwise (glibc); the process then keeps its peak"""
    log_every: Annotated[int, Bounds(1, 10_000_000)] = 50
    """training steps between two lines of metrics.jsonl"""
    checkpoint_every: Annotated[int | None, Bounds(1, MOST_STEPS)] = None
    """training steps between two checkpoints; by default there is one every 30 seconds (where
    several processes train, at the log line after them) and at the end of each phase"""
    tensorboard: bool = False
    """also write what metrics.jsonl holds for TensorBoard; needs the tensorboard extra"""
    figures: bool = True
    """the figures are drawn when training ends; this flag leaves them out"""
    animate_every: Annotated[int | None, Bounds(1, MOST_STEPS)] = None
    """training steps from frame to frame of figures/animation.gif, which shows how the traversals
    come about; by default there is none"""

    def __post_init__(self) -> None:
        check_fields(self)
        _ = self.spec  # an impossible specification is an error here already

    @property
    def spec(self) -> LatentSpec:
        return LatentSpec(self.cont, self.disc)

    @property
    def channel_reduction(self) -> ChannelReduction:
        """How the run's evaluation reduces the cross-entropy over channels."""
        return "mean"

    @property
    def value_range(self) -> tuple[float, float]:
        """Lowest and highest value of a pixel of the run's images, as floats."""
        return (0.0, 1.0)

    @property
    def name(self) -> str:
        """Name of the default run folder, before its seed."""
        return self.dataset

    @property
    def run_folder(self) -> str:
        return self.out or f"runs/{self.name}-seed{self.seed}"

    def source(self, split: Literal["train", "test"] = "train") -> DataSource:
        """The data that the run names."""
        return DataSource(
            name=self.dataset,
            root=self.data_root,
            split=split if self.dataset in SPLIT_DATASETS or self.held_out else "train",
            image_size=self.image_size,
            channels=self.channels,
            labels=self.labels,
            download=self.download,
            grid=self.grid or None,
            skip_damaged=self.skip_damaged,
            max_pixels=self.max_pixels,
            held_out=self.held_out,
            value_range=self.value_range if self.dataset == "arrays" else (0.0, 1.0),
        )

    def total_steps(self, steps_per_epoch: int) -> int:
        """Training steps of the run."""
        return self.steps or self.epochs * steps_per_epoch

    @property
    def phase_configs(self) -> tuple[PhaseConfig, ...]:
        """The phases that the run goes through, one after the other."""
        return (PhaseConfig(None, 0, self),)

    def phases_from(self, step: int) -> list[PhaseConfig]:
        """The phase that goes on after a step, and those behind it; the last ends with the run."""
        phases = self.phase_configs
        later = [phase for phase in phases if phase.first > step]
        return [phases[-1 - len(later)], *later]

    def ending_at(self, steps: int) -> RunConfig:
        """The run with another number of steps at its end.

        Raises:
            ArgumentError: its last phase would have none.
        """
        return dataclasses.replace(self, steps=steps)

    def to_dict(self) -> dict[str, Any]:
        """JSON form for config.json; the run folder may be moved, so it is left out."""
        values = dataclasses.asdict(self)
        del values["out"]
        return values

    def flat(self) -> dict[str, Any]:
        """:meth:`to_dict` with the settings of phases beside the others, as types.lr."""
        return self.to_dict()

    def differing(self, other: RunConfig, ignored: Collection[str] = ()) -> str | None:
        """Name the first setting in which two runs differ, or None; :meth:`flat` has its value."""
        ours, theirs = self.flat(), other.flat()
        names = [*ours, *(n for n in theirs if n not in ours)]
        return next((n for n in names if n not in ignored and ours.get(n) != theirs.get(n)), None)
