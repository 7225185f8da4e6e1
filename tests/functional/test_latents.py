from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastjvae import LatentSpec
from fastjvae.errors import ArgumentError, FastJVAEError

specs = st.builds(
    LatentSpec, st.integers(1, 40), st.lists(st.integers(2, 12), max_size=5).map(tuple)
)


def test_slices_of_a_joint_specification():
    spec = LatentSpec.from_dict({"cont": 3, "disc": [2, 4]})
    assert (spec.num_params, spec.sample_dim, spec.num_categories) == (12, 9, 6)
    assert (spec.mean, spec.logvar) == (slice(0, 3), slice(3, 6))
    assert spec.logits == (slice(6, 8), slice(8, 12))
    assert spec.categories == (slice(3, 5), slice(5, 9))
    assert spec.variables == (slice(0, 2), slice(2, 6))


@given(specs)
def test_slices_cover_both_rows_without_overlap(spec: LatentSpec):
    params = list(range(spec.num_params))
    parts = [params[part] for part in (spec.mean, spec.logvar, *spec.logits)]
    assert list(chain(*parts)) == params
    sample = list(range(spec.sample_dim))
    assert [*sample[: spec.cont], *chain(*(sample[part] for part in spec.categories))] == sample


@given(specs)
def test_dict_round_trip(spec: LatentSpec):
    assert LatentSpec.from_dict(spec.to_dict()) == spec


def test_a_part_may_be_absent():
    assert LatentSpec.from_dict({"disc": [10]}) == LatentSpec(0, (10,))
    assert LatentSpec.from_dict({"cont": 5}).to_dict() == {"cont": 5}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"cont": 4, "disc": [10, 1]}, r"at least 2, got \[10, 1\]"),
        ({"cont": -1}, "got -1"),
        ({"cont": 2.5}, "got 2.5"),
        ({"cont": True}, "got True"),
        ({"cont": 4, "disc": 10}, "list such as"),
        ({}, "got neither"),
        ({"cont": 0, "disc": []}, "got neither"),
        ({"continuous": 4}, "'continuous'"),
        ([10, 10], "is a dict"),
    ],
)
def test_impossible_specifications(spec: object, message: str):
    with pytest.raises(ArgumentError, match=message) as error:
        LatentSpec.from_dict(spec)  # type: ignore[arg-type]
    assert isinstance(error.value, FastJVAEError)
    assert isinstance(error.value, ValueError)
