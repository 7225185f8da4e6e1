"""The experiments of ``docs/results.md`` and their settings."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from fastjvae.metrics.scores import Scores
from fastjvae.training.settings.objective import CapacityConfig, FactorConfig
from fastjvae.training.settings.recipes import recipe
from fastjvae.training.settings.train import TrainConfig

Method = Literal["train", "published way", "k-means", "published"]


@dataclass(frozen=True)
class Experiment:
    """One experiment: what is trained or counted, and over which seeds.

    Attributes:
        recipe: data set whose recipe the settings start from.
        settings: fields of TrainConfig that differ from it.
        seeds: those of the results.
        final: evaluated on the test images; trials are judged by their training images.
        method: "train" trains with the settings; "published way" does so in the manner of the
            authors' code; "k-means" divides the pixels into as many clusters as their discrete
            variable has categories; "published" evaluates the authors' model.
        recipe_name: which recipe of the data set; by default its first.
        phase: the phase of the recipe that is trained alone; by default all of them are.
        start: the experiment whose model of the same seed the training goes on from, in the place
            of an initialisation.
        pictures: the set of :mod:`benchmarks.experiments.drawn_pictures` that is trained on, with
            the settings that ``fastjvae train images`` makes for it.
        images: how many images to train on: the first of the training images and, where these are
            fewer, of the test images. By default all training images.
        scores: which scores against the factors.
    """

    recipe: str
    settings: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    final: bool = True
    method: Method = "train"
    recipe_name: str | None = None
    phase: str | None = None
    start: str | None = None
    images: int | None = None
    scores: Scores = "all"
    pictures: str | None = None

    def config_of(self, seed: int, data_root: str | None) -> TrainConfig:
        own = {} if self.recipe in ("digits", "sprites") else {"data_root": data_root}
        config = recipe(self.recipe, self.recipe_name)  # type: ignore[arg-type]
        if self.phase is not None:
            config = next(p.config for p in config.phase_configs if p.name == self.phase)
        return dataclasses.replace(
            config,
            **{"checkpoint_every": 1_000, "figures": False, **own, **self.settings, "seed": seed},
        )


# An evaluation of all 60,000 training images, at every checkpoint, takes as long as 300 steps.
_FASHION = {"steps": 60_000, "checkpoint_every": 5_000}
_TEN = tuple(range(10))
CATEGORIES = (5, 10, 20, 128)  # numbers of them

# All shapes and scales, every second orientation, 8 x 8 places: 23,040 images. The capacities grow
# over the same share of the steps as in the recipe, 300,000 of 345,600.
_SPRITES: dict[str, Any] = {
    "grid": ("orientation=0..39/2", "x=0..31/4", "y=0..31/4"),
    "steps": 6_000,
    "checkpoint_every": 2_000,
}
# Short runs need not find their way out of a collapse.
_BEGIN_WELL: dict[str, Any] = {"initialisation": "he", "warmup": 100}
# As Kim & Mnih have them: continuous units alone.
_CONTINUOUS = {**_SPRITES, "cont": 10, "disc": ()}


def _long(**changes: Any) -> Experiment:
    return Experiment("mnist", {"steps": 30_000, **changes}, seeds=(0, 1, 2, 3, 4))


def _half_as_long(number: int, images: int | None = None, **changes: Any) -> Experiment:
    """Half the steps of :func:`_long`, with another number of categories."""
    capacity = CapacityConfig(0.0, 5.0, 12_500, 30.0)
    settings = {"disc": (number,), "steps": 15_000, **changes}
    return Experiment(
        "mnist",
        {**settings, "cont_capacity": capacity, "disc_capacity": capacity},
        seeds=(0, 1),
        images=images,
    )


def _begun(lr: float, **changes: Any) -> Experiment:
    """The first 600 of 3,500 steps whose capacities grow within 3,000."""
    capacity = CapacityConfig(0.0, 5.0, 3_000, 30.0)
    settings = {"steps": 600, "cont_capacity": capacity, "disc_capacity": capacity, "lr": lr}
    return Experiment("mnist", {**settings, **changes}, seeds=tuple(range(8)), final=False)


def _gone_on(start: str, seeds: tuple[int, ...]) -> Experiment:
    """A trained model that goes on with the paper's objective at the end of its schedules."""
    grown = CapacityConfig(5.0, 5.0, 1, 30.0)
    settings = {"steps": 20_000, "cont_capacity": grown, "disc_capacity": grown, "warmup": 500}
    return Experiment("mnist", settings, seeds, start=start)


def _joint_on_sprites(gamma: float = 30.0, measure: str = "kl") -> Experiment:
    settings = {
        "cont_capacity": CapacityConfig(0.0, 40.0, 5_200, gamma),
        "disc_capacity": CapacityConfig(0.0, 1.1, 5_200, gamma),
        "disc_measure": measure,
    }
    return Experiment("sprites", {**_SPRITES, **settings})


def _short_on_sprites(drawn_gamma: float) -> Experiment:
    """:func:`_joint_on_sprites` on a quarter of the pixels; capacities grow over as large a share
    of the steps."""
    settings = {
        "steps": 1_500,
        "checkpoint_every": 750,
        "image_size": (32, 32),
        "cont_capacity": CapacityConfig(0.0, 40.0, 1_300, 30.0),
        "disc_capacity": CapacityConfig(0.0, 1.1, 1_300, 30.0),
        "disc_measure": "information",
        "drawn_gamma": drawn_gamma,
        **_BEGIN_WELL,
    }
    return Experiment("sprites", {**_SPRITES, **settings}, scores="fast")


def _short_on_mnist(drawn_gamma: float) -> Experiment:
    """The paper's settings in fewer steps; capacities grow over the share of :func:`_long`."""
    capacity = CapacityConfig(0.0, 5.0, 1_250, 30.0)
    settings = {
        "steps": 1_500,
        "checkpoint_every": 750,
        "cont_capacity": capacity,
        "disc_capacity": capacity,
        "drawn_gamma": drawn_gamma,
        **_BEGIN_WELL,
    }
    return Experiment("mnist", settings)


def _own(pictures: str, categories: int, method: Method = "train") -> Experiment:
    """A folder of pictures, with no flag beyond the path, the size and --disc."""
    settings = {"image_size": (32, 32), "disc": (categories,)}
    return Experiment("images", settings, (0, 1, 2, 3, 4), method=method, pictures=pictures)


def _in_bf16(recipe: str, name: str | None = None) -> Experiment:
    """A recipe whose networks compute in bfloat16, where the CPU or the GPU has it."""
    return Experiment(recipe, {"precision": "bf16"}, (0, 1, 2, 3, 4), recipe_name=name)


OWN = {"discs": 3, "textures": 3, "digits": 10, "figures": 3, "sprites": 3}  # categories

EXPERIMENTS: dict[str, Experiment] = {
    "mnist-joint": _long(),
    "mnist-beta": _long(objective="beta", beta=4.0),
    "mnist-cc-beta": _long(objective="cc-beta"),
    "mnist-fast": Experiment("mnist", seeds=_TEN, recipe_name="fast"),
    "mnist-types": Experiment(
        "mnist", {"checkpoint_every": 100}, seeds=_TEN, recipe_name="fast", phase="types"
    ),
    "mnist-best": Experiment(
        "mnist", {"checkpoint_every": 5_000}, recipe_name="best", scores="fast"
    ),
    # A quarter of the steps: the labels are found soon.
    "mnist-100-labels": Experiment(
        "mnist",
        {"labelled": 100, "steps": 1_450, "checkpoint_every": 5_000},
        seeds=(0, 1, 2, 3, 4),
        recipe_name="fast",
    ),
    "mnist-fast-bf16": _in_bf16("mnist", "fast"),
    "mnist-published": Experiment("mnist", seeds=(0,), method="published"),
    "digits": Experiment("digits", seeds=_TEN),
    "digits-types": Experiment(
        "digits",
        {"neighbours": 5, "cont_capacity": CapacityConfig(0.0, 5.0, 280, 30.0, start=350)},
        seeds=_TEN,
        phase="types",
    ),
    "digits-bf16": _in_bf16("digits"),
    "digits-kmeans": Experiment("digits", method="k-means"),
    "fashion-joint": Experiment("fashion-mnist", _FASHION),
    "fashion-fast": Experiment(
        "fashion-mnist", {"checkpoint_every": 5_000}, seeds=(0, 1, 2, 3, 4), recipe_name="fast"
    ),
    "fashion-published-way": Experiment(
        "fashion-mnist", _FASHION, seeds=(0,), method="published way"
    ),
    "fashion-kmeans": Experiment("fashion-mnist", method="k-means"),
    "collapse-5e-4": _begun(5e-4),
    "collapse-1e-3": _begun(1e-3),
    "collapse-1e-3-warmup": _begun(1e-3, warmup=300),
    "collapse-1e-3-he": _begun(1e-3, initialisation="he"),
    "collapse-2e-3": _begun(2e-3),
    "collapse-2e-3-warmup": _begun(2e-3, warmup=300),
    "collapse-2e-3-he": _begun(2e-3, initialisation="he"),
    "mnist-from-fast": _gone_on("mnist-types", seeds=(0, 1, 2)),
    "mnist-from-published": _gone_on("mnist-published", seeds=(0,)),
    "mnist-2500-digits": _half_as_long(10, images=2_500),
    "mnist-20000-digits": _half_as_long(10, images=20_000),
    "mnist-10-information": _half_as_long(10, disc_measure="information"),
    **{f"mnist-{number}-categories": _half_as_long(number) for number in CATEGORIES},
    **{
        f"mnist-kmeans-{number}": Experiment("mnist", {"disc": (number,)}, method="k-means")
        for number in CATEGORIES
    },
    "sprites-joint": _joint_on_sprites(),
    "sprites-joint-150": _joint_on_sprites(gamma=150.0),
    "sprites-joint-information": _joint_on_sprites(measure="information"),
    "sprites-short": _short_on_sprites(0.0),
    "sprites-drawn": _short_on_sprites(10.0),
    "mnist-short": _short_on_mnist(0.0),
    "mnist-drawn": _short_on_mnist(10.0),
    "sprites-kmeans": Experiment("sprites", {**_SPRITES, "disc": (3,)}, method="k-means"),
    "sprites-beta": Experiment("sprites", {**_CONTINUOUS, "objective": "beta", "beta": 4.0}),
    "sprites-factor": Experiment(
        "sprites", {**_CONTINUOUS, "objective": "factor", "factor": FactorConfig(35.0, width=300)}
    ),
    **{f"own-{name}": _own(name, number) for name, number in OWN.items()},
    **{f"own-{name}-kmeans": _own(name, number, "k-means") for name, number in OWN.items()},
}
