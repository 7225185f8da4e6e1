from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from fastjvae import (
    BetaObjective,
    BetaTCObjective,
    Capacity,
    CCBetaObjective,
    FactorObjective,
    JointObjective,
    SharedObjective,
)
from fastjvae.data import DATASETS, DatasetName
from fastjvae.errors import ArgumentError
from fastjvae.training.settings.objective import CapacityConfig, FactorConfig, build_objective
from fastjvae.training.settings.recipes import RECIPES, recipe
from fastjvae.training.settings.saved import config_from_dict
from fastjvae.training.settings.train import TrainConfig, build_model

# Appendix C of the paper: units and categories, lr, epochs, C_z, C_c, steps of their growth, gamma.
PAPER = {
    "mnist": (10, (10,), 5e-4, 100, 5.0, 5.0, 25_000, 30.0),
    "fashion-mnist": (10, (10,), 5e-4, 100, 5.0, 10.0, 50_000, 100.0),
    "chairs": (32, (2, 2, 2), 1e-4, 100, 30.0, 5.0, 100_000, 300.0),
    "celeba": (32, (10,), 5e-4, 100, 50.0, 10.0, 100_000, 100.0),
    "dsprites": (6, (3,), 5e-4, 30, 40.0, 1.1, 300_000, 150.0),
    "sprites": (6, (3,), 5e-4, 30, 40.0, 1.1, 300_000, 150.0),
}


@pytest.mark.parametrize(("dataset", "settings"), PAPER.items(), ids=PAPER)
def test_paper_settings_of_appendix_c(dataset: DatasetName, settings: tuple[Any, ...]):
    cont, disc, lr, epochs, cont_hi, disc_hi, iters, gamma = settings
    config = recipe(dataset, "paper")
    assert (config.dataset, config.cont, config.disc) == (dataset, cont, disc)
    assert (config.lr, config.epochs, config.steps) == (lr, epochs, None)
    assert (config.batch_size, config.temperature, config.image_size) == (64, 0.67, None)
    assert build_objective(config) == JointObjective(
        Capacity(0, cont_hi, iters, gamma), Capacity(0, disc_hi, iters, gamma)
    )
    assert recipe(dataset) == config


@pytest.mark.parametrize("name", ["mnist", "chairs", "celeba"])
def test_paper_settings_are_the_published_models(published_folder: Path, name: DatasetName):
    specs = json.loads((published_folder / name / "specs.json").read_text())
    config = recipe(name, "paper")
    assert config.spec.to_dict() == specs["latent_spec"]
    assert dataclasses.astuple(config.cont_capacity)[:4] == tuple(specs["cont_capacity"])
    assert dataclasses.astuple(config.disc_capacity)[:4] == tuple(specs["disc_capacity"])
    assert (config.batch_size, [config.lr]) == (specs["batch_size"], specs["lr"])
    assert config.epochs in specs["epochs"]


@pytest.mark.parametrize(("dataset", "shapes"), [("shapes3d", 4), ("mpi3d", 6)])
def test_solids_have_dsprites_settings_and_a_category_for_each_shape(
    dataset: DatasetName, shapes: int
):
    config, theirs = recipe(dataset), recipe("dsprites")
    assert (config.dataset, config.cont, config.disc) == (dataset, 10, (shapes,))
    assert config.cont_capacity == theirs.cont_capacity
    assert config.disc_capacity.hi == pytest.approx(math.log(shapes))
    assert theirs.disc_capacity.hi == pytest.approx(math.log(3), abs=0.01)
    hi = theirs.disc_capacity.hi
    assert dataclasses.replace(config.disc_capacity, hi=hi) == theirs.disc_capacity
    assert config.total_steps(1) == theirs.total_steps(737_280 // 64)


def test_data_sets_that_are_not_in_the_paper_say_what_they_have():
    for dataset in DATASETS:
        assert next(iter(RECIPES[dataset])) == ("paper" if dataset in PAPER else "default")
    with pytest.raises(ArgumentError, match="digits has no recipe 'paper', only default"):
        recipe("digits", "paper")
    for dataset in ("images", "arrays"):
        assert list(RECIPES[dataset]) == ["default", "paper"]
    with pytest.raises(ArgumentError, match="mnist has no recipe 'slow', only paper, fast"):
        recipe("mnist", "slow")


@pytest.mark.parametrize(
    ("dataset", "name", "nats"),
    [("mnist", "fast", 5.0), ("fashion-mnist", "fast", 0.0), ("digits", "default", 0.0)],
)
def test_categories_that_neighbours_share_are_found_before_the_units(
    dataset: DatasetName, name: str, nats: float
):
    config = recipe(dataset, name).phase_configs[0].config
    objective = build_objective(config)
    assert isinstance(objective, SharedObjective)
    assert objective.group == config.group
    assert objective.cont is not None
    assert config.steps is not None
    assert all(0 < step < config.steps for step in config.refits)
    assert float(objective.disc.at(1)) == float(objective.disc.at(config.steps))
    assert float(objective.cont.at(config.steps // 2)) == 0
    assert float(objective.cont.at(config.steps)) == nats


def test_settings_of_a_run_from_before_a_setting_was_there():
    values = recipe("sprites").to_dict()
    for name in (
        "grid",
        "group",
        "neighbours",
        "augment",
        "initialisation",
        "overclusters",
        "refits",
    ):
        del values[name]
    assert TrainConfig.from_dict(json.loads(json.dumps(values))) == recipe("sprites")


CONFIGS = {f"{d}-{name}": c for d, recipes in RECIPES.items() for name, c in recipes.items()}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_json_round_trip(config: TrainConfig):
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    changes: dict[str, Any] = {"image_size": (48, 64), "disc": (3, 2), "grid": ("x=0",)}
    sized = dataclasses.replace(config, **changes, out="elsewhere")
    again = TrainConfig.from_dict(json.loads(json.dumps(sized.to_dict())))
    assert again == dataclasses.replace(sized, out=None)


def test_objectives_by_name():
    config = recipe("mnist")
    beta = dataclasses.replace(config, objective="beta", beta=8.0)
    assert build_objective(beta) == BetaObjective(8.0)
    capacity = CapacityConfig(0.0, 25.0, 1000, 100.0)
    cc_beta = dataclasses.replace(config, objective="cc-beta", total_capacity=capacity)
    assert build_objective(cc_beta) == CCBetaObjective(Capacity(0, 25, 1000, 100))
    information = dataclasses.replace(config, disc_measure="information")
    assert build_objective(information).disc_measure == "information"  # type: ignore[attr-defined]


def test_objectives_with_a_total_correlation_by_name():
    config = dataclasses.replace(recipe("mnist"), seed=4, channel_reduction="sum")
    beta_tc = dataclasses.replace(config, objective="beta-tc", beta=6.0)
    assert build_objective(beta_tc) == BetaTCObjective(6.0, "sum")
    settings = FactorConfig(gamma=35.0, layers=3, width=20, lr=1e-3)
    factor = build_objective(dataclasses.replace(config, objective="factor", factor=settings))
    assert isinstance(factor, FactorObjective)
    assert (factor.gamma, factor.lr, factor.seed) == (35.0, 1e-3, 4)
    assert factor.channel_reduction == "sum"
    assert [layer.out_features for layer in factor.discriminator.hidden] == [20, 20, 20]
    assert factor.discriminator.hidden[0].in_features == 20


def test_settings_of_a_run_from_before_there_was_a_factor_objective():
    config = recipe("mnist")
    before = {name: value for name, value in config.to_dict().items() if name != "factor"}
    assert TrainConfig.from_dict(before) == config
    assert config_from_dict(before) == config


def test_settings_make_no_weights():
    """Checking a configuration must not take the time of initialising 5 million of them."""
    before = torch.get_rng_state()
    config = dataclasses.replace(recipe("mnist"), objective="factor")
    assert torch.equal(torch.get_rng_state(), before)
    objective = build_objective(config)
    assert isinstance(objective, FactorObjective)
    assert all(p.device.type == "cpu" for p in objective.parameters())


def test_steps_replace_epochs():
    config = dataclasses.replace(recipe("mnist"), epochs=3)
    assert config.total_steps(2) == 3 * 2
    assert dataclasses.replace(config, steps=7).total_steps(2) == 7


def test_initialisation_depends_on_the_seed_alone():
    config = recipe("digits")
    torch.manual_seed(1)
    first = build_model(config, (1, 32, 32)).state_dict()
    torch.manual_seed(2)
    before = torch.get_rng_state()
    again = build_model(config, (1, 32, 32)).state_dict()
    other = build_model(dataclasses.replace(config, seed=config.seed + 1), (1, 32, 32)).state_dict()
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["encoder.head.weight"], other["encoder.head.weight"])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"disc": (1,)}, "at least 2"),
        ({"cont": 0, "disc": ()}, "got neither"),
        ({"cont_capacity": CapacityConfig(0.0, -5.0, 10, 1.0)}, "hi must .* got -5.0"),
        ({"batch_size": 0}, "--batch-size must be at least 1, got 0"),
        ({"steps": 0}, "--steps must be at least 1, got 0"),
        ({"log_every": 0}, "--log-every"),
        ({"lr": 0.0}, "--lr .* got 0.0"),
        ({"lr": float("nan")}, "--lr"),
        ({"temperature": -1.0}, "--temperature"),
        ({"seed": -1}, "--seed"),
        ({"beta": -1.0, "objective": "beta"}, "beta"),
        ({"beta": -1.0, "objective": "beta-tc"}, "beta"),
        ({"factor": FactorConfig(width=0), "objective": "factor"}, "width .* got 0"),
        ({"factor": FactorConfig(gamma=-2.0), "objective": "factor"}, "gamma .* got -2.0"),
    ],
)
def test_impossible_settings(change: dict, message: str):
    with pytest.raises(ArgumentError, match=message):
        dataclasses.replace(recipe("mnist"), **change)
