"""Settings of phases: how steps are shared out, and what a flag without a phase's name means."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from tiny_runs import SHARED

from fastjvae.errors import ArgumentError
from fastjvae.training.settings.objective import CapacityConfig, ObjectiveConfig
from fastjvae.training.settings.overrides import overridden
from fastjvae.training.settings.phases import PHASE_SETTINGS, Phase, shared_out
from fastjvae.training.settings.recipes import recipe
from fastjvae.training.settings.run import RunConfig
from fastjvae.training.settings.saved import config_from_dict
from fastjvae.training.settings.train import TrainConfig

GROWN = CapacityConfig(5.0, 5.0, 1, 30.0)


def two_phases(**settings: Any) -> TrainConfig:
    types = Phase("types", 70, batch_size=32, refits=(20,), **SHARED)  # type: ignore[arg-type]
    return TrainConfig("digits", **settings, phases=(types, Phase("style", 100)))


def steps_of(config: TrainConfig) -> dict[str, int]:
    return {phase.name: phase.steps for phase in config.phases}


def of_phase(config: TrainConfig, name: str) -> TrainConfig:
    return next(p.config for p in config.phase_configs if p.name == name)


def test_a_phase_may_differ_in_all_that_trains_a_model():
    def names(kind: type) -> set[str]:
        return {field.name for field in dataclasses.fields(kind)}

    of_objective = names(ObjectiveConfig) - names(RunConfig)
    of_model_and_evaluation = {"temperature", "channel_reduction"}
    further = {"steps", "batch_size", "lr", "warmup", "accumulate"}
    assert set(PHASE_SETTINGS) == of_objective - of_model_and_evaluation | further


@pytest.mark.parametrize(
    ("steps", "right"),
    [
        (170, {"types": 70, "style": 100}),
        (17, {"types": 7, "style": 10}),
        (1_701, {"types": 700, "style": 1_001}),
        (2, {"types": 1, "style": 1}),
        (1, {"style": 1}),
    ],
)
def test_phases_keep_their_shares_of_the_whole_run(steps: int, right: dict[str, int]):
    config = two_phases()
    assert config.steps == 170
    shorter = dataclasses.replace(config, steps=steps)
    assert (shorter.steps, steps_of(shorter)) == (steps, right)
    assert overridden(config, {"steps": steps}) == shorter


def test_every_step_is_of_some_phase():
    phases = [Phase(name, steps) for name, steps in (("a", 1), ("b", 5), ("c", 3))]
    for steps in range(1, 40):
        assert sum(phase.steps for phase in shared_out(phases, steps)) == steps


def test_json_has_names_and_differences():
    config = two_phases(lr=1e-3)
    values = json.loads(json.dumps(config.to_dict()))
    assert values["phases"] == [
        {"name": "types", "steps": 70, "batch_size": 32, "refits": [20], **SHARED},
        {"name": "style", "steps": 100},
    ]
    assert config_from_dict(values) == TrainConfig.from_dict(values) == config
    assert "phases" not in TrainConfig("digits").to_dict()


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("types", "types"), "phases must have different names, got types, types"),
        (("types", "a b"), "the name of a phase must be a word such as types, got 'a b'"),
    ],
)
def test_phases_have_names_of_their_own(names: tuple[str, str], sentence: str):
    with pytest.raises(ArgumentError, match=sentence):
        TrainConfig("digits", phases=tuple(Phase(name, 3) for name in names))


def test_a_bare_name_sets_every_phase_and_a_phases_name_one():
    config = overridden(two_phases(), {"lr": 2e-3, "types.warmup": 7, "augment": 0.1})
    types, style = of_phase(config, "types"), of_phase(config, "style")
    assert (types.lr, types.warmup, types.augment) == (2e-3, 7, 0.1)
    assert (style.lr, style.warmup, style.augment) == (2e-3, 0, 0.1)
    own = overridden(two_phases(), {"lr": 2e-3, "types.lr": 3e-3})
    assert (of_phase(own, "types").lr, of_phase(own, "style").lr) == (3e-3, 2e-3)


def test_a_part_of_a_setting_leaves_its_rest():
    config = two_phases(cont_capacity=GROWN)
    changed = overridden(config, {"cont_capacity.gamma": 9.0, "types.cont_capacity.hi": 8.0})
    assert of_phase(changed, "types").cont_capacity == CapacityConfig(5.0, 8.0, 1, 9.0)
    assert of_phase(changed, "style").cont_capacity == CapacityConfig(5.0, 5.0, 1, 9.0)


def test_a_bare_name_is_for_the_phases_that_heed_it():
    settings = {"group": 4, "neighbours": 9, "overclusters": 8, "refits": (3, 5)}
    config = overridden(two_phases(), settings)
    types, style = of_phase(config, "types"), of_phase(config, "style")
    for name, value in settings.items():
        assert getattr(types, name) == value
        assert getattr(style, name) == getattr(TrainConfig("digits"), name)


def test_an_objective_for_all_phases():
    config = overridden(two_phases(), {"objective": "beta", "beta": 8.0})
    assert {(p.config.objective, p.config.beta) for p in config.phase_configs} == {("beta", 8.0)}
    one = overridden(two_phases(), {"style.objective": "beta", "style.beta": 8.0})
    assert (of_phase(one, "types").objective, of_phase(one, "style").beta) == ("joint", 8.0)
    assert config_from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_the_length_of_a_phase_changes_that_of_the_run():
    config = overridden(two_phases(), {"types.steps": 5})
    assert (config.steps, steps_of(config)) == (105, {"types": 5, "style": 100})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"beta": 3.0}, "^--beta is for --objective beta or beta-tc, this run has --objective"),
        ({"style.beta": 3.0}, "in the phase style: --beta is for --objective beta"),
        ({"style.refits": (3,)}, "in the phase style: --refits is for --disc-measure shared"),
        ({"group": 8}, "in the phase types: --neighbours must be 0 or at least 7"),
        ({"batch_size": 5}, "in the phase types: --batch-size must be a multiple of --group 2"),
        ({"types.lr": -1.0}, "in the phase types: --lr must be a finite number above 0, got -1.0"),
        (
            {"steps": 10, "style.steps": 5},
            "--steps is for the whole run and --style.steps for one phase: give one of the two",
        ),
    ],
)
def test_settings_that_no_phase_can_have(settings: dict[str, Any], sentence: str):
    with pytest.raises(ArgumentError, match=sentence):
        overridden(two_phases(), settings)


def test_a_run_in_one_piece_takes_bare_names():
    config = TrainConfig("digits")
    changed = overridden(config, {"lr": 2e-3, "cont_capacity.hi": 9.0})
    assert changed.lr == 2e-3
    assert changed.cont_capacity == dataclasses.replace(config.cont_capacity, hi=9.0)
    with pytest.raises(ArgumentError, match="--beta is for"):
        overridden(config, {"beta": 3.0})


@pytest.mark.parametrize("name", ["digits", "mnist", "fashion-mnist"])
def test_recipes_end_with_the_papers_objective(name: Any):
    config = recipe(name, "default" if name == "digits" else "fast")
    types, style = config.phase_configs
    assert (types.name, style.name) == ("types", "style")
    assert types.config.disc_measure == "shared"
    assert all(0 < step < types.config.steps for step in types.config.refits)
    last = style.config
    paper = TrainConfig(name)
    for setting in ("objective", "disc_measure", "group", "augment", "batch_size", "cont", "disc"):
        assert getattr(last, setting) == getattr(paper, setting), setting
    for capacity in (last.cont_capacity, last.disc_capacity):
        assert capacity.start + capacity.iters <= last.steps
