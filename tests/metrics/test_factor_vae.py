from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

from fastjvae.errors import ArgumentError
from fastjvae.metrics import _votes, factor_vae_score
from fastjvae.metrics.factor_vae import Protocol, _gini

PROTOCOLS: tuple[Protocol, ...] = ("disentanglement_lib", "kim_mnih")
GRID = np.indices((3, 4, 5)).reshape(3, -1).T  # (60, 3)
both_protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


def _by_definition(
    codes: np.ndarray, factors: np.ndarray, votes: int, held_out: int, observations: int, seed: int
) -> float:
    """One vote after the other, with numpy's variance."""
    random = np.random.default_rng(seed)
    spread = codes.var(axis=0, ddof=1)

    def cast(count: int) -> np.ndarray:
        table = np.zeros((factors.shape[1], codes.shape[1]))
        for _ in range(count):
            factor = random.integers(factors.shape[1])
            value = random.choice(np.unique(factors[:, factor]))
            rows = random.choice(np.flatnonzero(factors[:, factor] == value), observations)
            table[factor, np.argmin(codes[rows].var(axis=0, ddof=1) / spread)] += 1
        return table

    training = cast(votes)
    judged = cast(held_out) if held_out else training
    return float(judged[training.argmax(axis=0), np.arange(codes.shape[1])].sum() / judged.sum())


@pytest.mark.parametrize(
    ("protocol", "votes", "held_out", "observations"),
    [("disentanglement_lib", 3000, 1500, 64), ("kim_mnih", 1500, 0, 200), ("kim_mnih", 1500, 0, 3)],
)
def test_agrees_with_the_definition_in_loops(
    protocol: Protocol, votes: int, held_out: int, observations: int
):
    random = np.random.default_rng(0)
    codes = GRID @ random.normal(size=(3, 5)) + random.normal(size=(60, 5))
    kept = random.permutation(60)[:45]  # not every combination is there
    codes, factors = codes[kept], GRID[kept]
    expected = _by_definition(codes, factors, votes, held_out, observations, seed=1)
    assert 0.4 < expected < 0.97
    score = factor_vae_score(codes, factors, protocol=protocol, observations=observations)
    assert score == pytest.approx(expected, abs=0.05)


@both_protocols
def test_units_that_vary_equally_little_share_a_vote(protocol: Protocol):
    """Factor 1 follows from factor 0, so that both units are constant where 0 is held fixed.

    Of its n votes each unit gets n / 2; unit 1 gets all n votes about factor 1. Unit 0 stands for
    factor 0 and unit 1 for factor 1: (n / 2 + n) / 2n, in whatever order the units come.
    """
    values = np.arange(4).repeat(10)
    factors = np.stack([values, values // 2], axis=1)
    for codes in (factors, factors[:, ::-1]):
        score = factor_vae_score(codes, factors, protocol=protocol)
        assert score == pytest.approx(0.75, abs=0.03)


def test_the_protocols_differ_in_what_they_prune():
    """A unit of standard deviation 0.01 that copies factor 0, beside one that copies factor 1."""
    factors = GRID[:, :2]
    codes = np.stack([0.01 * factors[:, 0], factors[:, 1]], axis=1)
    for protocol in PROTOCOLS:  # one unit left: half of the votes are about its factor
        assert factor_vae_score(codes, factors, protocol=protocol) == pytest.approx(0.5, abs=0.05)
    informative = {"kl": [0.02, 1.0], "protocol": "kim_mnih"}
    assert factor_vae_score(codes, factors, **informative) == 1.0  # type: ignore[arg-type]
    collapsed = {"kl": [0.009, 1.0], "protocol": "kim_mnih"}
    assert factor_vae_score(codes, factors, **collapsed) < 0.6  # type: ignore[arg-type]
    # disentanglement_lib knows nothing of the KL.
    codes = factors.astype(float)
    assert factor_vae_score(codes, factors, kl=[0.0, 1.0]) == 1.0


def test_the_threshold_is_a_standard_deviation_of_a_twentieth():
    signs = np.array([-1.0, 1.0]).repeat(2000)
    factors = np.stack([signs > 0, np.arange(4000) % 2], axis=1).astype(int)
    for std, score in ((0.0495, 0.0), (0.0505, 0.5)):
        codes = std * signs[:, None]
        for protocol in PROTOCOLS:
            found = factor_vae_score(codes, factors, protocol=protocol)
            assert found == pytest.approx(score, abs=0.05)


@both_protocols
def test_nothing_left_after_pruning_scores_0(protocol: Protocol):
    constant = np.full((60, 2), 0.1)  # whose mean is not exactly 0.1
    assert factor_vae_score(constant, GRID, protocol=protocol) == 0.0
    categories = np.ones((60, 1), dtype=int)
    assert factor_vae_score(constant, GRID, discrete=categories, protocol=protocol) == 0.0
    kl = [0.0, 0.0, 0.0]
    if protocol == "kim_mnih":
        assert factor_vae_score(GRID, GRID, kl=kl, protocol=protocol) == 0.0
    # A constant unit has its KL above 0.01 where its mean is not 0.
    assert factor_vae_score(constant, GRID, kl=[1.0, 1.0], protocol="kim_mnih") == 0.0


def test_gini_variance_by_hand():
    # 0 0 1 2: of 16 ordered pairs 4 + 1 + 1 are equal, 10 differ: 10 / (2 * 4 * 3).
    categories = np.array([[0, 0, 1, 2], [3, 3, 3, 3], [0, 1, 0, 1], [3, 2, 1, 0]])
    assert _gini(categories) == pytest.approx([10 / 24, 0, 8 / 24, 12 / 24])


def test_gini_variance_is_the_variance_of_two_categories():
    """(c_i - c_j)^2 is 1 where two of 0 and 1 differ, so the formula is the unbiased variance."""
    categories = np.random.default_rng(0).integers(0, 2, (20, 9))
    assert _gini(categories) == pytest.approx(categories.var(axis=1, ddof=1))


@both_protocols
def test_a_unit_of_two_values_scores_like_a_variable_of_two_categories(protocol: Protocol):
    random = np.random.default_rng(0)
    factors = random.integers(0, 4, (500, 3))
    codes = factors + random.normal(size=factors.shape)
    binary = (codes[:, :1] > codes[:, :1].mean()).astype(int)
    as_unit = factor_vae_score(np.hstack([codes[:, 1:], binary]), factors, protocol=protocol)
    as_variable = factor_vae_score(codes[:, 1:], factors, discrete=binary, protocol=protocol)
    assert as_variable == as_unit


def test_one_protocol_judges_the_votes_it_learned_from_and_the_other_does_not():
    """Of 200 random units, each has 4 votes of 800 or 50 of 10,000 to learn from by heart."""
    factors = GRID.repeat(100, axis=0)
    codes = np.random.default_rng(0).normal(size=(len(factors), 200))
    by_heart = factor_vae_score(codes, factors, protocol="kim_mnih", observations=4)
    assert by_heart > 0.5
    assert factor_vae_score(codes, factors, observations=4) == pytest.approx(1 / 3, abs=0.03)


@both_protocols
def test_more_observations_tell_more(protocol: Protocol):
    codes = GRID + np.random.default_rng(0).normal(size=GRID.shape)
    few, many = (factor_vae_score(codes, GRID, protocol=protocol, observations=n) for n in (2, 500))
    assert few < many - 0.2


@both_protocols
def test_values_of_single_items_are_left_out(protocol: Protocol):
    """Which item it is is no factor to hold fixed, and one item of a kind tells nothing."""
    number = np.arange(60)[:, None]
    with_number = factor_vae_score(GRID, np.hstack([number, GRID]), protocol=protocol)
    assert with_number == factor_vae_score(GRID, GRID, protocol=protocol)
    odd = np.vstack([GRID, [[7, 8, 9]]])
    assert factor_vae_score(odd, odd, protocol=protocol) == 1.0
    with pytest.raises(ArgumentError, match="two items or more must share a value"):
        factor_vae_score(GRID, number, protocol=protocol)


def test_parts_of_any_size_give_a_score_of_the_same_kind(monkeypatch: pytest.MonkeyPatch):
    codes = GRID + np.random.default_rng(0).normal(size=GRID.shape)
    whole = factor_vae_score(codes, GRID)
    monkeypatch.setattr(_votes, "_DRAWN_AT_ONCE", 10_000)
    assert factor_vae_score(codes, GRID) == pytest.approx(whole, abs=0.03)


def test_all_codes_of_dsprites_in_bounded_memory():
    """737,280 items: each is looked up by its index and never encoded or copied per vote."""
    factors = np.indices((3, 6, 40, 32, 32)).reshape(5, -1).T
    random = np.random.default_rng(0)
    codes = random.normal(size=(len(factors), 10)).astype(np.float32)
    codes[:, :4] += factors[:, 1:]
    discrete = factors[:, :1]
    tracemalloc.start()
    try:
        scores = [
            factor_vae_score(codes, factors, discrete=discrete, protocol=protocol)
            for protocol in PROTOCOLS
        ]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert scores == [1.0, 1.0]
    assert peak < 10 * len(factors) * 10 * 8  # bytes; the codes themselves in float64 are a tenth


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"protocol": "kim"}, "'disentanglement_lib' or 'kim_mnih', got 'kim'"),
        ({"observations": 1}, "observations must be an integer of at least 2, got 1"),
        ({"observations": 2.5}, "observations must be an integer of at least 2, got 2.5"),
        ({"kl": [1.0]}, "got 1 for 3 continuous units"),
        ({"kl": [1.0, math.inf, 1.0], "protocol": "kim_mnih"}, "kl must be finite"),
    ],
)
def test_bad_arguments(named: dict[str, Any], message: str):
    with pytest.raises(ArgumentError, match=message):
        factor_vae_score(GRID, GRID, **named)
