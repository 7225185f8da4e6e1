"""What a message names of two runs that differ."""

from __future__ import annotations

import dataclasses

import pytest

from fastjvae.training.infogan.settings import InfoGANConfig
from fastjvae.training.settings.difference import difference
from fastjvae.training.settings.recipes import recipe
from fastjvae.training.settings.run import RunConfig
from fastjvae.training.settings.train import TrainConfig

PAPER, FAST = recipe("mnist"), recipe("mnist", "fast")
LABELLED = dataclasses.replace(FAST, steps=1_450, labelled=100)
BETA = dataclasses.replace(PAPER, objective="beta")


@pytest.mark.parametrize(
    ("here", "there", "told"),
    [
        (PAPER, PAPER, None),
        (PAPER, FAST, "recipe is fast there, paper here"),
        (recipe("mnist", "best"), FAST, "recipe is fast there, best here"),
        (PAPER, LABELLED, "recipe is fast there, paper here"),
        (PAPER, dataclasses.replace(PAPER, steps=5), "steps is 5 there, None here"),
        (BETA, PAPER, "objective is 'joint' there, 'beta' here"),
        (PAPER, TrainConfig("digits"), "dataset is 'digits' there, 'mnist' here"),
        (recipe("arrays"), recipe("arrays", "paper"), "steps is None there, 1789 here"),
        (InfoGANConfig("mnist"), PAPER, "method is None there, 'infogan' here"),
    ],
)
def test_the_recipe_and_the_objective_come_first(
    here: RunConfig, there: RunConfig, told: str | None
) -> None:
    assert difference(here, there) == told


def test_settings_may_be_ignored() -> None:
    assert difference(PAPER, dataclasses.replace(PAPER, steps=5), ignored=["steps"]) is None
