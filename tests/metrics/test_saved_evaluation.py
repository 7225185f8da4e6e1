from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from fastjvae.files import to_json
from fastjvae.metrics.evaluation import Evaluation, Variable
from fastjvae.metrics.saved_evaluation import evaluation_from_dict

VARIABLE = Variable(
    1.5, 1.25, 0.25, [0.5, 0.5, 0.0], [2], 0.75, 0.5, names=["one", None, "two"], effect=0.5
)
EVALUATION = Evaluation(
    "digits/test", 300, 120.5, "mean", [0.5, 0.001], [VARIABLE], steps=100, effect_cont=[0.25, 0.0]
)


def saved(evaluation: Evaluation) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(to_json(evaluation.to_dict()))
    return values


def test_it_comes_back_as_it_was() -> None:
    assert evaluation_from_dict(saved(EVALUATION)) == EVALUATION


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
    for since in ("effect_cont", "capacity", "reconstruction_train"):
        del values[since]
    assert evaluation_from_dict(values) == replace(EVALUATION, effect_cont=None)


@pytest.mark.parametrize(
    "values",
    [
        [],
        None,
        {},
        {"variables": [{}]},
        {**saved(EVALUATION), "variables": 3},
        {**saved(EVALUATION), "reconstruction": "much"},
        {name: value for name, value in saved(EVALUATION).items() if name != "images"},
    ],
)
def test_what_is_no_evaluation(values: Any) -> None:
    with pytest.raises(ValueError, match="no evaluation"):
        evaluation_from_dict(values)
