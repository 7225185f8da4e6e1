"""The experiments whose results ``docs/results.md`` shows, and the trials before them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from fastjvae.recipes import recipe
from fastjvae.settings import CapacityConfig, TrainConfig


@dataclass(frozen=True)
class Experiment:
    """Settings that are trained over seeds.

    Attributes:
        recipe: data set whose recipe the settings start from.
        settings: fields of TrainConfig that differ from it.
        seeds: those of the results.
        final: evaluated on the test images; trials are judged by their training images.
    """

    recipe: str
    settings: dict[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    final: bool = True

    def config_of(self, seed: int, data_root: str | None) -> TrainConfig:
        own = {} if self.recipe in ("digits", "sprites") else {"data_root": data_root}
        return dataclasses.replace(
            recipe(self.recipe),  # type: ignore[arg-type]
            **{"checkpoint_every": 1_000, "figures": False, **own, **self.settings, "seed": seed},
        )


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    experiment: str
    label: str


@dataclass(frozen=True)
class Section:
    """One table of the page, with what it is about."""

    title: str
    text: str
    rows: tuple[Row, ...]


_MNIST_STEPS = {"steps": 30_000}


def _categories(number: int) -> Experiment:
    capacity = CapacityConfig(0.0, 5.0, 12_500, 30.0)
    settings = {"disc": (number,), "steps": 15_000}
    return Experiment(
        "mnist",
        {**settings, "cont_capacity": capacity, "disc_capacity": capacity},
        seeds=(0, 1),
    )


EXPERIMENTS: dict[str, Experiment] = {
    "mnist-joint": Experiment("mnist", _MNIST_STEPS, seeds=(0, 1, 2, 3, 4)),
    "mnist-beta": Experiment("mnist", {**_MNIST_STEPS, "objective": "beta", "beta": 4.0}),
    "mnist-cc-beta": Experiment("mnist", {**_MNIST_STEPS, "objective": "cc-beta"}),
    "digits": Experiment("digits", seeds=tuple(range(10))),
    "fashion-joint": Experiment("fashion-mnist", {"steps": 60_000}),
    **{f"mnist-{number}-categories": _categories(number) for number in (5, 10, 20, 128)},
}

SECTIONS: tuple[Section, ...] = (
    Section(
        "MNIST",
        "10,000 training digits, the official 10,000 test digits; 30,000 steps of 64 images in the"
        " paper's setting (appendix C). The paper trained on 60,000 digits for 100 epochs.",
        (
            Row("mnist-joint", "JointVAE"),
            Row("mnist-beta", "beta-VAE, beta = 4, the same latent variables (appendix D)"),
            Row("mnist-cc-beta", "CC-beta-VAE"),
        ),
    ),
    Section(
        "FashionMNIST",
        "60,000 training images, the official test images; 60,000 steps in the paper's setting.",
        (Row("fashion-joint", "JointVAE"),),
    ),
    Section(
        "Number of categories",
        "Appendix E of the paper: digit types fuse where there are fewer categories than types, and"
        " split where there are more. Half as many steps, with capacities that grow twice as fast.",
        tuple(
            Row(f"mnist-{number}-categories", f"{number} categories") for number in (5, 10, 20, 128)
        ),
    ),
    Section(
        "Digits",
        "The embedded 8x8 digits, as `make train` trains them.",
        (Row("digits", "JointVAE"),),
    ),
)
