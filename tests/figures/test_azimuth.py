"""A unit that follows an angle is found, and the angle read from it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from figure_checks import assert_texts_apart
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from torch import Tensor, nn

from fastjvae import JointVAE, figures
from fastjvae.errors import ArgumentError

ANGLES = np.arange(0, 360, 5.0).repeat(3)


class _Pixels(nn.Module):
    """An encoder whose mean of unit i is pixel i of the first row, times 4, minus 2."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units
        self.anywhere = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        mean = 4 * images[:, 0, 0, : self.units] - 2
        return torch.cat([mean, torch.zeros_like(mean)], dim=1)


def model_reading(units: int) -> JointVAE:
    return JointVAE((1, 16, 16), {"cont": units}, encoder=_Pixels(units)).train()


def images_of(means: np.ndarray) -> Tensor:
    """Images (N, 1, 16, 16) from which :class:`_Pixels` reads these means (N, Z) in [-2, 2]."""
    images = torch.zeros(len(means), 1, 16, 16)
    images[:, 0, 0, : means.shape[1]] = torch.from_numpy((means + 2) / 4).float()
    return images


def turned(angles: np.ndarray, shift: float, sign: int) -> np.ndarray:
    """A unit that goes once from -2 to 2 in a turn from ``shift``, in either direction."""
    return sign * (4 * ((angles - shift) % 360) / 360 - 2)


@given(shift=st.integers(0, 71), sign=st.sampled_from([1, -1]), unit=st.integers(0, 2))
def test_the_unit_and_the_angle_are_found_wherever_the_circle_is_cut(
    shift: int, sign: int, unit: int
) -> None:
    rng = np.random.default_rng(7)
    means = rng.normal(size=(len(ANGLES), 3))
    means[:, unit] = turned(ANGLES, 5 * shift, sign) + rng.normal(0, 0.01, len(ANGLES))
    fitted = figures.follow_angle(means, ANGLES)
    assert fitted.unit == unit
    assert fitted.explained > 0.75  # three terms of a sawtooth's series: 6/pi^2 (1 + 1/4 + 1/9)
    assert fitted.median_error <= 5
    apart = np.abs((fitted.inferred - ANGLES + 180) % 360 - 180)
    assert float(np.median(apart)) == fitted.median_error
    np.testing.assert_allclose(np.sort(fitted.inferred), np.sort(ANGLES))


def test_a_unit_that_says_nothing_is_at_chance() -> None:
    means = np.random.default_rng(0).normal(size=(2000, 1))
    angles = np.random.default_rng(1).uniform(0, 360, 2000)
    fitted = figures.follow_angle(means, angles)
    assert abs(fitted.explained) < 0.02
    assert 80 < fitted.median_error < 95


def test_units_that_hardly_vary_do_not_win() -> None:
    exact = np.sin(np.deg2rad(ANGLES))
    noisy = exact + np.random.default_rng(0).normal(0, 1, len(ANGLES))
    means = np.stack([1e-3 * exact, noisy], axis=1)
    assert figures.follow_angle(means, ANGLES).unit == 1
    assert figures.follow_angle(means, ANGLES, unit=0).explained == 0


def test_the_figure_shows_the_unit_and_what_is_inferred() -> None:
    rng = np.random.default_rng(3)
    means = np.stack([rng.uniform(-2, 2, len(ANGLES)), turned(ANGLES, 30, -1)], axis=1)
    means[0, 1] += 0.3  # one of the three images of an angle
    model = model_reading(2)
    figure = figures.inferred_angles(model, images_of(means), ANGLES - 360, title="Chairs")
    assert model.training
    left, right = figure.axes
    points = np.asarray(left.lines[0].get_xydata())
    np.testing.assert_allclose(points, np.stack([ANGLES, means[:, 1]], axis=1), atol=1e-5)
    medians = np.asarray(left.lines[1].get_xydata())
    np.testing.assert_allclose(medians[:, 0], np.unique(ANGLES))
    np.testing.assert_allclose(medians[:, 1], turned(np.unique(ANGLES), 30, -1), atol=1e-5)
    assert left.get_title(loc="left").startswith("z1: the azimuth explains 8")
    assert left.get_ylabel() == "mean of z1"
    read = np.asarray(right.lines[1].get_xydata())
    np.testing.assert_allclose(read[:, 0], ANGLES)
    assert right.get_title(loc="left") in ("median error 0 degrees", "median error 5 degrees")
    assert right.get_xlabel() == "true azimuth (degrees)"
    assert right.get_ylabel() == "inferred azimuth (degrees)"
    note = "216 images, zero and direction of the inferred angle fitted"
    assert [text.get_text() for text in left.texts] == [f"Chairs ({note})"]


def test_another_unit_may_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    means = np.stack([rng.uniform(-2, 2, len(ANGLES)), turned(ANGLES, 0, 1)], axis=1)
    images = images_of(means)
    figure = figures.inferred_angles(model_reading(2), images, ANGLES, unit=0, name="elevation")
    assert figure.axes[0].get_ylabel() == "mean of z0"
    assert figure.axes[1].get_xlabel() == "true elevation (degrees)"
    assert_texts_apart(figure, monkeypatch)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda: figures.inferred_angles(model_reading(2), torch.zeros(40, 1, 16, 16), [0.0]),
            r"angles must hold .* shape \(40,\), got shape \(1,\)",
        ),
        (
            lambda: figures.inferred_angles(
                model_reading(2), torch.zeros(9, 1, 16, 16), np.zeros(9)
            ),
            "at least 28 images, got 9",
        ),
        (
            lambda: figures.inferred_angles(
                model_reading(2), torch.zeros(40, 1, 16, 16), np.arange(40), unit=2
            ),
            "2 continuous units, got 2",
        ),
        (
            lambda: figures.inferred_angles(
                model_reading(2), torch.zeros(40, 1, 16, 16), np.arange(40)
            ),
            "no continuous unit varies by more than 0.05",
        ),
        (
            lambda: figures.inferred_angles(
                JointVAE((1, 16, 16), {"disc": [3]}), torch.zeros(40, 1, 16, 16), np.arange(40)
            ),
            "the model has none",
        ),
    ],
)
def test_wrong_input_is_one_clear_sentence(draw: Callable[[], Figure], message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as error:
        draw()
    assert "\n" not in str(error.value)
