"""Latent variables in order of their KL."""

from __future__ import annotations

import math

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
from fastjvae.model.latent_moves import telling_categories


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
    rows = torch.zeros(3, 6)
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


def test_the_effects_have_bars_of_their_own() -> None:
    model = model_of(2, cont=2)
    effects = [0.25, math.nan, 0.013]
    axes = figures.ranked_units(model, [0.5, 1.5], [1.0], effects=effects).axes
    images, kl, shares = axes
    assert row_labels(images) == ["z1", "c0", "z0"]
    assert [text.get_text() for text in shares.texts] == ["nan", "1.3", "25.0"]
    widths = [bar.get_width() for bar in shares.patches]
    assert widths == pytest.approx([math.nan, 1.3, 25.0], nan_ok=True)
    assert kl.get_xlabel() == "KL (nats)"
    assert shares.get_xlabel() == "effect (%)"
    assert shares.get_xlim() == (0, 25)
    with pytest.raises(ArgumentError, match=r"effects must hold one effect .* shape \(3,\), got"):
        figures.ranked_units(model, [0.5, 1.5], [1.0], effects=[0.5])


def test_rows_start_from_the_base_and_run_over_the_range() -> None:
    model = model_of(3, cont=2)
    images, _ = figures.ranked_units(model, [2.0, 1.0], [0.5], steps=2).axes
    start = telling_categories(model)
    assert title(images) == title_of(start)
    for row in (None, torch.tensor([0.2, 0.7, 0, 1, 0])):
        images, _ = figures.ranked_units(
            model, [2.0, 1.0], [0.5], steps=2, base=row, span=(-2, 2), title="Run"
        ).axes
        assert title(images) == ("Run" if row is not None else f"Run ({title_of(start)})")
        rows = (start if row is None else row).repeat(2, 1)
        rows[:, 0] = torch.tensor([-2.0, 2.0])
        np.testing.assert_allclose(cells(images)[0], decoded(model, rows), atol=1e-5)
    figure = figures.ranked_units(model_of(cont=30), range(30))
    assert len(row_labels(figure.axes[0])) == 30  # all


def title_of(start: torch.Tensor) -> str:
    return f"from c0 = {int(start[2:].argmax())}"
