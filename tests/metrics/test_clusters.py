from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastjvae.errors import ArgumentError
from fastjvae.metrics import cluster_accuracy

pairs = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=60)


def test_hand_computed_case():
    # Category 0 holds 7 7 7, category 1 holds 7 3, category 2 holds 3 3: majority 3 + 1 + 2 of 7,
    # one-to-one 3 (0 -> 7) + 2 (2 -> 3), category 1 has no class left.
    assignments, labels = [0, 0, 0, 1, 1, 2, 2], [7, 7, 7, 7, 3, 3, 3]
    assert cluster_accuracy(assignments, labels) == pytest.approx(6 / 7)
    assert cluster_accuracy(assignments, labels, "one-to-one") == pytest.approx(5 / 7)


def test_greedy_matching_would_be_worse_than_the_best():
    # Greedy takes category 0 -> class 0 (3 items) and leaves 0 + 3; the best is 2 + 3 + ...
    assignments = [0] * 5 + [1] * 2
    labels = [0, 0, 0, 1, 1, 0, 0]
    assert cluster_accuracy(assignments, labels, "one-to-one") == pytest.approx(4 / 7)


@given(pairs, st.permutations(range(6)))
def test_names_of_categories_do_not_matter(items: list[tuple[int, int]], names: list[int]):
    assignments, labels = map(np.array, zip(*items, strict=True))
    renamed = np.array(names)[assignments]
    for matching in ("majority", "one-to-one"):
        assert cluster_accuracy(assignments, labels, matching) == cluster_accuracy(
            renamed, labels, matching
        )
        assert cluster_accuracy(labels, labels, matching) == 1.0


@given(pairs)
def test_one_to_one_is_never_above_majority(items: list[tuple[int, int]]):
    assignments, labels = zip(*items, strict=True)
    most_frequent = max(labels.count(label) for label in labels) / len(labels)
    majority = cluster_accuracy(assignments, labels)
    assert most_frequent <= majority
    assert cluster_accuracy(assignments, labels, "one-to-one") <= majority


@pytest.mark.parametrize(
    ("assignments", "labels", "matching", "message"),
    [
        ([0, 1], [0], "majority", "one length"),
        ([], [], "majority", "at least 1"),
        ([0.5], [0], "majority", "vector of integers, got float64"),
        ([[0]], [0], "majority", "vector of integers"),
        ([0], [0], "best", "'best'"),
    ],
)
def test_bad_arguments(assignments: list, labels: list, matching: str, message: str):
    with pytest.raises(ArgumentError, match=message):
        cluster_accuracy(assignments, labels, matching)  # type: ignore[arg-type]
