from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from fastjvae.errors import ArgumentError
from fastjvae.metrics import udr


def _independent(items: int = 400, units: int = 4, seed: int = 0) -> np.ndarray:
    """Normal codes whose units are exactly uncorrelated."""
    codes = np.random.default_rng(seed).normal(size=(items, units))
    centred = codes - codes.mean(axis=0)
    return np.linalg.qr(centred)[0] * np.sqrt(items)


def _rotated(codes: np.ndarray, seed: int = 1) -> np.ndarray:
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(codes.shape[1],) * 2))[0]
    return codes @ turn


def _by_definition(codes: list[np.ndarray], kls: list[np.ndarray]) -> list[float]:
    """The paper's equation in loops over every unit, with scipy's correlation."""
    scores = []
    for i, j in itertools.product(range(len(codes)), repeat=2):
        units_i = [a for a in range(len(kls[i])) if kls[i][a] > 0.01]
        units_j = [b for b in range(len(kls[j])) if kls[j][b] > 0.01]
        similarity = {
            (a, b): abs(spearmanr(codes[i][:, a], codes[j][:, b]).statistic)
            for a in units_i
            for b in units_j
        }
        total = 0.0
        for b in units_j:
            column = [similarity[a, b] for a in units_i]
            total += max(column) ** 2 / sum(column)
        for a in units_i:
            row = [similarity[a, b] for b in units_j]
            total += max(row) ** 2 / sum(row)
        scores.append(total / (len(units_i) + len(units_j)))
    pairs = np.array(scores).reshape(len(codes), len(codes))
    return [float(np.median(np.delete(row, i))) for i, row in enumerate(pairs)]


def test_hand_computed_case():
    # Spearman's rho of four items is 1 - sum d^2 / 10: R = [[1, 0.6], [0.2, 0.2]]. Columns give
    # 1 / 1.2 and 0.36 / 0.8, rows 1 / 1.6 and 0.04 / 0.4; there are 2 + 2 units.
    first = [[1, 4], [2, 1], [3, 2], [4, 3]]
    second = [[1, 2], [2, 1], [3, 4], [4, 3]]
    expected = (1 / 1.2 + 0.36 / 0.8 + 1 / 1.6 + 0.04 / 0.4) / 4
    assert udr([first, second], [[1, 1], [1, 1]]) == pytest.approx([expected] * 2)


def test_agrees_with_the_definition_in_loops():
    generator = np.random.default_rng(3)
    shared = generator.normal(size=(60, 3))
    codes = [
        shared @ generator.normal(size=(3, units)) + 0.3 * generator.normal(size=(60, units))
        for units in (2, 3, 5, 4)
    ]
    codes[1] = codes[1].round()  # ties
    kls = [generator.choice([0.005, 0.5], each.shape[1], p=[0.3, 0.7]) for each in codes]
    for each in kls:
        each[0] = 1.0
    assert udr(codes, kls) == pytest.approx(_by_definition(codes, kls))


def test_the_same_units_in_another_order_and_sign_score_highest():
    codes = _independent()
    kls = [np.ones(4)] * 3
    same = [codes, -codes[:, [2, 0, 3, 1]], 3 * codes[:, ::-1] + 1]
    scores = udr(same, kls)
    # Uncorrelated numbers have ranks that are nearly so: the rest of a row is small, not 0.
    assert scores == pytest.approx([1.0] * 3, abs=0.15)
    entangled = udr([codes, same[1], _rotated(codes)], kls)
    assert entangled[2] < min(entangled[:2]) < min(scores)


def test_units_without_any_rank_correlation_score_exactly_1():
    codes = np.array([[1, 2], [2, 4], [3, 1], [4, 3]])  # rho = 0
    assert udr([codes, -codes[:, ::-1]], [[1, 1], [1, 1]]) == pytest.approx([1, 1])


def test_spearman_sees_through_a_monotone_change():
    codes, kls = [_independent(seed=0), _independent(seed=1)], [np.ones(4)] * 2
    assert udr([np.exp(codes[0]), codes[1] ** 3], kls) == pytest.approx(udr(codes, kls))


def test_units_without_information_are_ignored():
    codes = [_independent(seed=seed) @ np.diag([1, 2, 3, 4]) for seed in range(3)]
    noise = np.random.default_rng(9).normal(size=(400, 2))
    more = [np.hstack([noise, each]) for each in codes]
    kls = [np.array([0.0, 0.01, 1, 1, 1, 1])] * 3
    expected = udr(codes, [np.ones(4)] * 3)
    assert udr(more, kls) == pytest.approx(expected)


def test_nothing_to_compare_scores_0():
    codes = _independent()
    kls = [np.ones(4), np.ones(4), np.zeros(4)]
    scores = udr([codes, codes, codes], kls)
    assert scores[2] == 0
    assert scores[0] == scores[1] > 0  # half of what the two share: the median with the third's 0
    assert udr([codes, np.zeros((400, 0))], [np.ones(4), []]).tolist() == [0, 0]
    constant = np.full((400, 4), 0.1)
    assert udr([codes, constant], kls[:2]).tolist() == [0, 0]
    # A constant unit is like no other: it adds nothing, but is counted.
    half = np.hstack([codes[:, :1], constant[:, :1]])
    assert udr([half, half], [[1, 1]] * 2) == pytest.approx([0.5] * 2)


@given(st.permutations(range(4)))
def test_order_of_the_models_and_of_their_units_does_not_matter(order: list[int]):
    codes = [_rotated(_independent(50, 4), seed) for seed in range(4)]
    kls = [np.array([1.0, 0.02, 0.3, 0.001 * seed]) for seed in range(4)]
    scores = udr(codes, kls)
    permuted = udr([codes[i][:, order] for i in order], [kls[i][order] for i in order])
    assert permuted == pytest.approx(scores[order])
    assert ((scores >= 0) & (scores <= 1)).all()


def test_many_items_and_units():
    generator = np.random.default_rng(0)
    codes = [generator.normal(size=(10_000, 32)).astype(np.float32) for _ in range(3)]
    assert (udr(codes, [np.ones(32)] * 3) < 0.1).all()


@pytest.mark.parametrize(
    ("codes", "kls", "message"),
    [
        ([], [], "at least 2 models, got 0"),
        ([[[1.0], [2.0]]], [[1.0]], "at least 2 models, got 1"),
        ([[[1.0], [2.0]]] * 2, [[1.0]], "same models, got 2 and 1"),
        ([[1.0, 2.0]] * 2, [[1.0]] * 2, r"codes\[0\] must have shape \(M, Z\), got \(2,\)"),
        ([[[1.0], [2.0]], [[1.0]]], [[1.0]] * 2, r"got 2 in codes\[0\] and 1 in codes\[1\]"),
        ([[[1.0]]] * 2, [[1.0]] * 2, "at least 2 of them, got 1"),
        ([[[1.0], [2.0]]] * 2, [[1.0], [1.0, 2.0]], r"kls\[1\] .* got 2 for 1 units"),
        ([[[1.0], [2.0]]] * 2, [1.0, 1.0], r"kls\[0\] must have shape \(Z,\), got \(\)"),
        ([[[1.0], [float("nan")]]] * 2, [[1.0]] * 2, r"codes\[0\] must be finite, got 1 numbers"),
        ([[[1.0], [2.0]]] * 2, [[1.0], [float("inf")]], r"kls\[1\] must be finite"),
        ([[["a"], ["b"]]] * 2, [[1.0]] * 2, r"codes\[0\] must be \(M, Z\) numbers"),
        ([[[1.0], [2.0, 3.0]]] * 2, [[1.0]] * 2, r"codes\[0\] must be \(M, Z\) numbers"),
    ],
)
def test_bad_arguments(codes: Any, kls: Any, message: str):
    with pytest.raises(ArgumentError, match=message):
        udr(codes, kls)
