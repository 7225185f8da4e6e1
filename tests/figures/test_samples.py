"""Samples in each category."""

import numpy as np
import torch
from figure_checks import (
    cells,
    decoded,
    model_of,
    row_labels,
    title,
)
from torch import Tensor

from fastjvae import figures


def test_columns_of_samples_share_everything_but_the_category() -> None:
    model = model_of(4, 3, cont=2)
    figure = figures.samples_by_category(model, variable=1, samples=6)
    assert title(figure.axes[0]) == "variable c1"
    assert row_labels(figure.axes[0]) == ["category 0", "category 1", "category 2"]
    drawn: list[Tensor] = []
    handle = model.decoder.register_forward_pre_hook(lambda _, rows: drawn.append(rows[0]))
    grid = cells(figures.samples_by_category(model, variable=1, samples=6).axes[0])
    handle.remove()
    rows = torch.cat(drawn).reshape(3, 6, 9)
    assert (rows[:, :, :6] == rows[:1, :, :6]).all()
    assert len(rows[0, :, 0].unique()) == 6
    assert (rows[:, :, 2:6].sum(dim=2) == 1).all()
    assert (rows[:, :, 6:] == torch.eye(3)[:, None]).all()
    expected = decoded(model, rows.flatten(0, 1)).reshape(3, 6, 1, 16, 16)
    np.testing.assert_allclose(grid, expected, atol=1e-6)


def test_samples_are_repeatable_and_leave_the_generators_alone() -> None:
    model = model_of(3, cont=2)
    state = torch.get_rng_state()
    first, again, other = (
        cells(figures.samples_by_category(model, seed=seed).axes[0]) for seed in (5, 5, 6)
    )
    assert (first == again).all()
    assert (first != other).any()
    assert torch.equal(torch.get_rng_state(), state)


def test_sample_rows_carry_names_and_shares() -> None:
    axes = figures.samples_by_category(
        model_of(3), samples=2, shares=torch.tensor([0.096, 0.9, 0.004]), names=["cat", "dog", "?"]
    ).axes[0]
    assert row_labels(axes) == [
        "0: cat\n9.6%",
        "1: dog\n90.0%",
        "2: ?\n0.4%",
    ]


def test_long_names_go_on_below_as_far_as_the_image_is_high() -> None:
    names = ["1 (27%), 2 (26%), 3 (25%)", "b"]
    axes = figures.samples_by_category(model_of(2), samples=1, names=names).axes[0]
    assert row_labels(axes) == ["0: 1 (27%), 2 (26%), 3\n(25%)", "1: b"]
    long = " ".join(["knee"] * 30)
    names, shares = [long, "b"], [1, 0]
    figure = figures.samples_by_category(model_of(2), samples=1, names=names, shares=shares)
    assert row_labels(figure.axes[0])[0] == "0: knee knee knee knee\nknee knee knee knee…\n100.0%"


def test_of_many_categories_the_first_or_the_most_frequent_are_shown() -> None:
    model = model_of(1000, cont=1)
    axes = figures.samples_by_category(model, samples=1, title="Run 7").axes[0]
    assert title(axes) == "Run 7 (the first 20 of 1000 categories)"
    assert row_labels(axes)[-1] == "category 19"
    shares = np.zeros(1000)
    shares[[7, 900, 30]] = 0.2, 0.5, 0.3
    axes = figures.samples_by_category(model, samples=1, shares=shares, max_categories=2).axes[0]
    assert title(axes) == "the most frequent 2 of 1000 categories"
    assert row_labels(axes) == ["category 30\n30.0%", "category 900\n50.0%"]
