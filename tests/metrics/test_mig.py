from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from fastjvae.errors import ArgumentError
from fastjvae.metrics import mig, mutual_information_gap

GRID = np.indices((2, 2)).reshape(2, -1).T


def test_hand_computed_cases():
    factors = GRID.repeat(5, axis=0)
    first, both = factors[:, :1], factors @ [[1], [2]]
    # Unit 1 tells both factors. The first is told by two units, the second by one.
    assert mutual_information_gap(np.hstack([first, both]), factors) == pytest.approx((0 + 1) / 2)
    # A single unit is compared with none.
    assert mutual_information_gap(both, factors) == pytest.approx(1.0)
    # Categories 0, 1, 1 of values 0, 1, 2: H(c) = H(1/3) of the log 3 that there are.
    values = np.arange(3)[:, None]
    entropy = log(3) / 3 + 2 / 3 * log(3 / 2)
    score = mutual_information_gap(np.zeros((3, 0)), values, discrete=np.minimum(values, 1))
    assert score == pytest.approx(entropy / log(3))


def test_a_continuous_unit_has_20_bins_of_one_width():
    """40 values in a row are two in each bin, so that log 20 of their log 40 nats are told."""
    values = np.arange(40)[:, None]
    assert mutual_information_gap(values, values) == pytest.approx(log(20) / log(40))
    assert mutual_information_gap(values, values, bins=40) == pytest.approx(1.0)
    assert mutual_information_gap(values, values // 2) == pytest.approx(1.0)
    # As categories they are not binned.
    assert mutual_information_gap(np.zeros((40, 0)), values, discrete=values) == pytest.approx(1.0)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=1, max_size=60))
def test_agrees_with_scikit_learn_by_table_and_by_sorting(pairs: list[tuple[int, int]]):
    first, second = np.array(pairs).T
    expected = mutual_info_score(first, second)
    for largest in (0, 2**24):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mig, "_LARGEST_TABLE", largest)
            found = mig._mutual_information(first, second)
        assert found == pytest.approx(expected, abs=1e-12)


def test_many_categories_and_many_values():
    """A table of 20,000 x 20,000 counts would be 3 GB."""
    values = np.arange(20_000)[:, None]
    assert mutual_information_gap(np.zeros((20_000, 0)), values, discrete=values) == pytest.approx(
        1.0
    )


def test_drawn_items_give_nearly_the_same():
    random = np.random.default_rng(0)
    factors = random.integers(0, 5, (5_000, 2))
    codes = factors + random.normal(size=factors.shape)
    drawn = mutual_information_gap(codes, factors, num_train=4_000, seed=1)
    assert drawn != mutual_information_gap(codes, factors)
    assert drawn == pytest.approx(mutual_information_gap(codes, factors), abs=0.03)


def test_bins_must_be_some():
    with pytest.raises(ArgumentError, match="bins must be an integer of at least 1, got 0"):
        mutual_information_gap(GRID, GRID, bins=0)
