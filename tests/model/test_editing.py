"""Pictures are read as the model takes them, changed in their latent variables, and shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from figure_checks import (
    MINUS,
    QUANTILES,
    assert_texts_apart,
    cells,
    column_labels,
    decoded,
    model_of,
    row_labels,
)
from PIL import Image
from torch import Tensor

from fastjvae import JointVAE, figures
from fastjvae.data import DataSource, load
from fastjvae.errors import ArgumentError, DataError
from fastjvae.model import edit, read_picture

SMALL = model_of(3, cont=2)
IMAGE = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(3))


def encoded(model: JointVAE, images: Tensor) -> Tensor:
    """Means and one-hot categories, by the published interface."""
    with torch.no_grad():
        return model.eval().reparameterize(model.encode(images))


# --- edit -----------------------------------------------------------------------------------------


def test_an_edit_changes_what_it_names_and_keeps_the_rest() -> None:
    images = torch.rand(4, 1, 16, 16)
    rows = encoded(SMALL, images)
    np.testing.assert_allclose(edit(SMALL, images).numpy(), decoded(SMALL, rows), atol=1e-6)
    rows[:, 1] = -0.5
    rows[:, 2:] = torch.tensor([0.0, 0, 1])
    edited = edit(SMALL, images, units={1: -0.5}, categories={0: 2})
    np.testing.assert_allclose(edited.numpy(), decoded(SMALL, rows), atol=1e-6)


def test_an_edit_is_made_in_evaluation_mode_and_leaves_the_model() -> None:
    model = model_of(3, cont=2).train()
    first, again = (edit(model, IMAGE, units={0: 1.0}) for _ in range(2))
    assert torch.equal(first, again)
    assert model.training
    assert not first.requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": {2: 0.0}}, "2 continuous units, got 2"),
        ({"units": {-1: 0.0}}, "2 continuous units, got -1"),
        ({"categories": {1: 0}}, "1 discrete variables, got 1"),
        ({"categories": {0: 3}}, "one of the 3 of variable c0, 0 to 2, got 3"),
        ({"categories": {0: -1}}, "0 to 2, got -1"),
    ],
)
def test_what_the_model_has_not_cannot_be_changed(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        edit(SMALL, IMAGE, **change)


# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_read_as_training_reads_them(mode: str, channels: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (37, 50, 4), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(tmp_path / "one.png")
    image = read_picture(tmp_path / "one.png", (channels, 16, 24))
    source = DataSource(
        "images",
        root=str(tmp_path),
        image_size=(16, 24),
        channels=channels,  # type: ignore[arg-type]
    )
    assert image.shape == (1, channels, 16, 24)
    assert torch.equal(image, load(source, cache=False).images)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    for name in ("text.png", "absent.png", "."):
        with pytest.raises(DataError, match="cannot be read as a picture") as error:
            read_picture(tmp_path / name, (1, 16, 16))
        assert str(tmp_path) in str(error.value)
    with pytest.raises(ArgumentError, match="these have 2"):
        read_picture(tmp_path / "text.png", (2, 16, 16))


# --- the figure -----------------------------------------------------------------------------------


def test_a_moved_unit_stands_below_the_input_and_its_reconstruction() -> None:
    row = encoded(SMALL, IMAGE)
    above, below = figures.edits(SMALL, IMAGE, unit=1, to=[-1.0, 0.5]).axes
    assert row_labels(above) == ["input", "reconstruction"]
    np.testing.assert_allclose(cells(above)[0, 0], IMAGE[0], atol=1e-6)
    np.testing.assert_allclose(cells(above)[1], decoded(SMALL, row), atol=1e-6)
    assert row_labels(below) == ["z1 moved"]
    assert column_labels(below) == [f"{MINUS}1.00", "0.50"]
    value = f"{float(row[0, 1]):.2f}".replace("-", MINUS)
    assert below.get_xlabel() == f"value of z1, {value} in the input"
    rows = row.repeat(2, 1)
    rows[:, 1] = torch.tensor([-1.0, 0.5])
    np.testing.assert_allclose(cells(below)[0], decoded(SMALL, rows), atol=1e-6)


def test_by_default_a_unit_sweeps_its_prior_and_a_variable_all_categories() -> None:
    row = encoded(SMALL, IMAGE)
    _, below = figures.edits(SMALL, (255 * IMAGE[0]).byte(), unit=0).axes
    assert cells(below).shape[:2] == (1, 10)
    assert column_labels(below)[-1] == f"{QUANTILES[-1]:.2f}"
    _, below = figures.edits(SMALL, IMAGE, variable=0).axes
    assert row_labels(below) == ["c0 changed"]
    assert column_labels(below) == ["0", "1", "2"]
    assert below.get_xlabel() == f"category of c0, {int(row[0, 2:].argmax())} in the input"
    rows = row.repeat(3, 1)
    rows[:, 2:] = torch.eye(3)
    np.testing.assert_allclose(cells(below)[0], decoded(SMALL, rows), atol=1e-6)


def test_a_unit_and_a_variable_make_a_grid() -> None:
    row = encoded(SMALL, IMAGE)
    change: dict[str, Any] = {
        "unit": 0,
        "to": [-1.0, 1.0, 2.0],
        "variable": 0,
        "categories": [2, 0],
    }
    _, below = figures.edits(SMALL, IMAGE, **change).axes
    assert row_labels(below) == ["c0 = 2", "c0 = 0"]
    _, named = figures.edits(SMALL, IMAGE, **change, names=["four", "five", None]).axes
    assert row_labels(named) == ["c0 = 2", "four"]
    with pytest.raises(ArgumentError, match="one name per category, 3, got 1"):
        figures.edits(SMALL, IMAGE, **change, names=["four"])
    rows = row.repeat(2, 3, 1)
    rows[:, :, 0] = torch.tensor([-1.0, 1.0, 2.0])
    rows[:, :, 2:] = torch.eye(3)[[2, 0]][:, None]
    expected = decoded(SMALL, rows.flatten(0, 1))
    np.testing.assert_allclose(cells(below), expected.reshape(2, 3, 1, 16, 16), atol=1e-6)
    picture = figures.edited_picture(SMALL, IMAGE, **change)
    assert picture.shape == (32, 48)
    assert picture.dtype == np.uint8
    np.testing.assert_allclose(picture[16:, 32:], 255 * expected[5, 0], atol=0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "got neither"),
        ({"unit": 2}, "2 continuous units, got 2"),
        ({"variable": 0, "to": [1.0]}, r"move a unit to, \[1.0\], but no unit"),
        ({"unit": 0, "categories": [1]}, r"categories, \[1\], but no variable"),
        ({"variable": 0, "categories": [3]}, "0 to 2, got 3"),
        ({"variable": 5}, "1 discrete variables, got 5"),
    ],
)
def test_wrong_edits_are_one_clear_sentence(change: dict[str, Any], message: str) -> None:
    draw: Callable[..., Any]
    for draw in (figures.edits, figures.edited_picture):
        with pytest.raises(ArgumentError, match=message) as error:
            draw(SMALL, IMAGE, **change)
        assert "\n" not in str(error.value)


def test_texts_lie_on_the_page_and_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = model_of(12, cont=120, size=(3, 64, 64)), torch.rand(3, 64, 64)
    assert_texts_apart(figures.edits(model, image, unit=119, variable=0, title="Me"), monkeypatch)
    assert_texts_apart(figures.edits(SMALL, IMAGE, unit=1, to=[1.0]), monkeypatch)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_refused(value: float):
    model = JointVAE((1, 32, 32), {"cont": 2, "disc": [3]})
    with pytest.raises(ArgumentError, match=f"unit z1 must be finite, got {value}"):
        edit(model, torch.rand(1, 1, 32, 32), units={1: value})
