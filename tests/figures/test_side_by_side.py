"""Models side by side."""

from __future__ import annotations

import numpy as np
import torch
from figure_checks import (
    cells,
    decoded,
    model_of,
    row_labels,
    title,
)

from fastjvae import figures


def test_models_stand_side_by_side_each_in_its_own_size() -> None:
    first, second = model_of(3, cont=2), model_of(cont=3, size=(3, 16, 24))
    figure = figures.side_by_side({"joint": first, "beta": second}, steps=4, title="Run 7")
    left, right = figure.axes
    assert [title(left), title(right)] == ["joint", "beta"]
    assert [text.get_text() for text in left.texts] == ["Run 7"]
    assert row_labels(left) == ["z0", "z1", "c0"]
    assert row_labels(right) == ["z0", "z1", "z2"]
    rows = torch.zeros(4, 5)
    rows[:, 2] = 1
    rows[:, 1] = torch.tensor([-1.6449, -0.3853, 0.3853, 1.6449])  # 5, 35, 65 and 95 %
    np.testing.assert_allclose(cells(left)[1], decoded(first, rows), atol=1e-4)
    assert cells(right, (3, 16, 24)).shape[:2] == (3, 4)
    assert left.get_position().x1 < right.get_position().x0


def test_a_row_says_how_many_categories_it_leaves_out() -> None:
    model = model_of(12, 3, cont=1)
    (axes,) = figures.side_by_side({"a": model}, steps=3).axes
    assert row_labels(axes) == ["z0", "c0\nfirst 3 of 12", "c1"]
    (axes,) = figures.side_by_side({"a": model}, kl={"a": [1, 2, 3]}, steps=11).axes
    assert row_labels(axes)[1] == "c0  2.00 nats\nfirst 11 of 12"
    axes, _ = figures.ranked_units(model, [2.0], [1.0, 3.0], steps=4).axes
    assert row_labels(axes) == ["c1", "z0", "c0\nfirst 4 of 12"]


def test_units_side_by_side_follow_their_kl() -> None:
    models = {"a": model_of(3, cont=2), "b": model_of(cont=12)}
    kl = {"a": [0.1, 0.7, 1.05], "b": np.arange(12.0)}
    left, right = figures.side_by_side(models, kl=kl, max_units=2).axes
    assert row_labels(left) == ["z1  0.70 nats", "z0  0.10 nats", "c0  1.05 nats"]
    assert row_labels(right) == ["z11  11.00 nats", "z10  10.00 nats"]
    assert title(right) == "b (2 of 12 latent variables)"
