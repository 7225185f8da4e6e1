from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from typing import Any

import pytest

from fastjvae.files import to_json
from fastjvae.metrics.evaluation import Evaluation
from fastjvae.metrics.saved_evaluation import evaluation_from_dict
from fastjvae.metrics.variables import Labelled, Variable

VARIABLE = Variable(
    1.5, 1.25, 0.25, [0.5, 0.5, 0.0], [2], 0.75, 0.5,
    names=["one", None, "two"], effect=0.5, accuracy_labelled=0.625,
)  # fmt: skip
EVALUATION = Evaluation(
    "digits/test", 300, 120.5, "mean", [0.5, 0.001], [VARIABLE],
    scores={"mig": 0.5}, no_scores="too few images", mean_image=150.25, steps=100,
    effect_cont=[0.25, 0.0], capacity=8.0, reconstruction_train=119.5,
    labelled=Labelled(20, 0, ["one", "two"]), likelihood="gaussian", scale=0.125, constant=-7.5,
)  # fmt: skip


def saved(evaluation: Evaluation) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(to_json(evaluation.to_dict()))
    return values


def test_it_comes_back_as_it_was() -> None:
    for whole in (EVALUATION, VARIABLE):  # a field that is added here is one that is read
        assert [f.name for f in fields(whole) if getattr(whole, f.name) is None] == []
    found = evaluation_from_dict(saved(EVALUATION))
    assert found == EVALUATION
    assert found.table() == EVALUATION.table()


def test_numbers_that_are_not_finite_are_so_again() -> None:
    variable = replace(VARIABLE, kl=math.inf)
    broken = replace(
        EVALUATION, reconstruction=math.nan, kl_cont=[1.0, math.nan], variables=[variable]
    )
    found = evaluation_from_dict(saved(broken))
    assert math.isnan(found.reconstruction)
    assert math.isnan(found.kl_cont[1])
    assert math.isnan(found.variables[0].kl)
    assert "reconstruction      nan nats" in found.table()


def test_entries_of_other_versions() -> None:
    values = saved(EVALUATION)
    values["mood"] = 3
    values["variables"][0]["colour"] = "red"
    since = dict.fromkeys(("effect_cont", "capacity", "reconstruction_train", "labelled", "scale"))
    since |= {"likelihood": "bernoulli", "constant": 0.0}
    for name in since:
        del values[name]
    assert evaluation_from_dict(values) == replace(EVALUATION, **since)


@pytest.mark.parametrize(
    "values",
    [
        [],
        None,
        {},
        {"variables": [{}]},
        {**saved(EVALUATION), "variables": 3},
        {**saved(EVALUATION), "labelled": 3},
        {**saved(EVALUATION), "reconstruction": "much"},
        {name: value for name, value in saved(EVALUATION).items() if name != "images"},
    ],
)
def test_what_is_no_evaluation(values: Any) -> None:
    with pytest.raises(ValueError, match="no evaluation"):
        evaluation_from_dict(values)
