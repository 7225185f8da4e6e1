"""Flags, recipes, help, and wrong usage."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from tiny_runs import fails

from fastjvae.cli import main
from fastjvae.cli.parser import parse
from fastjvae.data import DATASETS
from fastjvae.training.settings.recipes import RECIPES, recipe
from fastjvae.training.settings.train import TrainConfig


def _config(*argv: str) -> TrainConfig:
    """The settings that a command line of train asks for."""
    config: TrainConfig = parse(["train", *argv]).config.config()
    return config


def test_a_recipe_is_the_defaults_that_other_flags_override(monkeypatch: pytest.MonkeyPatch):
    paper = recipe("mnist")
    other = dataclasses.replace(paper, lr=0.25, disc=(3, 2), steps=7)
    monkeypatch.setitem(RECIPES["mnist"], "default", other)
    assert _config("mnist") == _config("mnist", "--recipe", "paper") == paper
    assert _config("mnist", "--recipe", "default") == other
    changed = dataclasses.replace(other, lr=0.5)
    assert _config("mnist", "--recipe=default", "--lr", "0.5") == changed
    assert _config("mnist", "--lr", "0.5", "--recipe", "default") == changed
    named = "runs --recipe default"  # no flag, but words of a folder's name
    assert _config("mnist", "--out", named) == dataclasses.replace(paper, out=named)
    assert _config("digits", "--recipe", "default") == recipe("digits")


def test_data_sets_outside_the_paper_say_what_they_have(capsys: pytest.CaptureFixture[str]):
    message = fails(["train", "digits", "--recipe", "paper"], 2, capsys)
    assert "digits has no recipe 'paper', only default; see fastjvae train digits" in message
    for name in ("images", "arrays"):
        message = fails(["train", name, "--recipe", "fast"], 2, capsys)
        assert f"{name} has no recipe 'fast', only default, paper" in message


def test_a_recipe_that_nothing_has(capsys: pytest.CaptureFixture[str]):
    for argv in (["--recipe", "slow"], ["--recipe=slow"]):
        assert "'slow'" in fails(["train", "mnist", *argv], 2, capsys)
    assert "recipe" in fails(["train", "mnist", "--recipe"], 2, capsys)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train", "digits", "--foo", "3"], "Unrecognized options: --foo"),
        (["train", "digits", "--lr", "fast"], "--lr"),
        (["train", "digits", "--steps", "many"], "--steps takes INT, got many; see"),
        (["train", "faces"], "faces"),
        (["trian"], r"trian \(did you mean train"),
        (["train", "mnits"], r"mnits \(did you mean mnist"),
        (["train", "mnist", "--sedes", "0..3"], r"--sedes, 0..3 \(did you mean --seeds\?\); see"),
        (["evaluate", "run", "--jsn"], r"--jsn \(did you mean --json"),
        (["--versoin"], "--versoin; see fastjvae --help"),
        ([], "train"),
        (["train", "digits", "--disc", "1"], "discrete sizes must be integers of at least 2"),
        (["train", "digits", "--cont", "0", "--disc"], "got neither"),
        (["train", "digits", "--cont-capacity.hi", "-5"], "hi must .* got -5.0"),
        (["train", "digits", "--objective", "factor", "--factor.width", "0"], "width .* got 0"),
        (["infogan", "digits", "--noise-units", "-1"], "--noise-units must be at least 0, got -1"),
        (["infogan", "digits", "--beta", "2"], "options: --beta"),
        (["infogan", "digits", "--seed", "1", "--seeds=0..3"], "--seed is for one run"),
        (["train", "digits", "--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (
            ["train", "digits", "--device", "abacus"],
            "device must be cpu, .* or auto, got .abacus",
        ),
        (["train", "digits", "--image-size", "30", "30"], "30x30 do not fit .* 28x28 and 32x32"),
        (["train", "images"], "--data-root"),
        (["evaluate"], "STR|RUN"),
        (["export", "run", "--to", "onyx"], "onyx"),
        (["train", "--resume"], "--resume"),
        (["train", "--resume", "x", "--lr", "1"], "--lr"),
        (["train", "--resume", "x", "--seeds", "1"], "Unrecognized options: --seeds"),
        (["train", "--resume", "x", "--step=9"], r"--step=9 \(did you mean --steps"),
        (["train", "digits", "--seeds"], "--seeds"),
        (["train", "digits", "--seeds", "3..1"], r"as 1\.\.3 does, got '3\.\.1'; see .* digits"),
        (["train", "digits", "--seeds=a"], "such as 0..9 or 0,3,7, got 'a'"),
        (["train", "digits", "--seed", "1", "--seeds=0..3"], "--seed is for one run"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    argv: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert re.search(message, fails(argv, 2, capsys))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--help"], ["train", "evaluate", "figures", "export"]),
        (["train", "--help"], list(DATASETS)),
        (["train", "mnist", "--help"], ["--recipe", "appendix C of the paper"]),
        (["train", "sprites", "--help"], ["--grid", "x=0..31/4", "300000", "(default: 30)"]),
        (["train", "--help"], ["train --resume RUN", "train DATASET --seeds 0..9"]),
        (["train", "mnist", "--help"], ["--cont-capacity.iters", "25000", "nats", "--data-root"]),
        (["train", "mnist", "--help"], ["--seeds SEEDS", "runs/DATASET-seeds/seedN"]),
        (["train", "mnist", "--help"], ["--factor.gamma", "--factor.width", "beta-tc"]),
        (["infogan", "--help"], ["digits", "mnist", "train --resume RUN"]),
        (["infogan", "mnist", "--help"], ["--noise-units", "--generator-lr", "--seeds SEEDS"]),
        (["evaluate", "--help"], ["--json"]),
    ],
)
def test_help_explains(argv: list[str], words: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert not stop.value.code
    out = capsys.readouterr().out
    assert all(word in out for word in words)
