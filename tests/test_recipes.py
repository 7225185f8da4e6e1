from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from fastjvae import BetaObjective, Capacity, CCBetaObjective, JointObjective
from fastjvae.errors import ArgumentError
from fastjvae.recipes import RECIPES, CapacityConfig, TrainConfig, build_model, build_objective


def test_paper_settings_of_appendix_c():
    mnist, fashion = RECIPES["mnist"], RECIPES["fashion-mnist"]
    assert (mnist.cont, mnist.disc, mnist.temperature) == (10, (10,), 0.67)
    assert (mnist.lr, mnist.batch_size, mnist.epochs, mnist.steps) == (5e-4, 64, 100, None)
    assert build_objective(mnist) == JointObjective(
        Capacity(0, 5, 25_000, 30), Capacity(0, 5, 25_000, 30)
    )
    assert (fashion.cont, fashion.disc, fashion.lr) == (10, (10,), 5e-4)
    assert build_objective(fashion) == JointObjective(
        Capacity(0, 5, 50_000, 100), Capacity(0, 10, 50_000, 100)
    )


@pytest.mark.parametrize("config", RECIPES.values(), ids=RECIPES.keys())
def test_json_round_trip(config: TrainConfig):
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    sized = dataclasses.replace(config, image_size=(48, 64), disc=(3, 2), out="elsewhere")
    again = TrainConfig.from_dict(json.loads(json.dumps(sized.to_dict())))
    assert again == dataclasses.replace(sized, out=None)


def test_objectives_by_name():
    config = RECIPES["mnist"]
    beta = dataclasses.replace(config, objective="beta", beta=8.0)
    assert build_objective(beta) == BetaObjective(8.0)
    capacity = CapacityConfig(0.0, 25.0, 1000, 100.0)
    cc_beta = dataclasses.replace(config, objective="cc-beta", total_capacity=capacity)
    assert build_objective(cc_beta) == CCBetaObjective(Capacity(0, 25, 1000, 100))
    information = dataclasses.replace(config, discrete_capacity="information")
    assert build_objective(information).disc_measure == "information"  # type: ignore[attr-defined]


def test_steps_replace_epochs():
    config = dataclasses.replace(RECIPES["mnist"], epochs=3)
    assert config.total_steps(2) == 3 * 2
    assert dataclasses.replace(config, steps=7).total_steps(2) == 7


def test_initialisation_depends_on_the_seed_alone():
    config = RECIPES["digits"]
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
    ],
)
def test_impossible_settings(change: dict, message: str):
    with pytest.raises(ArgumentError, match=message):
        dataclasses.replace(RECIPES["mnist"], **change)
