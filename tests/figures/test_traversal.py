"""A traversal of one latent variable."""

from __future__ import annotations

import numpy as np
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
from fastjvae.model.latent_moves import telling_categories

VALUES = "-1.64 -1.04 -0.67 -0.39 -0.13 0.13 0.39 0.67 1.04 1.64".replace("-", MINUS).split()


def test_a_traversal_of_a_unit_sweeps_its_prior() -> None:
    model = model_of(3, cont=2)
    (axes,) = figures.traversal(model, unit=1, title="Run 7").axes
    start = telling_categories(model)
    assert title(axes) == f"Run 7 (from c0 = {int(start[2:].argmax())})"
    assert row_labels(axes) == ["z1"]
    assert column_labels(axes) == VALUES
    rows = start.repeat(10, 1)
    rows[:, 1] = torch.tensor(QUANTILES)
    np.testing.assert_allclose(cells(axes)[0], decoded(model, rows), atol=1e-6)


def test_a_traversal_of_a_variable_runs_through_its_categories() -> None:
    model = model_of(4, 12, cont=1)
    (axes,) = figures.traversal(model, variable=1).axes
    first = int(telling_categories(model)[1:5].argmax())
    assert title(axes) == f"the first 10 of 12 categories of c1, from c0 = {first}"
    assert row_labels(axes) == ["c1"]
    assert column_labels(axes) == [str(k) for k in range(10)]
    rows = torch.zeros(10, 17)
    rows[:, 1 + first] = 1
    rows[:, 5:] = torch.eye(12)[:10]
    np.testing.assert_allclose(cells(axes)[0], decoded(model, rows), atol=1e-6)


def test_a_traversal_has_a_row_for_each_base() -> None:
    model = model_of(3, cont=2)
    base = torch.tensor([[0.7, -0.3, 0, 0, 1.0], [-1.1, 0.2, 0, 1.0, 0]])
    (axes,) = figures.traversal(model, unit=0, base=base, steps=3).axes
    rows = base.repeat_interleave(3, dim=0)
    rows[:, 0] = torch.tensor([QUANTILES[0], 0.0, QUANTILES[-1]]).repeat(2)
    expected = decoded(model, rows).reshape(2, 3, 1, 16, 16)
    np.testing.assert_allclose(cells(axes), expected, atol=1e-6)
    assert row_labels(axes) == []
    assert axes.get_xlabel() == "value of z0"
