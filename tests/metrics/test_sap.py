from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from fastjvae.errors import ArgumentError
from fastjvae.metrics import sap_score
from fastjvae.metrics.sap import _by_category, _explained, _explained_by_category

GRID = np.indices((3, 4)).reshape(2, -1).T.repeat(30, axis=0)


def test_hand_computed_case_of_classes():
    """A perfect unit is right always, an independent one as often as a guess: 1 - 1 / V."""
    for perfect in ({"codes": GRID}, {"codes": np.zeros((len(GRID), 0)), "discrete": GRID}):
        codes = perfect.pop("codes")
        score = sap_score(codes, GRID, **perfect)
        assert score == pytest.approx(1 - (1 / 3 + 1 / 4) / 2, abs=0.1)


def test_thresholds_tell_any_number_of_values_apart_and_support_vectors_do_not():
    factors = np.arange(32).repeat(40)[:, None]
    assert sap_score(factors, factors) == pytest.approx(1 - 1 / 32)
    assert sap_score(np.exp(factors / 10), factors) == pytest.approx(1 - 1 / 32)
    assert sap_score(factors, factors, classifier="svm") < 0.3
    binary = factors // 16
    assert sap_score(factors, binary, classifier="svm") > 0.4


def test_an_unknown_classifier_is_named():
    with pytest.raises(ArgumentError, match="'thresholds' or 'svm', got 'forest'"):
        sap_score(GRID, GRID, classifier="forest")  # type: ignore[arg-type]


def test_hand_computed_case_of_numbers():
    # Of f = 0 1 2 3 the unit 0 0 1 1 explains the means 0.5 and 2.5: 4 * 1 of 4 * 1.25.
    factor = np.arange(4)[:, None]
    assert sap_score([[0], [0], [1], [1]], factor, continuous_factors=True) == pytest.approx(0.8)
    categories = np.array([[5], [5], [1], [1]])
    none = np.zeros((4, 0))
    score = sap_score(none, factor, discrete=categories, continuous_factors=True)
    assert score == pytest.approx(0.8)
    # A second unit takes its share of the best away: 1 - 0.8.
    both = sap_score(factor, factor, discrete=categories, continuous_factors=True)
    assert both == pytest.approx(0.2)


def test_the_numbers_are_the_values_of_the_factor():
    values = np.array([0, 1, 10, 100])[:, None]
    assert sap_score(values, values, continuous_factors=True) == pytest.approx(1.0)
    assert sap_score(np.arange(4)[:, None], values, continuous_factors=True) < 0.8


def test_explained_variance_agrees_with_scikit_learn():
    random = np.random.default_rng(0)
    target = random.normal(size=200)
    unit = target + random.normal(size=200)
    fit = LinearRegression().fit(unit[:, None], target)
    assert _explained(unit, target) == pytest.approx(fit.score(unit[:, None], target))
    categories = random.integers(0, 4, 200) + (target > 0)
    hot = np.eye(5)[categories]
    assert _explained_by_category(categories, target) == pytest.approx(
        LinearRegression().fit(hot, target).score(hot, target)
    )


def test_a_category_predicts_the_class_that_is_typical_of_it():
    """Class 0 is ten times as frequent: two of category 1 are of it, but all of class 1."""
    categories = np.array([0] * 8 + [1] * 2 + [1])
    classes = np.array([0] * 10 + [1])
    both = categories, classes, categories, classes
    assert _by_category(*both, balanced=False) == pytest.approx(9 / 11)
    assert _by_category(*both, balanced=True) == pytest.approx((8 / 10 + 1) / 2)
    # A category that was never seen predicts some class.
    unseen = np.array([0, 5])
    assert _by_category(categories, classes, unseen, np.array([0, 0]), balanced=True) == 1.0


def test_a_rare_class_counts_like_a_frequent_one():
    """A threshold at 0.8 is right for 0.8 of class 0 and for all of class 1, of 1 item in 21."""
    random = np.random.default_rng(0)
    factors = np.array([0] * 10_000 + [1] * 500)[:, None]
    unit = np.where(factors, random.uniform(0.8, 1, factors.shape), random.random(factors.shape))
    assert sap_score(unit, factors) == pytest.approx((0.8 + 1) / 2 - 0.5, abs=0.02)


def test_the_score_is_of_items_that_were_not_fitted_on():
    """A category for each item tells the factor of those it was fitted on, and no other."""
    factors = np.random.default_rng(0).integers(0, 2, (900, 1))
    each = np.arange(900)[:, None]
    score = sap_score(np.zeros((900, 0)), factors, discrete=each)
    assert score < 0.1


def test_the_scale_of_a_unit_changes_no_explained_variance():
    factors = np.indices((4, 5)).reshape(2, -1).T.repeat(3, axis=0)
    codes = factors + np.sin(np.arange(len(factors)))[:, None]
    scores = [
        sap_score(scale * codes, factors, continuous_factors=True)
        for scale in (1.0, 2.0**-530, 2.0**100)
    ]
    assert 0 < scores[0] < 1
    assert scores == [scores[0]] * 3
