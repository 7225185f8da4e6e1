"""A grid of two latent variables."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from figure_checks import (
    MINUS,
    QUANTILES,
    cells,
    column_labels,
    decoded,
    model_of,
    row_labels,
    title,
)

from fastjvae import figures


def test_a_grid_of_categories_and_a_unit() -> None:
    model = model_of(3, cont=2)
    (axes,) = figures.traversal_grid(model, "c0", "z1", steps=3).axes
    assert row_labels(axes) == ["category 0", "category 1", "category 2"]
    assert column_labels(axes) == [f"{MINUS}1.64", "0.00", "1.64"]
    assert axes.get_xlabel() == "value of z1"
    rows = torch.zeros(3, 3, 5)
    rows[:, :, 1] = torch.tensor([QUANTILES[0], 0.0, QUANTILES[-1]])
    rows[:, :, 2:] = torch.eye(3)[:, None]
    expected = decoded(model, rows.flatten(0, 1)).reshape(3, 3, 1, 16, 16)
    np.testing.assert_allclose(cells(axes), expected, atol=1e-6)


def test_a_grid_of_two_units_keeps_the_base() -> None:
    model = model_of(3, cont=3)
    base = torch.tensor([9.0, 0.4, 9.0, 0, 0, 1])
    (axes,) = figures.traversal_grid(model, "z2", "z0", steps=2, base=base).axes
    assert row_labels(axes) == [f"z2 = {MINUS}1.64", "z2 = 1.64"]
    rows = base.repeat(2, 2, 1)
    ends = torch.tensor([QUANTILES[0], QUANTILES[-1]])
    rows[:, :, 2], rows[:, :, 0] = ends[:, None], ends[None]
    expected = decoded(model, rows.flatten(0, 1)).reshape(2, 2, 1, 16, 16)
    np.testing.assert_allclose(cells(axes), expected, atol=1e-6)
    assert base.tolist() == pytest.approx([9.0, 0.4, 9.0, 0, 0, 1])


def test_a_grid_of_two_variables_names_them_and_says_what_it_leaves_out() -> None:
    model = model_of(3, 25, cont=1)
    (axes,) = figures.traversal_grid(model, "c0", "c1", max_categories=5).axes
    assert row_labels(axes) == ["c0 = 0", "c0 = 1", "c0 = 2"]
    assert title(axes) == "the first 5 of 25 categories of c1"
    assert cells(axes).shape[:2] == (3, 5)
