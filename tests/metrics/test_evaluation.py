"""The table of an evaluation, for models of every size."""

from __future__ import annotations

import dataclasses
import math

import pytest

from fastjvae.metrics.evaluation import Evaluation, Variable


def _evaluation(**changes: object) -> Evaluation:
    base = Evaluation("some data", 10, 100.0, "mean", [2.0, 0.001, 0.5], [], mean_image=200.0)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def _variable(size: int, used: set[int]) -> Variable:
    shares = [1 / len(used) if k in used else 0.0 for k in range(size)]
    unused = [k for k in range(size) if k not in used]
    return Variable(1.0, 1.0, 0.0, shares, unused, None, None)


@pytest.mark.parametrize("size", [2, 10, 1000])
@pytest.mark.parametrize("step", [1, 2, 7])
def test_every_line_fits_a_terminal(size: int, step: int):
    variable = _variable(size, set(range(0, size, step)))
    lines = _evaluation(variables=[variable]).table().splitlines()
    assert max(map(len, lines)) <= 84
    assert len(lines) < 12


def test_what_follows_one_another_is_a_range():
    lines = _evaluation(variables=[_variable(1000, {0, 4, 5, 996})]).table().splitlines()
    assert "    unused categories 1..3, 6..995, 997..999" in lines
    assert "    unused categories none" in _evaluation(variables=[_variable(2, {0, 1})]).table()


def test_units_that_carry_nothing_are_one_line_and_none_that_is_not_a_number():
    kl = [0.0] * 40
    kl[3], kl[7] = 1.5, math.nan
    lines = _evaluation(kl_cont=kl).table().splitlines()
    assert [line.split() for line in lines if line.startswith("    z")] in (
        [["z3", "1.500", "nats"], ["z7", "nan", "nats"]],
        [["z7", "nan", "nats"], ["z3", "1.500", "nats"]],
    )
    assert "    not active        z0..z2, z4..z6, z8..z39" in lines


def test_a_schedule_that_hardly_began_is_no_collapse():
    evaluation = _evaluation(reconstruction=199.0, steps=5_000, capacity=0.2)
    assert not evaluation.collapsed
    said = "no better than the mean image, 200.00: the capacities had only grown to 0.20 nats"
    assert said in evaluation.table()
    assert _evaluation(reconstruction=199.0, steps=5_000, capacity=5.0).collapsed


@pytest.mark.parametrize(
    ("steps", "collapsed", "said"),
    [
        (None, True, "the model has collapsed, or has hardly been trained"),
        (499, False, "the training was too short, 499 steps"),
        (0, False, "the training was too short, 0 steps"),
        (500, True, "the model has collapsed"),
    ],
)
def test_an_untrained_model_has_not_collapsed(steps: int | None, collapsed: bool, said: str):
    evaluation = _evaluation(reconstruction=199.0, steps=steps)
    assert evaluation.collapsed is collapsed
    assert evaluation.to_dict()["collapsed"] is collapsed
    assert f"no better than the mean image, 200.00: {said}" in evaluation.table()
