from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import tiny_config

from fastjvae.cli.parser import parse
from fastjvae.errors import ArgumentError, RunError
from fastjvae.training.infogan.settings import InfoGANConfig
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.objective import CapacityConfig, FactorConfig
from fastjvae.training.settings.recipes import recipe
from fastjvae.training.settings.saved import config_from_dict
from fastjvae.training.settings.train import TrainConfig

# A value that a setting cannot have, in JSON and in Python, and what the sentence says of it.
WRONG: list[tuple[str, Any, str]] = [
    ("dataset", "x", "--dataset must be one of digits, .* got 'x'"),
    ("objective", "x", "--objective must be one of joint, .* got 'x'"),
    ("precision", ["fp32"], r"--precision must be one of .* got \['fp32'\]"),
    ("channel_reduction", None, "--channel-reduction must be one of mean, sum, got None"),
    ("steps", float("nan"), "--steps must be a whole number, got nan"),
    ("steps", float("inf"), "--steps must be a whole number, got inf"),
    ("steps", 10**30, "--steps must be at most 1000000000000, got 1000"),
    ("seed", 0.5, "--seed must be a whole number, got 0.5"),
    ("seed", True, "--seed must be a whole number, got True"),
    ("seed", 2**31, "--seed must be at most 2147483647"),
    ("cont", 2**31, "--cont must be at most 100000"),
    ("disc", 10, r"--disc must be a list such as \[10\], got 10"),
    ("disc", "10", "--disc must be a list, got '10'"),
    ("disc", [3, 2**40], "--disc must be at most"),
    (
        "augment",
        10**400,
        r"--augment must be a finite number of at least 0, got 10+\[\.\.\.\]0+$",
    ),
    ("augment", 10**5000, "--augment must be a finite number .* type int that is too long to show"),
    ("lr", "1e-3", "--lr must be a finite number above 0, got '1e-3'"),
    ("lr", True, "--lr must be a finite number above 0, got True"),
    ("grid", [5], "--grid must be text, got 5"),
    ("image_size", [32], r"--image-size must be a list of 2, got \[32\]"),
    ("image_size", [100_000, 100_000], "--image-size must be at most 4096"),
    ("channels", True, "--channels must be one of"),
    ("data_root", 5, "--data-root must be text, got 5"),
    ("device", 2**63, "--device must be text"),
    ("timeout", "x", "--timeout must be a finite number above 0, got 'x'"),
    ("out", "", "--out must be text that is not empty, got ''"),
    ("compile", "no", "--compile must be true or false, got 'no'"),
    ("cuda_graph", 1, "--cuda-graph must be true or false, got 1"),
    ("accumulate", 2**32, "--accumulate must be at most"),
    ("log_every", 10**12, "--log-every must be at most"),
    ("cont_capacity", 5, "--cont-capacity must be a CapacityConfig, got 5"),
    ("cont_capacity", {"lo": 0}, "the setting cont_capacity lacks hi"),
    (
        "cont_capacity",
        {"lo": 0, "hi": 5, "iters": 10**30, "gamma": 1},
        "--cont-capacity.iters must be at most",
    ),
    (
        "disc_capacity",
        {"lo": 0, "hi": float("inf"), "iters": 5, "gamma": 1},
        "--disc-capacity.hi must be a finite number of at least 0, got inf",
    ),
]


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return tiny_config(tmp_path / "squares.npz")


@pytest.mark.parametrize(
    ("name", "value", "message"), WRONG, ids=[f"{row[0]}-{n}" for n, row in enumerate(WRONG)]
)
def test_a_setting_has_its_type_and_bounds_wherever_it_comes_from(
    config: TrainConfig, tmp_path: Path, name: str, value: Any, message: str
):
    values = {**config.to_dict(), name: value}
    for make in (
        lambda: dataclasses.replace(config, **{name: value}),
        lambda: config_from_dict(values),
    ):
        with pytest.raises(ArgumentError, match=message) as error:
            make()
        assert len(str(error.value)) < 250
    if isinstance(value, int) and value > 10**400:
        return  # which Python writes as no JSON
    run = RunFolder(tmp_path / "run")
    run.create(config, {})
    run.config_file.write_text(json.dumps({"training": values}))
    with pytest.raises(RunError, match=message) as error:
        run.read_config()
    assert str(run.config_file) in str(error.value)


@pytest.mark.parametrize("values", [5, [], "x", None, {"method": "x"}, {"lr": 1.0}])
def test_settings_of_no_kind_of_run(values: Any):
    with pytest.raises(ArgumentError, match=r"settings|method of a run"):
        config_from_dict(values)


def test_infogans_settings_are_checked_too():
    values = {**InfoGANConfig("digits").to_dict(), "generator_lr": 0}
    with pytest.raises(
        ArgumentError, match="--generator-lr must be a finite number above 0, got 0"
    ):
        config_from_dict(values)


def test_values_get_the_form_of_their_type():
    config = TrainConfig(
        "digits",
        cont=np.int64(3),  # type: ignore[arg-type]
        disc=[4, 2],  # type: ignore[arg-type]
        lr=np.float32(0.5),  # type: ignore[arg-type]
        epochs=3.0,  # type: ignore[arg-type]
        out=Path("here"),  # type: ignore[arg-type]
        cont_capacity={"lo": 0, "hi": 5.0, "iters": 1e4, "gamma": 30},  # type: ignore[arg-type]
    )
    assert (config.cont, config.disc, config.epochs, config.out) == (3, (4, 2), 3, "here")
    assert config.cont_capacity == CapacityConfig(0, 5.0, 10_000, 30)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == dataclasses.replace(
        config, out=None
    )


# --- settings of another objective ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--beta", "4"], "--beta is for --objective beta or beta-tc, .* --objective joint"),
        (["--factor.width=8"], "--factor is for --objective factor, .* --objective joint"),
        (["--total-capacity.hi", "3"], "--total-capacity is for --objective cc-beta"),
        (
            ["--objective", "beta", "--cont-capacity.hi", "3"],
            "--cont-capacity is for --objective joint, .* --objective beta",
        ),
        (["--overclusters", "5"], "--overclusters is for --disc-measure shared, .* kl"),
    ],
)
def test_a_flag_that_the_objective_does_not_heed(flags: list[str], message: str):
    with pytest.raises(ArgumentError, match=message):
        parse(["train", "mnist", *flags])


def test_what_a_recipe_sets_is_no_mistake_under_another_objective():
    flags = ["train", "digits", "--objective", "beta", "--beta", "8", "--overclusters", "0"]
    config = parse([*flags, "--disc-measure=kl"][:-1]).config.config()
    assert (config.objective, config.beta) == ("beta", 8.0)
    dataclasses.replace(recipe("celeba"), objective="beta", beta=2.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"beta": 8.0},
        {"objective": "factor", "beta": 8.0},
        {"factor": FactorConfig(gamma=30.0)},
        {"objective": "beta", "total_capacity": CapacityConfig(0.0, 1.0, 1, 1.0)},
    ],
)
def test_a_setting_in_python_that_the_objective_does_not_heed(changes: dict[str, Any]):
    with pytest.raises(ArgumentError, match=r"is for --objective .*, this run has --objective"):
        TrainConfig("mnist", **changes)


def test_a_run_from_before_that_was_a_mistake():
    values = {**recipe("mnist").to_dict(), "beta": 8.0}
    assert config_from_dict(values) == recipe("mnist")


# --- settings that this version does not know -----------------------------------------------------


def test_unknown_settings_are_named_and_stay(tmp_path: Path, config: TrainConfig):
    run = RunFolder(tmp_path / "run")
    run.create(config, {"notes": "mine"})
    whole = json.loads(run.config_file.read_text())
    whole["training"]["mood"] = {"good": [1]}
    whole["training"]["cont_capacity"]["colour"] = "red"
    run.config_file.write_text(json.dumps(whole))
    with pytest.warns(
        UserWarning, match=r"config.json has settings .* not know.*: cont_capac.*mood"
    ):
        assert run.read_config() == config
    longer = dataclasses.replace(config, steps=99)
    with pytest.warns(UserWarning, match="mood"):
        run.change_config(longer)
    whole["begun"] = {"steps": whole["training"]["steps"]}
    whole["training"]["steps"] = 99
    assert json.loads(run.config_file.read_text()) == whole
    described = json.loads(json.dumps(run.description(longer, {"versions": {}})))
    assert described == {**whole, "versions": {}}
    with pytest.raises(ArgumentError, match="settings has no 'mood'"):
        TrainConfig.from_dict({**config.to_dict(), "mood": 3})
