"""The picture of everything: types by row, units by traversal, reconstructions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from figure_checks import (
    assert_texts_apart,
    cells,
    column_labels,
    decoded,
    model_of,
    row_labels,
    title,
)
from matplotlib.figure import Figure

from fastjvae import JointVAE, figures
from fastjvae.errors import ArgumentError
from fastjvae.model.latent_moves import unit_values

IMAGES = torch.rand(20, 1, 16, 16, generator=torch.Generator().manual_seed(1))


def blocks(figure: Figure) -> list[Any]:
    return [axes for axes in figure.axes if axes.images]


def test_rows_are_types_and_units_and_images(monkeypatch: pytest.MonkeyPatch):
    model = model_of(3, cont=2)
    figure = figures.overview(
        model, IMAGES, [0.5, 1.25], shares=[0.5, 0.2, 0.3], names=["shoe", None, "bag"], title="Run"
    )
    types, units, first, second = blocks(figure)
    assert row_labels(types) == ["bag  30%", "shoe  50%", "category 1  20%"]
    assert title(types) == "types: c0"
    assert row_labels(units) == ["z1  1.25 nats", "z0  0.50 nats"]
    assert column_labels(units)[0].startswith("\N{MINUS SIGN}1.64")
    assert title(units) in {"style of shoe", "style of category 1", "style of bag"}
    assert row_labels(first) == row_labels(second) == ["image", "reconstruction"]
    assert cells(types).shape[:2] == (3, 6)
    spread = IMAGES[torch.arange(16) * 20 // 16]  # over the data set, which may be sorted
    np.testing.assert_allclose(cells(first)[0], spread[:8], atol=1e-6)
    np.testing.assert_allclose(cells(second)[0], spread[8:], atol=1e-6)
    with torch.no_grad():
        np.testing.assert_allclose(cells(first)[1], model(spread[:8])[0], atol=1e-5)
    assert_texts_apart(figure, monkeypatch)


def test_units_are_swept_in_the_category_whose_pictures_they_change_most():
    model = model_of(3, cont=2)
    rows = torch.zeros(3, 2, 8, 5)  # category, unit, value, sample row
    for category in range(3):
        rows[category, :, :, 2 + category] = 1
        for unit in range(2):
            rows[category, unit, :, unit] = unit_values(8)
    pictures = decoded(model, rows.flatten(0, 2)).reshape(3, 2, 8, 1, 16, 16)
    change = np.abs(pictures[:, :, -1] - pictures[:, :, 0]).mean(axis=(1, 2, 3, 4))
    _, units, *_ = blocks(figures.overview(model, IMAGES, [2.0, 1.0]))
    np.testing.assert_allclose(cells(units), pictures[change.argmax()], atol=1e-6)
    assert title(units) == f"style of category {change.argmax()}"


def test_the_strongest_units_and_the_most_frequent_categories_are_shown():
    model = model_of(40, 12, cont=7)
    shares = np.full(12, 0.01)
    shares[[3, 11]] = 0.5, 0.4
    figure = figures.overview(
        model, IMAGES, [0.1, 0.7, 0.2, 0.6, 0.3, 0.5, 0.4], variable=1, shares=shares
    )
    types, units, *_ = blocks(figure)
    assert title(types) == "types: c1 (10 of 12 categories)"
    assert {"category 3  50%", "category 11  40%"} <= set(row_labels(types))
    assert [label[:2] for label in row_labels(units)] == ["z1", "z3", "z5", "z6", "z4"]
    assert title(units).endswith("(5 of 7 units)")


@pytest.mark.parametrize(
    ("model", "kl", "titles"),
    [
        (model_of(3), [], ["types: c0", "reconstructions"]),
        (model_of(cont=2), [1.0, 2.0], ["style"]),
        (model_of(3, cont=1, size=(3, 32, 48)), [1.0], ["types: c0", None]),
    ],
    ids=["no units", "no categories", "colour"],
)
def test_models_without_one_kind_of_variable(
    model: JointVAE, kl: list[float], titles: list[str | None], monkeypatch: pytest.MonkeyPatch
):
    figure = figures.overview(model, torch.rand(3, *model.img_size), kl)
    found = [title(axes) for axes in blocks(figure) if title(axes)]
    assert len(found) == len(titles)
    assert all(right in (None, text) for right, text in zip(titles, found, strict=True))
    assert_texts_apart(figure, monkeypatch)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kl_cont": [1.0]}, r"kl_cont must hold one KL .* shape \(2,\), got shape \(1,\)"),
        ({"shares": [1.0]}, r"shares must hold the share of images.* \(3,\), got shape \(1,\)"),
        ({"names": ["a"]}, "names must hold one name per category, 3, got 1"),
        ({"variable": 1}, "variable must be the index of one of the model's 1 discrete"),
        ({"images": IMAGES[:0]}, "an overview needs at least one image, got none"),
    ],
)
def test_wrong_input_is_one_sentence(changes: dict[str, Any], sentence: str):
    arguments = {"images": IMAGES, "kl_cont": [1.0, 2.0], **changes}
    with pytest.raises(ArgumentError, match=sentence):
        figures.overview(model_of(3, cont=2), **arguments)


def test_drawing_is_repeatable_and_leaves_the_generators_alone():
    model = model_of(3, cont=2)
    state = torch.get_rng_state()
    drawn = [blocks(figures.overview(model, IMAGES, [1, 2])) for _ in range(2)]
    for one, other in zip(*drawn, strict=True):
        assert (one.images[0].get_array() == other.images[0].get_array()).all()
    assert torch.equal(torch.get_rng_state(), state)
