"""Models side by side."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from figure_checks import (
    cells,
    decoded,
    model_of,
    row_labels,
    title,
)

from fastjvae import figures
from fastjvae.errors import ArgumentError
from fastjvae.metrics import effect_on_samples
from fastjvae.model.latent_moves import telling_categories


def test_models_stand_side_by_side_each_in_its_own_size() -> None:
    first, second = model_of(3, cont=2), model_of(cont=3, size=(3, 16, 24))
    figure = figures.side_by_side({"joint": first, "beta": second}, steps=4, title="Run 7")
    left, right = figure.axes
    rows = telling_categories(first).repeat(4, 1)
    assert [title(left), title(right)] == [f"joint (from c0 = {int(rows[0, 2:].argmax())})", "beta"]
    assert [text.get_text() for text in left.texts] == ["Run 7"]
    assert sorted(row_labels(left)[:2]) == ["z0", "z1"]
    assert row_labels(left)[2] == "c0"
    effects = effect_on_samples(second).cont
    assert row_labels(right) == [f"z{unit}" for unit in np.argsort(effects)[::-1]]
    rows[:, 1] = torch.tensor([-1.6449, -0.3853, 0.3853, 1.6449])  # 5, 35, 65 and 95 %
    shown = cells(left)[row_labels(left).index("z1")]
    np.testing.assert_allclose(shown, decoded(first, rows), atol=1e-4)
    assert cells(right, (3, 16, 24)).shape[:2] == (3, 4)
    assert left.get_position().x1 < right.get_position().x0


def test_a_row_says_how_many_categories_it_leaves_out() -> None:
    model = model_of(12, 3, cont=1)
    (axes,) = figures.side_by_side({"a": model}, steps=3).axes
    assert title(axes).startswith("a (from c0 = ")
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


def test_each_model_starts_from_its_own_row_and_runs_over_the_range() -> None:
    models = {"a": model_of(3, cont=1), "b": model_of(cont=2)}
    bases = {"a": torch.tensor([0.5, 0, 0, 1]), "b": torch.tensor([0.1, -2.0])}
    left, right = figures.side_by_side(models, bases=bases, span=(-3, 3), steps=2).axes
    assert [title(left), title(right)] == ["a", "b"]
    ends = torch.tensor([-3.0, 3.0])
    rows = bases["a"].repeat(2, 1)
    rows[:, 0] = ends
    np.testing.assert_allclose(cells(left)[0], decoded(models["a"], rows), atol=1e-5)
    rows = bases["b"].repeat(2, 1)
    rows[:, 1] = ends
    shown = cells(right)[row_labels(right).index("z1")]
    np.testing.assert_allclose(shown, decoded(models["b"], rows), atol=1e-5)
    with pytest.raises(ArgumentError, match="bases must be of the models a, b, got it of a"):
        figures.side_by_side(models, bases={"a": bases["a"]})


def test_long_names_go_on_below_and_leave_the_columns_where_they_are() -> None:
    model = model_of(cont=1)
    long = "a rather long name of a model, with the settings of the run and its seed, 17"
    columns = [
        figures.side_by_side({name: model, "b": model}, title="Models").axes
        for name in (long, "short")
    ]
    places = [[axes.get_position().x0 * axes.figure.get_figwidth() for axes in c] for c in columns]
    assert np.diff(places[0]) == pytest.approx(np.diff(places[1]))
    assert title(columns[0][0]).replace("\n", " ") == long
    assert title(columns[0][0]).count("\n") == 1
