from __future__ import annotations

import dataclasses

import pytest

from fastjvae.errors import ArgumentError
from fastjvae.training.settings.overrides import overridden
from fastjvae.training.settings.recipes import RECIPES, recipe
from fastjvae.training.tuning.ladder import LADDER, chosen_rung, paper_nats, rungs, shortened


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        # The best mean is 0.55, the pooled spread 0.0434: 0.51 is within it, 0.485 is not.
        ({5.0: [0.5, 0.6], 10.0: [0.5, 0.52], 20.0: [0.47, 0.5]}, 10.0),
        ({5.0: [0.55, 0.55], 10.0: [0.5, 0.52], 20.0: [0.45, 0.5]}, 5.0),
        ({5.0: [0.5, 0.6], 10.0: [0.4, 0.4], 20.0: [0.9, 0.9]}, 20.0),
        ({5.0: [0.5, 0.5], 10.0: [0.5, 0.5], 20.0: [0.499, 0.499]}, 10.0),
        ({5.0: [0.5], 10.0: [0.4]}, 5.0),
    ],
)
def test_the_largest_within_the_spread_of_the_best(scores: dict[float, list[float]], chosen: float):
    assert chosen_rung(scores) == chosen
    backwards = dict(reversed(scores.items()))
    assert chosen_rung(backwards) == chosen
    costs = {nats: [-score for score in each] for nats, each in scores.items()}
    assert chosen_rung(costs, lower_is_better=True) == chosen


def test_the_ladder_is_of_the_last_phase():
    assert rungs(recipe("mnist", "paper")).name == "cont_capacity.hi"
    digits = rungs(recipe("digits"))
    assert digits.name == "style.cont_capacity.hi"
    assert digits.values is not None
    assert tuple(digits.values.values()) == LADDER
    assert str(digits) == "style.cont_capacity.hi=2.5,5,10,20,40,80"


@pytest.mark.parametrize("dataset", ["digits", "mnist", "dsprites", "celeba", "images"])
@pytest.mark.parametrize("steps", [None, 100, 3_000, 200_000])
def test_a_run_of_the_ladder_is_short_and_its_capacities_reach_their_ends(
    dataset: str, steps: int | None
):
    config = recipe(dataset)  # type: ignore[arg-type]
    if steps is not None:
        config = overridden(config, {"steps": steps})
    short = overridden(config, shortened(config))
    assert short.steps == min(config.steps or 5_000, 5_000)
    last = short.phase_configs[-1].config
    for capacity in (last.cont_capacity, last.disc_capacity):
        assert capacity.start + capacity.iters <= max(2, 0.8 * last.steps)


def test_what_was_given_and_what_is_short_enough_stays():
    config = recipe("mnist", "paper")
    given = overridden(config, {"steps": 600, "cont_capacity.iters": 90})
    assert shortened(given) == {"disc_capacity.iters": 480}
    assert shortened(given, ["disc_capacity.iters"]) == {}
    assert shortened(config, ["steps"]).keys() == {"cont_capacity.iters", "disc_capacity.iters"}


def test_runs_without_the_capacity():
    config = recipe("mnist", "paper")
    with pytest.raises(ArgumentError, match="chooses C_z, and --cont 0 leaves no units for it"):
        rungs(dataclasses.replace(config, cont=0))
    with pytest.raises(ArgumentError, match="of --objective joint, this run has beta: name what"):
        rungs(dataclasses.replace(config, objective="beta"))


def test_values_of_the_paper():
    assert paper_nats(RECIPES["mnist"]) == 5.0
    assert paper_nats(RECIPES["dsprites"]) == 40.0
    assert paper_nats(RECIPES["digits"]) is None
