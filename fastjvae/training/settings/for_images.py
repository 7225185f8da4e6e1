"""Settings of a run on images of one's own, made for their number, their size and the latents.

First the categories, by what an image and its neighbours share; then the continuous units, while
the categories stay as they are shared. Every number of a step is a share of the run's steps, and
every weight of a term is for images of so many pixels.
"""

import math
from typing import Any, NamedTuple

from fastjvae.data import DatasetName
from fastjvae.data.held_out import SHARE
from fastjvae.functional.latents import LatentSpec, largest_kl
from fastjvae.training.settings.objective import CapacityConfig
from fastjvae.training.settings.phases import Phase
from fastjvae.training.settings.train import TrainConfig

LEAST_STEPS, MOST_STEPS = 1_000, 20_000  # 20,000 take about 10 minutes of a core, at 32 x 32 pixels
_MOST_TYPES = 1_000  # steps of the first phase, each of which costs that of two others
_PIXELS = 32 * 32  # of the images that weights and capacities are given for
_FEWEST = 100  # images that have types
# Beyond them the search for neighbours, which grows with the square of their number, takes longer
# than the training.
_MOST_COMPARED = 60_000


class Images(NamedTuple):
    """The training images, as far as settings depend on them."""

    number: int
    pixels: int  # height x width


# Of the help, before the images are known.
EXAMPLE, _LATENTS = Images(2_000, _PIXELS), LatentSpec(10, (10,))


def for_images(
    dataset: DatasetName,
    images: Images = EXAMPLE,
    spec: LatentSpec = _LATENTS,
    steps: int | None = None,
    *,
    compared: bool = True,
) -> TrainConfig:
    """The settings of a run on images of one's own.

    >>> config = for_images("images", Images(900, 32 * 32), LatentSpec(10, (3,)))
    >>> config.steps, [(phase.name, phase.steps) for phase in config.phases]
    (1200, [('types', 200), ('style', 1000)])

    Args:
        dataset: images or arrays.
        images: the training images.
        spec: the latent variables.
        steps: of the run; by default by the number of images, see :func:`steps_for`.
        compared: whether images can be compared with one another, for their neighbours.
    """
    steps = steps or steps_for(images.number)
    types = min(steps // 6, _MOST_TYPES)
    if not compared or not spec.disc or not _FEWEST <= images.number <= _MOST_COMPARED:
        types = 0
    style = steps - types
    size = images.pixels / _PIXELS
    most = math.ceil(100 * largest_kl(spec.disc)) / 100
    if types:
        neighbours = _neighbours(images, spec)
        phases: tuple[Phase, ...] = (_types(types, spec, size), Phase("style", style))
        categories: dict[str, Any] = {
            "disc_measure": "shared",
            "disc_capacity": CapacityConfig(most, most, 1, 300.0 * size),
            "group": 2,
            "neighbours": neighbours,
            "merge": True,
            "spread": 2.0,
        }
    else:  # they come first here, and then the units
        phases = ()
        categories = {
            "disc_measure": "information",
            "disc_capacity": CapacityConfig(0.0, most, max(1, style // 5), 30.0 * size),
        }
    return TrainConfig(
        dataset=dataset,
        cont=spec.cont,
        disc=spec.disc,
        held_out=SHARE,
        initialisation="he",
        cont_capacity=CapacityConfig(
            0.0,
            round(min(15.0 * math.sqrt(size), 3.0 * spec.cont), 2),
            max(1, style * 2 // 5),
            30.0 * size,
            start=0 if types else style // 7,
        ),
        lr=1e-3,
        warmup=min(100, style // 10),
        steps=steps,
        phases=phases,
        **categories,
    )


def steps_for(images: int) -> int:
    """Training steps by the number of training images: 40 times its root, 1,000 to 20,000."""
    return min(max(LEAST_STEPS, round(40 * math.sqrt(images))), MOST_STEPS)


def _neighbours(images: Images, spec: LatentSpec) -> int:
    """A tenth of the images that a category has on average, 3 to 100.

    Where types are equally frequent, that many neighbours can all be of an image's own type.
    """
    return min(max(3, images.number // (10 * max(spec.disc))), 100)


def _types(steps: int, spec: LatentSpec, size: float) -> Phase:
    """The phase that finds the categories; the units hold nothing in it."""
    return Phase(
        "types",
        steps,
        batch_size=128,
        cont_capacity=CapacityConfig(0.0, 0.0, 1, 30.0 * size),
        group=4,
        overclusters=max(30, 3 * max(spec.disc)),
        refits=(steps - 1,) if steps > 1 else (),
        warmup=min(50, steps // 4),
    )
