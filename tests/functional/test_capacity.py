from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastjvae import Capacity
from fastjvae.errors import ArgumentError


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 1.0), (1, 1.0), (10, 1.0), (11, 1.04), (60, 3.0), (10**9, 5.0)]
)
def test_linear_growth_from_start_clipped_at_the_end(step: int, expected: float):
    capacity = Capacity(lo=1.0, hi=5.0, iters=100, gamma=30.0, start=10)
    assert float(capacity.at(step, dtype=torch.float64)) == pytest.approx(expected, abs=1e-12)


def test_the_first_step_of_the_paper_uses_c_of_1():
    assert float(Capacity(0.0, 5.0, 25_000, 30.0).at(1)) == pytest.approx(5 / 25_000)


@given(
    st.floats(0, 50), st.floats(0, 50), st.integers(1, 10**6), st.integers(0, 10**6),
    st.integers(0, 10**7),
)  # fmt: skip
def test_int_and_tensor_steps_agree(lo: float, hi: float, iters: int, start: int, step: int):
    capacity = Capacity(lo, hi, iters, 1.0, start)
    maximum = math.log(10)
    ours = capacity.at(step, dtype=torch.float64, maximum=maximum)
    on_device = capacity.at(torch.tensor([step]), dtype=torch.float64, maximum=maximum)
    assert on_device.shape == ()
    torch.testing.assert_close(on_device, ours)
    torch.testing.assert_close(
        capacity.at(torch.tensor(step), maximum=maximum).double(), ours, rtol=1e-6, atol=1e-5
    )


def test_capacity_may_shrink():
    assert float(Capacity(5.0, 1.0, 4, 1.0).at(1)) == 4.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, 5.0, 10, 1.0), "lo must .* got -1.0"),
        ((0.0, float("inf"), 10, 1.0), "hi must .* got inf"),
        ((0.0, 5.0, 0, 1.0), "iters must be at least 1 training step, got 0"),
        ((0.0, 5.0, 10, -3.0), "gamma must .* got -3.0"),
        ((0.0, 5.0, 10, 1.0, -1), "start must .* got -1"),
        ((0.0, float("nan"), 10, 1.0), "hi must .* got nan"),
    ],
)
def test_impossible_capacities(arguments: tuple[float, ...], message: str):
    with pytest.raises(ArgumentError, match=message):
        Capacity(*arguments)


def test_negative_step_is_an_error():
    with pytest.raises(ArgumentError, match="got -1"):
        Capacity(0.0, 5.0, 10, 1.0).at(-1)


def test_gamma_may_be_a_tensor_that_changes():
    gamma = torch.tensor(1.0)
    capacity = Capacity(0.0, 5.0, 10, gamma)
    gamma.fill_(7.0)
    assert float(capacity.gamma) == 7.0


@pytest.mark.parametrize(
    "arguments",
    [
        (0, 10**400, 10, 1.0),
        (10**400, 1, 10, 1.0),
        (0, 1, 10**400, 1.0),
        (0, 1, 10**30, 1.0),
        (0, 1, 10, float("inf")),
        (0, 1, 10, float("nan")),
        (0, 1, 10, 10**5000),
        (0, 1, 10, 1.0, 2**63),
    ],
)
def test_numbers_that_no_schedule_can_have(arguments: Any):
    with pytest.raises(ArgumentError, match=r"capacity (hi|lo|iters|gamma|start)") as error:
        Capacity(*arguments)
    assert len(str(error.value)) < 250
