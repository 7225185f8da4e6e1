from __future__ import annotations

from math import log

import numpy as np
import pytest

from fastjvae.metrics import DCI, dci
from fastjvae.metrics.dci import concentration

GRID = np.indices((2, 3)).reshape(2, -1).T.repeat(30, axis=0)


def test_hand_computed_concentration():
    # Row 0 is spread over two of three: entropy log 2 to the base 3; row 1 is one entry. Their
    # weights are 4 and 1.
    importance = np.array([[2.0, 2.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert concentration(importance) == pytest.approx((4 * (1 - log(2) / log(3)) + 1) / 5)
    assert concentration(np.ones((2, 1))) == 1.0  # one entry has nothing to be spread over


def test_it_is_a_named_tuple_of_floats():
    scores = dci(GRID, GRID)
    assert scores == DCI(*scores)
    assert [type(score) for score in scores] == [float] * 4
    assert scores.disentanglement == scores[0] == pytest.approx(1.0, abs=0.01)


def test_disentangled_but_not_complete():
    """Two units, each of which tells one half of factor 1's values and nothing else."""
    first, last = (GRID[:, 1:] == value for value in (0, 2))
    scores = dci(np.hstack([GRID[:, :1], first, last]), GRID)
    assert scores.disentanglement == pytest.approx(1.0, abs=0.02)
    assert scores.completeness < 0.85
    assert scores.informativeness == 1.0


def test_complete_but_not_disentangled():
    """One unit tells both factors."""
    scores = dci(np.hstack([GRID @ [[3], [1]], np.zeros((len(GRID), 1))]), GRID)
    assert scores.completeness == pytest.approx(1.0, abs=0.02)
    assert scores.disentanglement == pytest.approx(0.0, abs=0.02)
    assert scores.informativeness == 1.0


def test_informativeness_is_of_items_that_were_not_fitted_on():
    random = np.random.default_rng(0)
    scores = dci(random.normal(size=(90, 4)), random.integers(0, 2, (90, 1)))
    assert scores.informativeness_train == 1.0
    assert scores.informativeness < 0.75


def test_a_variable_of_many_categories_is_one_unit():
    """Its columns are many, but no importance is spread over several units."""
    scores = dci(np.zeros((len(GRID), 1)), GRID, discrete=GRID @ [[3], [1]])
    assert scores.completeness == pytest.approx(1.0)


def test_an_importance_below_0_is_none():
    """scikit-learn's can be, by a rounding; the entropy of -1e-18 would be minus infinity."""
    importance = np.array([[1.0, -1e-18], [0.5, 0.5]])
    assert concentration(importance) == pytest.approx(0.5)
    assert concentration(np.array([[-1e-18, -1e-18]])) == 0.0


def test_no_score_is_made_of_what_is_not_finite():
    with pytest.raises(FloatingPointError, match="have come out as nan"):
        concentration(np.array([[1.0, np.nan], [0.5, 0.5]]))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 8])
def test_rotated_codes_of_a_grid_are_entangled(seed: int):
    factors = np.indices((3, 3, 4, 4)).reshape(4, -1).T
    codes = factors.astype(float)
    codes[:, 2:] = codes[:, 2:] @ np.array([[1.0, 1.0], [1.0, -1.0]])
    found = dci(codes, factors, seed=seed)
    assert found.disentanglement == pytest.approx(0.750, abs=5e-3)
    assert found.completeness == pytest.approx(0.751, abs=5e-3)
