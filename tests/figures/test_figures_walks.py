"""Walks along chosen latent variables, models side by side, and latent variables by their KL."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from drawn import (
    MINUS,
    QUANTILES,
    assert_texts_apart,
    cells,
    column_labels,
    decoded,
    model_of,
    row_labels,
    title,
)
from matplotlib.figure import Figure

from fastjvae import figures
from fastjvae.errors import ArgumentError

VALUES = "-1.64 -1.04 -0.67 -0.39 -0.13 0.13 0.39 0.67 1.04 1.64".replace("-", MINUS).split()


# --- a traversal ----------------------------------------------------------------------------------


def test_a_traversal_of_a_unit_sweeps_its_prior() -> None:
    model = model_of(3, cont=2)
    (axes,) = figures.traversal(model, unit=1, title="Run 7").axes
    assert title(axes) == "Run 7"
    assert row_labels(axes) == ["z1"]
    assert column_labels(axes) == VALUES
    rows = torch.tensor([0.0, 0, 1, 0, 0]).repeat(10, 1)
    rows[:, 1] = torch.tensor(QUANTILES)
    np.testing.assert_allclose(cells(axes)[0], decoded(model, rows), atol=1e-6)


def test_a_traversal_of_a_variable_runs_through_its_categories() -> None:
    model = model_of(4, 12, cont=1)
    (axes,) = figures.traversal(model, variable=1).axes
    assert title(axes) == "the first 10 of 12 categories of c1"
    assert row_labels(axes) == ["c1"]
    assert column_labels(axes) == [str(k) for k in range(10)]
    rows = torch.zeros(10, 17)
    rows[:, 1] = 1
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


# --- a grid ---------------------------------------------------------------------------------------


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


# --- models side by side --------------------------------------------------------------------------


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


# --- ranked units ---------------------------------------------------------------------------------


def test_ranked_units_have_a_bar_each() -> None:
    model = model_of(3, cont=3)
    images, bars = figures.ranked_units(model, [0.5, 1.518, 0.004], [1.1], steps=4).axes
    assert row_labels(images) == ["z1", "c0", "z0", "z2"]
    assert [bar.get_width() for bar in bars.patches] == pytest.approx([1.518, 1.1, 0.5, 0.004])
    assert [text.get_text() for text in bars.texts] == ["1.52", "1.10", "0.50", "0.00"]
    centres = [bar.get_y() + bar.get_height() / 2 for bar in bars.patches]
    np.testing.assert_allclose(centres, images.get_yticks())
    assert bars.get_ylim() == images.get_ylim()
    assert images.get_position().y0 == pytest.approx(bars.get_position().y0)
    grid = cells(images)
    rows = torch.tensor([0.0, 0, 0, 1, 0, 0]).repeat(3, 1)
    rows[:, 3:] = torch.eye(3)
    np.testing.assert_allclose(grid[1, :3], decoded(model, rows), atol=1e-6)
    assert (grid[1, 3] == 1).all()


def test_the_least_informative_units_come_last() -> None:
    model = model_of(cont=5)
    kl = [0.3, 0.1, 0.5, 0.0, 0.2]
    images, bars = figures.ranked_units(model, kl, least=True, max_units=2).axes
    assert row_labels(images) == ["z1", "z3"]
    assert title(images) == "the least informative 2 of 5"
    assert bars.get_xlim() == (0, 0.5)  # of the largest, so that little looks little
    images, _ = figures.ranked_units(model, kl, max_units=2, title="Run 7").axes
    assert row_labels(images) == ["z2", "z0"]
    assert title(images) == "Run 7 (the most informative 2 of 5)"


# --- the page -------------------------------------------------------------------------------------

PAGES: dict[str, Callable[[], Figure]] = {
    "traversal": lambda: figures.traversal(model_of(3, cont=1), unit=0, title="A long title" * 5),
    "grid": lambda: figures.traversal_grid(model_of(12, cont=100), "c0", "z99"),
    "side by side": lambda: figures.side_by_side(
        {"a rather long name of a model": model_of(3, cont=2), "b": model_of(cont=2)},
        kl={"a rather long name of a model": [10.0, 2, 3], "b": [100.0, 2]},
        steps=2,
        title="Models",
    ),
    "ranked": lambda: figures.ranked_units(model_of(3, cont=12), [5.0] * 12, [0.0], title="Run"),
    "ranked without information": lambda: figures.ranked_units(model_of(3), [], [0.0]),
}


@pytest.mark.parametrize("name", PAGES)
def test_texts_lie_on_the_page_and_apart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_texts_apart(PAGES[name](), monkeypatch)


# --- wrong input ----------------------------------------------------------------------------------

SMALL = model_of(3, cont=2)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: figures.traversal(SMALL), "got unit None and variable None"),
        (lambda: figures.traversal(SMALL, unit=0, variable=0), "got unit 0 and variable 0"),
        (lambda: figures.traversal(SMALL, unit=2), "2 continuous units, got 2"),
        (lambda: figures.traversal(SMALL, unit=-1), "2 continuous units, got -1"),
        (lambda: figures.traversal(SMALL, variable=1), "1 discrete variables, got 1"),
        (lambda: figures.traversal(SMALL, unit=0, steps=1), "steps must be at least 2, got 1"),
        (
            lambda: figures.traversal(SMALL, unit=0, base=torch.zeros(2, 4)),
            r"shape \(5,\), got \(4,\)",
        ),
        (lambda: figures.traversal(SMALL, unit=0, base=torch.zeros(0, 5)), "at least one sample"),
        (lambda: figures.traversal_grid(SMALL, "c0", "z2"), "2 continuous units, got 2"),
        (lambda: figures.traversal_grid(SMALL, "c0", "c0"), "two latent variables, both are c0"),
        (lambda: figures.traversal_grid(SMALL, "x0", "z0"), "such as z3 or c0, got 'x0'"),
        (lambda: figures.traversal_grid(SMALL, "c0", "z"), "such as z3 or c0, got 'z'"),
        (lambda: figures.traversal_grid(SMALL, "c0", "z0", steps=1), "steps must be at least 2"),
        (
            lambda: figures.traversal_grid(SMALL, "c0", "z0", max_categories=0),
            "max_categories must be at least 1",
        ),
        (lambda: figures.side_by_side({}), "at least one model"),
        (lambda: figures.side_by_side({"a": SMALL}, kl={"b": [1]}), "models a, got it of b"),
        (lambda: figures.side_by_side({"a": SMALL}, kl={"a": [1]}), r"of a, shape \(3,\), got"),
        (lambda: figures.side_by_side({"a": SMALL}, steps=1), "steps must be at least 2"),
        (lambda: figures.ranked_units(SMALL, [1.0], [1.0]), r"kl_cont .* shape \(2,\)"),
        (lambda: figures.ranked_units(SMALL, [1.0, 2.0]), r"kl_disc .* shape \(1,\), got"),
        (lambda: figures.ranked_units(SMALL, [1, 2], [1], max_units=0), "at least 1, got 0"),
        (
            lambda: figures.traversal(model_of(cont=1, size=(2, 16, 16)), unit=0),
            r"1 channel \(grey\) or 3 \(RGB\), these have 2",
        ),
    ],
)
def test_wrong_input_is_one_clear_sentence(draw: Callable[[], Figure], message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as error:
        draw()
    assert "\n" not in str(error.value)
