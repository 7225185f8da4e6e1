from __future__ import annotations

import numpy as np
import pytest

from fastjvae.errors import ArgumentError
from fastjvae.metrics import beta_vae_score
from fastjvae.metrics._items import check_items
from fastjvae.metrics._votes import ItemsByValue
from fastjvae.metrics.beta_vae import _votes

GRID = np.indices((2, 2, 3)).reshape(3, -1).T


def _features(
    codes: np.ndarray, factors: np.ndarray, discrete: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    items = check_items(codes, factors, discrete)
    return _votes(np.random.default_rng(0), items, ItemsByValue(items.factors), 400, 50)


def test_mean_differences_by_hand():
    """Two draws of a factor with values 0 and 1 differ in half of the pairs, of 0, 1, 2 in 2/3 of
    them, by 8/9 on average; not at all where the factor is held fixed."""
    features, fixed = _features(GRID.astype(float), GRID, discrete=GRID[:, 2:])
    for factor in range(3):
        of_factor = features[fixed == factor]
        expected = np.array([1 / 2, 1 / 2, 8 / 9, 2 / 3])
        expected[[factor, 3] if factor == 2 else factor] = 0.0
        assert of_factor.mean(axis=0) == pytest.approx(expected, abs=0.03)
        assert (of_factor[:, expected == 0] == 0).all()
    assert np.bincount(fixed) == pytest.approx([400 / 3] * 3, abs=40)


def test_each_pair_has_a_value_of_its_own():
    """A vote of 50 pairs that all had one value would see unit 1 vary fully or not at all."""
    factors = np.arange(4).repeat(10)[:, None]
    varying = np.where(factors[:, 0] < 2, np.arange(40) % 2, 0)[:, None]
    features, _ = _features(varying.astype(float), factors)
    assert features.mean() == pytest.approx(1 / 4, abs=0.02)
    assert features.std() < 0.1


def test_a_single_factor_is_known_beforehand():
    assert beta_vae_score(GRID, GRID[:, :1], num_train=10, num_test=10) == 1.0


def test_one_vote_to_learn_from_names_its_factor_always():
    score = beta_vae_score(GRID, GRID, num_train=1, num_test=3000)
    assert score == pytest.approx(1 / 3, abs=0.03)


def test_observations_must_be_some():
    with pytest.raises(ArgumentError, match="observations must be an integer of at least 1"):
        beta_vae_score(GRID, GRID, observations=0)
