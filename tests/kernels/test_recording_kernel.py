"""The kernel that writes a step's numbers, against the reference."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import DEVICE, kernels, many_examples

import fastjvae
from fastjvae.errors import ArgumentError
from fastjvae.functional import record_row

NAN = float("nan")
shapes = st.lists(st.sampled_from([(), (1,), (0,), (3,), (65,), (2, 3)]), min_size=1, max_size=15)
dtypes = st.sampled_from([torch.float32, torch.bfloat16, torch.float16])


@given(
    shapes=shapes, dtype=dtypes, most=st.integers(1, 5), steps=st.integers(1, 7),
    counters=st.integers(0, 3), sliced=st.booleans(), bad=st.sampled_from([1.0, NAN, -torch.inf]),
)  # fmt: skip
@many_examples
def test_rows_are_those_of_the_reference_and_nothing_else_is_written(
    shapes: list[tuple[int, ...]],
    dtype: torch.dtype,
    most: int,
    steps: int,
    counters: int,
    sliced: bool,
    bad: float,
):
    columns = sum(torch.Size(shape).numel() for shape in shapes)
    factors = [1.0, 256.0, 0.5] * 5
    generator = torch.Generator().manual_seed(columns)

    def values() -> list[torch.Tensor]:
        drawn = [torch.randn(shape, generator=generator).to(DEVICE, dtype) for shape in shapes]
        drawn[0] *= bad
        if sliced:  # every second element of a larger one, whose others are NaN
            larger = [torch.full((*v.shape, 2), NAN, device=DEVICE, dtype=dtype) for v in drawn]
            for place, value in zip(larger, drawn, strict=True):
                place[..., 1] = value
            drawn = [place[..., 1] for place in larger]
        return drawn

    guarded = torch.full((columns * most + 64,), NAN, device=DEVICE)
    found = guarded[32 : 32 + columns * most].view(most, columns).zero_()
    right = torch.zeros(most, columns, device=DEVICE)
    state = [
        (rows, torch.zeros(1, dtype=torch.int64, device=DEVICE), counted)
        for rows, counted in zip(
            (found, right), torch.arange(2 * counters, device=DEVICE).view(2, -1), strict=True
        )
    ]
    for _ in range(steps):
        drawn = values()
        for name, (rows, following, counts) in zip(("triton", "reference"), state, strict=True):
            with kernels(), fastjvae.backend(name):  # type: ignore[arg-type]
                record_row(rows, following, drawn, factors=factors[: len(shapes)], counts=counts)
    torch.testing.assert_close(found, right, rtol=1e-6, atol=0, equal_nan=True)
    assert [int(following) for _, following, _ in state] == [steps % most] * 2
    first = torch.arange(2 * counters, device=DEVICE).view(2, -1)
    for before, (*_, counts) in zip(first, state, strict=True):
        assert torch.equal(counts, before + steps)
    assert guarded[:32].isnan().all()
    assert guarded[32 + columns * most :].isnan().all()


def test_a_step_that_is_recorded_is_one_launch(launches: dict[str, int]):
    rows, following = torch.zeros(3, 4, device=DEVICE), torch.zeros(1, dtype=torch.int64)
    with kernels():
        record_row(rows, following.to(DEVICE), [rows[0, 0], rows[1, :3]])
    assert launches == {"record_row": 1}


@pytest.mark.parametrize(("size", "factors"), [(3, [1.0]), (4, [1.0, 2.0])])
def test_another_number_of_values_is_one_sentence(size: int, factors: list[float]):
    rows, following = torch.zeros(3, 4), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ArgumentError, match=rf"\(3, 4\) take .* got {size} in 1 values with"):
        record_row(rows, following, [torch.zeros(size)], factors=factors)
