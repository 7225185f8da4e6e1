"""``fastjvae train``: begin a run or several."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Union, get_type_hints

from typing_extensions import Self
from tyro.conf import Suppress, arg, subcommand

from fastjvae.cli.command import Command, import_from_here
from fastjvae.cli.training_runs import train_run, train_seeds
from fastjvae.data import DatasetName, ImageData
from fastjvae.data.facts import FACTS
from fastjvae.errors import ArgumentError
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.seeds import parse_seeds
from fastjvae.training.seeds_at_once import MOST_JOBS
from fastjvae.training.settings.fields import Bounds, flag
from fastjvae.training.settings.for_images import EXAMPLE, Images, for_images
from fastjvae.training.settings.overrides import check_epochs, overridden
from fastjvae.training.settings.own_networks import can_share, fitting, own_encoder
from fastjvae.training.settings.phases import PHASE_SETTINGS
from fastjvae.training.settings.recipes import (
    ABOUT,
    OWN_IMAGES,
    RECIPES,
    RecipeName,
    recipe,
)
from fastjvae.training.settings.run import PhaseConfig, RunConfig
from fastjvae.training.settings.train import TrainConfig

# Where the first recipe of a data set is neither its own setting of the paper nor that for MNIST.
_SETTINGS = {
    "digits": "",
    "sprites": ", with the paper's setting for dSprites",
    "shapes3d": ", with the paper's setting for dSprites, 10 units and 4 categories",
    "mpi3d": ", with the paper's setting for dSprites, 10 units and 6 categories",
    **dict.fromkeys(
        OWN_IMAGES,
        f", with settings made by the number and the size of the images and by --disc; the defaults"
        f" below are those for {EXAMPLE.number:,} images of 32x32",
    ),
}


_HINTS = get_type_hints(TrainConfig, include_extras=True)
_OF_PHASES = (*PHASE_SETTINGS, "phases")
_OF_RUNS = [f.name for f in dataclasses.fields(TrainConfig) if f.name not in _OF_PHASES]


@dataclass(frozen=True)
class SeedsFlag:
    """The flag that makes several runs; to be mixed into the settings of one."""

    kind: ClassVar[type[RunConfig]]  # the settings without it

    seeds: Annotated[str | None, arg(metavar="SEEDS")] = None
    """instead of --seed: train each of these seeds, such as 0..9 or 0,3,7, and compare them; their
    run folders are OUT/seedN, by default runs/DATASET-seeds/seedN, and the same command again goes
    on where it stopped"""
    jobs: Annotated[int | None, Bounds(1, MOST_JOBS)] = None
    """with --seeds: seeds that train at once; on a CPU they share the threads, and by default each
    has one; on GPUs so many on each of them, by default one. Each is bitwise what it is alone with
    as many threads (OMP_NUM_THREADS)"""

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[misc]
        if self.seeds is not None:
            parse_seeds(self.seeds)
        elif self.jobs is not None:
            raise ArgumentError(
                f"--jobs is for several seeds at once, got {self.jobs} without --seeds, such as"
                f" --seeds 0..9"
            )

    def config(self) -> RunConfig:
        """The settings alone."""
        names = [field.name for field in dataclasses.fields(self.kind)]
        return self.kind(**{name: getattr(self, name) for name in names})

    def settled(self, given: Collection[str]) -> Self:
        """The flags, once it is known which settings were ``given``."""
        return self

    def notice(self) -> str:
        """A line for the user about what the flags leave open; empty where there is none."""
        return ""

    @property
    def awaits_images(self) -> bool:
        """Whether the settings are made once the images are known, by :meth:`fitted`."""
        return False

    def fitted(self, data: ImageData) -> RunConfig:
        """The settings alone, made for these training images where they depend on them."""
        return self.config()


@dataclass(frozen=True)
class TrainFlags(SeedsFlag, TrainConfig):
    """The settings of a run, and the flags that give them their defaults or make several runs."""

    kind: ClassVar[type[RunConfig]] = TrainConfig

    recipe: RecipeName | None = None
    """the set of defaults that the other flags override: paper, appendix C of the paper, for the
    data sets in it, and default for the others; fast, for mnist and fashion-mnist, categories that
    are types, then the units' style, in the phases types and style: --types.lr sets one of them;
    for images and arrays, default is made by their number and size, and paper has the settings of
    CelebA and of MNIST"""
    chosen: Suppress[Any] = None  # the settings that were given, by name

    def __post_init__(self) -> None:
        super().__post_init__()
        recipe(self.dataset, self.recipe)

    @property
    def own_encoder(self) -> Any:
        """The class of an own encoder; None for the standard one."""
        if self.encoder is not None or self.decoder is not None:
            import_from_here()
        return own_encoder(self.encoder)

    def config(self) -> RunConfig:
        config: Any = super().config()
        return fitting(config, self.own_encoder)[0]

    def check_objective(self) -> None:
        """Nothing yet: what a flag goes together with shows once it is settled."""

    def settled(self, given: Collection[str]) -> Self:
        """A flag without the name of a phase is for all of them, so it has to be known."""
        before = recipe(self.dataset, self.recipe)
        check_epochs(before, given)
        names = [name for name in given if name.split(".")[0] in (*_OF_PHASES, *_names(before))]
        return self.choosing({name: operator.attrgetter(name)(self) for name in names})

    def choosing(self, settings: Mapping[str, Any]) -> Self:
        """The flags with these settings, such as types.lr, as if they had been given as well.

        Raises:
            ArgumentError: see :func:`fastjvae.training.settings.overrides.overridden`.
        """
        of_run = {name: value for name, value in settings.items() if name in _OF_RUNS}
        flags = dataclasses.replace(self, **of_run)
        further = {name: value for name, value in settings.items() if name not in of_run}
        chosen = {**(self.chosen or {}), **further}
        config = overridden(flags._of_run(recipe(self.dataset, self.recipe)), chosen)
        return dataclasses.replace(flags, **vars(config), chosen=chosen)

    def _of_run(self, before: TrainConfig) -> TrainConfig:
        """Settings of which those that no phase can have are those of the flags."""
        return dataclasses.replace(before, **{name: getattr(self, name) for name in _OF_RUNS})

    @property
    def awaits_images(self) -> bool:
        return self.dataset in OWN_IMAGES and self.recipe in (None, "default")

    def fitted(self, data: ImageData) -> RunConfig:
        if not self.awaits_images:
            return super().fitted(data)
        _, height, width = data.img_size
        chosen = self.chosen or {}
        before = for_images(
            self.dataset,
            Images(len(data), height * width),
            self.spec,
            chosen.get("steps"),
            compared=can_share(self.own_encoder),
        )
        for name in chosen:
            phase, _, of_phase = name.partition(".")
            if of_phase and phase in _names(recipe(self.dataset)) and phase not in _names(before):
                raise ArgumentError(
                    f"{flag(name)} is for the phase {phase}, which a run with these images and"
                    f" latent variables does not have: {data.name} has {len(data):,} images"
                )
        return fitting(overridden(self._of_run(before), chosen), self.own_encoder)[0]

    def notice(self) -> str:
        config: Any = super().config()
        return "\n".join(filter(None, [self._of_recipe(), fitting(config, self.own_encoder)[1]]))

    def _of_recipe(self) -> str:
        first, *others = RECIPES[self.dataset]
        if self.recipe is not None or not others or self.awaits_images:
            return ""
        there = " and ".join(f"--recipe {name} ({ABOUT[name]})" for name in others)
        return f"recipe: {first} ({ABOUT[first]}), since none was named; there is also {there}"


def flags_of(
    config: TrainConfig, phases: Sequence[PhaseConfig], kind: type[TrainFlags] = TrainFlags
) -> TrainFlags:
    """The flags whose defaults are these settings; those of a phase have its name before theirs."""
    kinds = []
    for name, _, settings in phases:
        if name is not None:
            own = [(each, _HINTS[each], getattr(settings, each)) for each in PHASE_SETTINGS]
            about = (
                f"The phase {name} alone; without {name}. before its name a flag is for all phases."
            )
            of_phase = make_dataclass(name, own, frozen=True, namespace={"__doc__": about})
            kinds.append((name, of_phase, field(default=of_phase())))
    flags: Any = kind
    if kinds:
        flags = make_dataclass(kind.__name__, kinds, bases=(kind,), frozen=True)
    return flags(**{**vars(config), "phases": ()})  # type: ignore[no-any-return]


def _names(config: TrainConfig) -> list[str]:
    return [phase.name for phase in config.phases]


class Train(Command):
    """Train a model, evaluate it and draw its figures.

    To go on with a run that was stopped: fastjvae train --resume RUN [--steps STEPS]

    To train several seeds and compare them: fastjvae train DATASET --seeds 0..9
    """

    config: Any

    @classmethod
    def flags(cls) -> type:
        return TrainFlags

    @classmethod
    def flag_names(cls) -> list[str]:
        recipes = [config for each in RECIPES.values() for config in each.values()]
        phases = {name for config in recipes for name in _names(config)}
        own = [f"{phase}.{setting}" for phase in sorted(phases) for setting in PHASE_SETTINGS]
        return [*super().flag_names(), *map(flag, own)]

    @classmethod
    def defaults(cls, dataset: DatasetName, recipe_name: str | None, is_named: bool) -> Any:
        """The flags of a data set; its first recipe stands in for one that it does not have.

        That it is missing is an error of ``TrainFlags``, once the data set has been chosen.
        """
        recipes: dict[Any, TrainConfig] = {**RECIPES[dataset]}
        config = recipes.get(recipe_name, recipe(dataset))
        return flags_of(config, config.phase_configs if is_named else (), cls.flags())

    @classmethod
    def about(cls, dataset: DatasetName) -> str:
        """A line about a data set and its first recipe."""
        of_mnist = "" if "paper" in RECIPES[dataset] else " for MNIST"  # TrainConfig's defaults
        setting = _SETTINGS.get(dataset, f", with the paper's setting{of_mnist}")
        return f"{FACTS[dataset].description}{setting}"

    @classmethod
    def grammar(cls, words: Sequence[str]) -> Any:
        """This class with a subcommand for each data set."""
        recipe_name = _recipe_in(words)
        subcommands = []
        for name in RECIPES:
            # The flags of phases are many, and most command lines need none.
            default = cls.defaults(name, recipe_name, is_named=name in words)
            settings = subcommand(name, default=default, description=cls.about(name))
            subcommands.append(Annotated[type(default), settings])
        union: Any = Union[tuple(subcommands)]  # noqa: UP007  made from a tuple, for tyro
        config = {"config": Annotated[union, arg(name="")]}
        return type(cls.__name__, (cls,), {"__annotations__": config, "__doc__": cls.__doc__})

    def settled(self, given: Collection[str]) -> Self:
        if {"--seed", "--seeds"} <= set(given):
            raise ArgumentError(
                "--seed is for one run and --seeds for several: give one of the two"
            )
        names = [word.removeprefix("--").replace("-", "_") for word in given]
        return dataclasses.replace(self, config=self.config.settled(names))

    def paths(self) -> dict[str, str]:
        """The paths among the settings, whole: a run can be resumed from another folder."""
        return {
            name: str(Path(value).absolute())
            for name in ("data_root", "labels", "start_from")
            if (value := getattr(self.config, name, None)) is not None
        }

    def run(self) -> int:
        here = self.paths()
        config = dataclasses.replace(self.config.config(), **here)

        def fitted(data: ImageData) -> RunConfig:
            made: Any = self.config.fitted(data)
            return dataclasses.replace(made, **here)  # type: ignore[no-any-return]

        later, notice = fitted if self.config.awaits_images else None, self.config.notice()
        if self.config.seeds is not None:
            seeds = parse_seeds(self.config.seeds)
            return train_seeds(config, seeds, notice, later, self.config.jobs)
        return train_run(config, RunFolder(config.run_folder), notice=notice, fitted=later)


def _recipe_in(words: Sequence[str]) -> str | None:
    """The recipe that is named last; the parser is built with it, and then reads it too."""
    name = None
    for word, following in zip(words, [*words[1:], None], strict=False):  # words may be none
        flag, equals, value = word.partition("=")
        if flag == "--recipe":
            name = value if equals else following
    return name
