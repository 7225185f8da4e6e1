"""Labels that training may see: which are chosen, and what is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastjvae.data import ImageData
from fastjvae.data.held_out import divided, held_out_rows
from fastjvae.data.known_labels import chosen_labels, from_ranges, given_labels, in_ranges
from fastjvae.errors import ArgumentError, DataError

LABELS = torch.arange(60) % 7


@given(number=st.integers(1, 60), seed=st.integers(0, 5))
def test_chosen_labels_are_of_every_class_as_far_as_it_goes(number: int, seed: int) -> None:
    known = chosen_labels(LABELS, number, seed)
    seen = known >= 0
    assert int(seen.sum()) == number
    assert known[seen].equal(LABELS[seen])
    counts, there = known[seen].bincount(minlength=7), LABELS.bincount()
    most = int(counts.max())
    assert all(c >= min(most - 1, n) for c, n in zip(counts.tolist(), there.tolist(), strict=True))


def test_the_seed_chooses() -> None:
    assert chosen_labels(LABELS, 14, 0).equal(chosen_labels(LABELS, 14, 0))
    assert not chosen_labels(LABELS, 14, 0).equal(chosen_labels(LABELS, 14, 1))


def test_more_labels_than_there_are_is_one_sentence() -> None:
    labels = torch.tensor([0, -1, 1])
    assert chosen_labels(labels, 2, 0).tolist() == [0, -1, 1]
    with pytest.raises(ArgumentError, match=r"at most the 2 labelled images .* got 3"):
        chosen_labels(labels, 3, 0)


@pytest.mark.parametrize(
    ("known", "names", "numbers", "found"),
    [
        ([1, -1, 0], None, [1, -1, 0], None),
        (np.array([1, -1, 0], np.int8), ("a", "b"), [1, -1, 0], ("a", "b")),
        (torch.tensor([1, -1, 0]), None, [1, -1, 0], None),
        (["dog", None, "cat"], None, [1, -1, 0], ("cat", "dog")),
        (["dog", None, "cat"], ("dog", "emu", "cat"), [0, -1, 2], ("dog", "emu", "cat")),
        (np.array(["dog", "dog", "cat"]), None, [1, 1, 0], ("cat", "dog")),
    ],
)
def test_given_labels(known: Any, names: Any, numbers: list[int], found: Any) -> None:
    assert given_labels(known, 3, names)[0].tolist() == numbers
    assert given_labels(known, 3, names)[1] == found


@pytest.mark.parametrize(
    ("known", "names", "sentence"),
    [
        ([0, 1], None, r"known_labels must hold labels .*\(3,\)"),
        (["a", "b"], None, r"shape \(3,\), got \(2,\)"),
        ([0.0, 1.0, -1.0], None, "as integers, got float64"),
        ([-1, -1, -1], None, "at least one that is known, got numbers from -1 to -1"),
        ([0, 1, -2], None, "got numbers from -2 to 1"),
        ([0, None, 1], None, "strings, None where it is not, got 0 among them"),
        (["a", None, "x"], ("a", "b"), "has 'x', and the labels are a, b"),
        ([0, 2, -1], ("a", "b"), "has the label 2, and there are 2 names"),
        ([None, None, None], None, "strings, None where it is not, got None"),
    ],
)
def test_given_labels_of_another_form_are_one_sentence(
    known: Any, names: Any, sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence) as error:
        given_labels(known, 3, names)
    assert "\n" not in str(error.value)


@given(st.sets(st.integers(0, 1000), min_size=1))
def test_ranges_give_the_numbers_back(numbers: set[int]) -> None:
    assert from_ranges(in_ranges(sorted(numbers))) == sorted(numbers)


def test_images_with_known_labels_are_trained_on_and_never_evaluated() -> None:
    images = torch.arange(40, dtype=torch.uint8).reshape(40, 1, 1, 1).repeat(1, 1, 2, 2)
    apart = held_out_rows(40, 0.2)
    known = torch.full((40,), -1)
    known[apart[:3]] = torch.tensor([0, 1, 0])
    data = ImageData("x", images, LABELS[:40], known_labels=known, label_names=tuple("abcdefg"))
    train, test = divided(data, 0.2)
    assert test is not None
    assert test.images[:, 0, 0, 0].tolist() == apart[3:].tolist()
    assert len(train) == 40 - 5
    assert train.known_labels is not None
    assert (train.known_labels >= 0).sum() == 3
    left = data.without_known_labels()
    assert len(left) == 37
    assert left.labels is not None
    assert left.labels.equal(LABELS[:40][known < 0])
    all_known = data.with_known_labels(LABELS[:40], data.label_names)
    with pytest.raises(DataError, match="the label of every image, so that none is left"):
        all_known.without_known_labels()
