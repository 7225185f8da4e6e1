"""Flags of phases on the command line, and the line about a recipe that nobody named."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_runs import fails

from fastjvae.cli import main
from fastjvae.cli import train as command
from fastjvae.cli.parser import parse
from fastjvae.training.settings.overrides import overridden
from fastjvae.training.settings.recipes import recipe
from fastjvae.training.settings.train import TrainConfig


def config_of(*argv: str) -> TrainConfig:
    config: TrainConfig = parse(["train", *argv]).config.config()
    return config


@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        ([], {}),
        (["--types.lr", "2e-3"], {"types.lr": 2e-3}),
        (["--types.lr=2e-3", "--lr", "1e-4"], {"types.lr": 2e-3, "lr": 1e-4}),
        (["--types.refits", "10,20"], {"types.refits": (10, 20)}),
        (["--refits"], {"refits": ()}),
        (["--style.cont-capacity.hi", "9"], {"style.cont_capacity.hi": 9.0}),
        (["--style.steps", "4"], {"style.steps": 4}),
        (["--steps", "17"], {"steps": 17}),
        (["--group", "8", "--neighbours", "9"], {"group": 8, "neighbours": 9}),
        (["--objective", "beta", "--beta", "3"], {"objective": "beta", "beta": 3.0}),
    ],
)
def test_flags_are_the_names_of_settings(flags: list[str], settings: dict[str, Any]):
    assert config_of("digits", *flags) == overridden(recipe("digits"), settings)
    fast = recipe("mnist", "fast")
    assert config_of("mnist", "--recipe", "fast", *flags) == overridden(fast, settings)


def test_other_flags_are_of_the_run():
    config = config_of("digits", "--seed", "4", "--disc", "5", "3", "--no-figures")
    assert (config.seed, config.disc, config.figures) == (4, (5, 3), False)
    assert config.phases == recipe("digits").phases


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["digits", "--types.lrr", "3"], "--types.lrr, 3 (did you mean --types.lr?)"),
        (["digits", "--types.lr", "x"], "--types.lr: could not convert string to float: 'x'"),
        (["digits", "--types.refits", "x"], "--types.refits takes training steps, such as 350"),
        (["digits", "--types.lr", "-1"], "--types.lr must be a finite number above 0, got -1.0"),
        (["mnist", "--types.lr", "3"], "--types.lr is for a recipe with the phase types"),
        (["digits", "--group", "8"], "in the phase types: --neighbours must be 0 or at least 7"),
        (["digits", "--epochs", "3"], "are counted in steps: give --steps instead of --epochs"),
        (["digits", "--steps", "9", "--types.steps", "3"], "give one of the two"),
        (["digits", "--beta", "3"], "--beta is for --objective beta or beta-tc, this run has"),
        (["digits", "--style.refits", "3"], "in the phase style: --refits is for --disc-measure"),
    ],
)
def test_wrong_flags_are_one_sentence(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert message in fails(["train", *argv], 2, capsys)


def test_help_shows_what_a_phase_has(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["train", "digits", "--help"])
    out = capsys.readouterr().out
    assert "--types.disc-measure" in out
    assert "--style.steps" in out
    with pytest.raises(SystemExit):
        main(["train", "celeba", "--help"])
    assert "--types." not in capsys.readouterr().out.replace("--types.lr sets", "")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "mnist",
            "recipe: paper (the paper's settings), since none was named; there is also --recipe"
            " fast (types, then style, in minutes)",
        ),
        ("mnist --recipe fast", ""),
        ("fashion-mnist", "recipe: paper (the paper's settings), since none"),
        ("celeba", ""),
        ("mnist --seeds 0,1", "recipe: paper"),
    ],
)
def test_a_recipe_that_nobody_named_is_named(
    words: str, line: str, monkeypatch: pytest.MonkeyPatch
):
    notices: list[str] = []
    monkeypatch.setattr(command, "train_run", lambda *_, notice, **__: notices.append(notice))
    monkeypatch.setattr(command, "train_seeds", lambda _, __, notice, *___: notices.append(notice))
    parse(["train", *words.split()]).run()
    assert [bool(notice) for notice in notices] == [bool(line)]
    assert notices[0].startswith(line)
