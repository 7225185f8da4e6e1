"""The commands and their flags, as tyro reads them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import tyro
from tyro.conf import FlagCreatePairsOff, OmitSubcommandPrefixes, Positional, arg, subcommand

from fastjvae.cli.figure_commands import FIGURES, Edit, FigureCommand, ModelAndData
from fastjvae.cli.usage import did_you_mean, usage_sentence
from fastjvae.cli.words import as_read
from fastjvae.data.facts import FACTS
from fastjvae.errors import ArgumentError
from fastjvae.metrics.scores import Scores
from fastjvae.training.fields import check_heeded
from fastjvae.training.infogan.settings import InfoGANConfig
from fastjvae.training.recipes import RECIPES, RecipeName, recipe
from fastjvae.training.run_settings import RunConfig
from fastjvae.training.seeds import parse_seeds
from fastjvae.training.settings import TrainConfig

_ABOUT = "JointVAE (Dupont 2018): continuous and discrete factors of variation without labels"
# Where the first recipe of a data set is neither its own setting of the paper nor that for MNIST.
_SETTINGS = {
    "digits": "",
    "sprites": ", with the paper's setting for dSprites",
    "images": ", with the paper's setting for CelebA",
}


@dataclass(frozen=True)
class SeedsFlag:
    """The flag that makes several runs; to be mixed into the settings of one."""

    seeds: Annotated[str | None, arg(metavar="SEEDS")] = None
    """instead of --seed: train each of these seeds, such as 0..9 or 0,3,7, in turn or one per GPU,
    and compare them; their run folders are OUT/seedN, by default runs/DATASET-seeds/seedN, and the
    same command again goes on where it stopped"""

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[misc]
        if self.seeds is not None:
            parse_seeds(self.seeds)

    def config(self) -> RunConfig:
        """The settings alone."""
        kind: type[RunConfig] = InfoGANConfig if isinstance(self, InfoGANConfig) else TrainConfig
        names = [field.name for field in dataclasses.fields(kind)]
        return kind(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class TrainFlags(SeedsFlag, TrainConfig):
    """The settings of a run, and the flags that give them their defaults or make several runs."""

    recipe: RecipeName | None = None
    """the set of defaults that the other flags override: paper, appendix C of the paper, for the
    data sets in it, and default for the others"""

    def __post_init__(self) -> None:
        super().__post_init__()
        recipe(self.dataset, self.recipe)


@dataclass(frozen=True)
class InfoGANFlags(SeedsFlag, InfoGANConfig):
    """The settings of a run of InfoGAN, and the flag that makes several runs of them."""


InfoGANCommand: Any = Union[  # noqa: UP007  made from a tuple, for tyro
    tuple(
        Annotated[
            InfoGANFlags,
            subcommand(
                name,
                default=InfoGANFlags(
                    **{
                        field.name: getattr(recipe(name), field.name)
                        for field in dataclasses.fields(RunConfig)
                    }
                ),
                description=FACTS[name].description,
            ),
        ]
        for name in RECIPES
    )
]


@dataclass(frozen=True)
class Train:
    """Train a model, evaluate it and draw its figures.

    To go on with a run that was stopped: fastjvae train --resume RUN [--steps STEPS]

    To train several seeds and compare them: fastjvae train DATASET --seeds 0..9
    """

    config: Any  # TrainFlags with the defaults of a recipe, of _train_command


@dataclass(frozen=True)
class TrainInfoGAN:
    """Train InfoGAN, the paper's comparison, with the same networks; evaluate it, draw its figures.

    The generator becomes the decoder of the saved model and Q its encoder, so that evaluate,
    figures and export take the run as any other.

    To go on with a run that was stopped: fastjvae train --resume RUN [--steps STEPS]
    """

    config: Annotated[InfoGANCommand, arg(name="")]


@dataclass(frozen=True)
class Resume:
    """Go on with a training run as if it had never stopped."""

    resume: Annotated[str, arg(metavar="RUN")]
    """the run folder"""
    steps: int | None = None
    """train to this many steps instead of to where the run was to end"""
    data_root: str | None = None
    """where the data lie now, if they were moved"""
    device: str | None = None
    """cpu, cuda, ...; by default the run's own choice"""
    timeout: float | None = None
    """several processes: seconds to wait for one that does not answer"""


@dataclass(frozen=True)
class Evaluate(ModelAndData):
    """Print what a model has learned, as a table or as JSON."""

    split: Literal["train", "test"] = "test"
    """which part of the data set, where it has two"""
    scores: Scores = "fast"
    """data with factors: fast are Kim & Mnih's score, the beta-VAE metric, MIG and SAP; all are
    also DCI, which grows 100 trees for every value of every factor"""
    json: bool = False
    """print JSON instead of a table"""


@dataclass(frozen=True)
class Figures(ModelAndData):
    """Draw reconstructions, traversals, samples per category and the growth of KL.

    To draw one figure: fastjvae figures FIGURE --help, where FIGURE is reconstructions, traversal,
    grid, side-by-side, samples, metrics, kl-growth, ranked, azimuth or animation
    """

    out: str | None = None
    """folder for the figures; by default figures/ in the run folder"""


@dataclass(frozen=True)
class Export:
    """Write a model in another form."""

    run: Positional[Annotated[str, arg(metavar="RUN")]]
    """a run folder, or any model that fastjvae or the published code saved"""
    to: Literal["published", "safetensors", "torch"]
    """published: model.pt and specs.json of the published code; safetensors: config.json and
    model.safetensors; torch: encoder.pt2 and decoder.pt2 of torch.export"""
    out: str | None = None
    """folder; by default export-FORM in the run folder"""


def _command(recipe_name: str | None) -> Any:
    """The grammar of the command line, for tyro, with a recipe's settings as defaults of train."""
    return Union[  # noqa: UP007  a value for tyro, not an annotation
        Annotated[_train_command(recipe_name), subcommand("train")],
        Annotated[TrainInfoGAN, subcommand("infogan")],
        Annotated[Evaluate, subcommand("evaluate")],
        Annotated[Figures, subcommand("figures")],
        Annotated[Edit, subcommand("edit")],
        Annotated[Export, subcommand("export")],
    ]


def _train_command(recipe_name: str | None) -> type[Train]:
    """``Train`` with a subcommand for each data set; its first recipe stands in for a missing one.

    That it is missing is an error of ``TrainFlags``, once the data set has been chosen.
    """
    subcommands = []
    for name, recipes in RECIPES.items():
        config = next((c for each, c in recipes.items() if each == recipe_name), recipe(name))
        default = TrainFlags(**vars(config))
        of_mnist = "" if "paper" in recipes else " for MNIST"  # what TrainConfig has by default
        setting = _SETTINGS.get(name, f", with the paper's setting{of_mnist}")
        description = f"{FACTS[name].description}{setting}"
        subcommands.append(
            Annotated[TrainFlags, subcommand(name, default=default, description=description)]
        )
    configs: Any = Union[tuple(subcommands)]  # noqa: UP007  made from a tuple, for tyro
    return dataclasses.make_dataclass(
        "Train",
        [("config", Annotated[configs, arg(name="")])],
        bases=(Train,),
        namespace={"__doc__": Train.__doc__},
        frozen=True,
    )


def parse(argv: Sequence[str]) -> Any:
    """Parse the command line; wrong usage becomes one sentence.

    ``train --resume RUN`` names no data set, and ``figures FIGURE`` names one figure: they have
    parsers of their own.

    Raises:
        ArgumentError: wrong usage; names the flag, what was given and what is right.
        SystemExit: help was asked for, and printed.
    """
    argv = as_read(argv)
    _check_figure(argv)
    training = argv[:1] in (["train"], ["infogan"])
    flags = {word.split("=")[0] for word in argv} if training else set()
    if {"--seed", "--seeds"} <= flags:
        raise ArgumentError("--seed is for one run and --seeds for several: give one of the two")
    resuming = "--resume" in flags and argv[0] == "train"
    one_figure = argv[:1] == ["figures"] and argv[1:2] and argv[1] in FIGURES
    grammar, prog, rest = _command(_recipe_in(argv)), "fastjvae", argv
    if resuming or one_figure:
        grammar = Resume if resuming else FigureCommand
        prog, rest = f"fastjvae {argv[0]}", argv[1:]
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            command = tyro.cli(
                grammar,
                prog=prog,
                args=rest,
                description=None if resuming or one_figure else _ABOUT,
                config=(FlagCreatePairsOff, OmitSubcommandPrefixes),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        words = [word for word in argv if not word.startswith("-")][:2]
        usage = " ".join(["fastjvae", *(w for w in words if w in (*RECIPES, *FIGURES, *_NAMES))])
        sentence = usage_sentence(box.getvalue(), argv, _known_words(argv))
        raise ArgumentError(f"{sentence}; see {usage} --help") from None
    if isinstance(command, Train):
        names = {flag.removeprefix("--").replace("-", "_").split(".")[0] for flag in flags}
        check_heeded(command.config, names)
    return command


def _check_figure(argv: Sequence[str]) -> None:
    """Refuse ``figures WORD`` where WORD is neither a figure nor a model that is there."""
    if argv[:1] != ["figures"] or len(argv) < 2:
        return
    word, *rest = argv[1:]
    if word.startswith("-") or word in FIGURES or Path(word).exists():
        return
    hint = did_you_mean(word, FIGURES)
    if hint or (rest and not rest[0].startswith("-") and rest[0] not in RECIPES):
        hint = hint or f"; figures are {', '.join(FIGURES)}"
        raise ArgumentError(f"there is no figure and no run folder {word!r}{hint}")


def _known_words(argv: Sequence[str]) -> list[str]:
    """Commands, data sets, figures, and the flags of the command that is named."""
    kinds: dict[str, type] = {
        "train": Resume if "--resume" in argv else TrainFlags,
        "infogan": InfoGANFlags,
        "evaluate": Evaluate,
        "figures": FIGURES.get(argv[1], Figures) if len(argv) > 1 else Figures,
        "edit": Edit,
        "export": Export,
    }
    kind = kinds.get(argv[0]) if argv else None
    fields = dataclasses.fields(kind) if kind else ()
    flags = [f"--{field.name.replace('_', '-')}" for field in fields]
    return [*kinds, *RECIPES, *FIGURES, *flags]


def _recipe_in(argv: Sequence[str]) -> str | None:
    """The recipe that is named last; the parser is built with it, and then reads it too."""
    name = None
    for word, following in zip(argv, [*argv[1:], None], strict=False):
        flag, equals, value = word.partition("=")
        if flag == "--recipe":
            name = value if equals else following
    return name


_NAMES = ("train", "infogan", "evaluate", "figures", "edit", "export")
