"""Reads the command line: which command, and its flags; wrong usage becomes one sentence."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Union

import tyro
from tyro.conf import FlagCreatePairsOff, OmitSubcommandPrefixes, subcommand

from fastjvae.cli.command import Command
from fastjvae.cli.edit import Edit
from fastjvae.cli.evaluate import Evaluate
from fastjvae.cli.explore import Explore
from fastjvae.cli.export import Export
from fastjvae.cli.figures import FIGURES
from fastjvae.cli.figures.run import Figures
from fastjvae.cli.infogan import InfoGAN
from fastjvae.cli.resume import Resume
from fastjvae.cli.spellings import as_tyro_reads
from fastjvae.cli.train import Train
from fastjvae.cli.tune import Tune
from fastjvae.cli.usage import usage_sentence
from fastjvae.errors import ArgumentError, did_you_mean
from fastjvae.training.settings.recipes import RECIPES

COMMANDS: tuple[type[Command], ...] = (
    Train,
    Tune,
    InfoGAN,
    Evaluate,
    Figures,
    Explore,
    Edit,
    Export,
)

_ABOUT = "JointVAE (Dupont 2018): continuous and discrete factors of variation without labels"
_COMMANDS = {command.name: command for command in COMMANDS}
_FIGURES = {figure.name: figure for figure in FIGURES}


def parse(argv: Sequence[str]) -> Command:
    """Parse the command line into the command that it asks for; wrong usage becomes one sentence.

    ``train --resume RUN`` names no data set, and ``figures FIGURE`` names one figure: they have
    parsers of their own.

    Raises:
        ArgumentError: wrong usage; names the flag, what was given and what is right.
        SystemExit: help was asked for, and printed.
    """
    words = as_tyro_reads(argv)
    _check_figure(words)
    first, second = [*words, "", ""][:2]
    given = {word.split("=")[0] for word in words}
    kind: type[Command] | None = _COMMANDS.get(first)
    read = 1  # words that are not left to the parser
    if kind is Train and "--resume" in given:
        kind = grammar = Resume
    elif kind is Figures and second in _FIGURES:
        kind, grammar = _FIGURES[second], _choice(FIGURES, words)
    else:
        read, grammar = 0, _choice(COMMANDS, words)
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            command: Command = tyro.cli(
                grammar,
                prog=" ".join(["fastjvae", *words[:read]]),
                args=words[read:],
                description=None if read else _ABOUT,
                config=(FlagCreatePairsOff, OmitSubcommandPrefixes),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        known = [*_COMMANDS, *RECIPES, *_FIGURES]
        named = [word for word in words if not word.startswith("-")][:2]
        usage = " ".join(["fastjvae", *(word for word in named if word in known)])
        flags = kind.flag_names() if kind else ()
        sentence = usage_sentence(box.getvalue(), words, [*known, *flags])
        raise ArgumentError(f"{sentence}; see {usage} --help") from None
    return command.settled(given)


def _choice(commands: Sequence[type[Command]], words: Sequence[str]) -> Any:
    """The grammar of a choice of commands, for tyro."""
    choices = [Annotated[each.grammar(words), subcommand(each.name)] for each in commands]
    return Union[tuple(choices)]  # noqa: UP007  made from a tuple


def _check_figure(words: Sequence[str]) -> None:
    """Refuse ``figures WORD`` where WORD is neither a figure nor a model that is there."""
    if words[:1] != ["figures"] or len(words) < 2:
        return
    word, *rest = words[1:]
    if word.startswith("-") or word in _FIGURES or Path(word).exists():
        return
    hint = did_you_mean(word, _FIGURES)
    if hint or (rest and not rest[0].startswith("-") and rest[0] not in RECIPES):
        hint = hint or f"; figures are {', '.join(_FIGURES)}"
        raise ArgumentError(f"there is no figure and no run folder {word!r}{hint}")
