"""A continuous unit as a measurement of an angle (paper fig. 8a: the azimuth of chairs)."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastjvae.errors import ArgumentError
from fastjvae.figures.labels import Vector, full_title, vector
from fastjvae.figures.page import (
    COLOURS,
    OTHERS,
    TEXT,
    Figure,
    add_plot,
    fit,
    new_page,
    title_above,
)
from fastjvae.model import JointVAE
from fastjvae.model.encoding import encode
from fastjvae.model.latent_moves import continuous_unit

Floats = NDArray[np.float64]

_HARMONICS = 3
_LEAST_IMAGES = 4 * (2 * _HARMONICS + 1)  # four for each coefficient
_CONSTANT = 0.05  # standard deviation below which a unit says nothing, as in Kim & Mnih (2018)
_TURNS = 72  # zeros of the angle that are tried, 5 degrees apart
_SIDE, _BESIDE = 330, 110  # of a panel and between two, pixels of the page
_MOST_LINES = 400  # distinct angles up to which their medians are drawn


class AngleFit(NamedTuple):
    """How well a unit follows an angle."""

    unit: int
    explained: float  # adjusted R^2 of the unit's means, at most 1
    inferred: Floats  # (N,) degrees
    median_error: float  # degrees on the circle, 90 for a unit that says nothing


def inferred_angles(
    model: JointVAE,
    images: Any,
    angles: Vector,
    *,
    unit: int | None = None,
    name: str = "azimuth",
    title: str | None = None,
) -> Figure:
    """A unit's value against the true angle, and the angle inferred from it (paper fig. 8a).

    The unit is the one that follows the angle best, see :func:`follow_angle`; the figure names it.

    Args:
        model: used in evaluation mode; its own mode is restored.
        images: held-out images, as :func:`fastjvae.metrics.encode` takes them; at least 28.
        angles: (N,) their true angles in degrees.
        unit: index of the continuous unit to show instead.
        name: of the angle.
        title: above the figure.

    Raises:
        ArgumentError: too few images, or another number of angles; the model has no such unit, or
            no unit that varies.
    """
    truth = vector("angles", angles, len(images), "the true angle in degrees of each image") % 360
    if model.spec.cont == 0:
        raise ArgumentError("an angle is read from a continuous unit, and the model has none")
    if unit is not None:
        continuous_unit(unit, model.spec)
    means = encode(model, images).codes.astype(np.float64)
    fitted = follow_angle(means, truth, unit)
    values = means[:, fitted.unit]

    figure = new_page()
    left, right = add_plot(figure), add_plot(figure)
    left.plot(truth, values, ".", ms=3, mew=0, color=OTHERS)
    different = np.unique(truth)
    if len(different) <= _MOST_LINES:
        medians = [np.median(values[truth == angle]) for angle in different]
        left.plot(different, medians, color=COLOURS[0], lw=1.1, label="median")
        left.legend(frameon=False, fontsize=TEXT["fontsize"])
    left.set_ylabel(f"mean of z{fitted.unit}", **TEXT)
    left.set_title(
        f"z{fitted.unit}: the {name} explains {max(fitted.explained, 0):.0%} of its variance",
        loc="left", **TEXT,
    )  # fmt: skip
    right.plot([0, 360], [0, 360], color="black", lw=0.8, ls="--")
    right.plot(truth, fitted.inferred, ".", ms=3, mew=0, color=COLOURS[0])
    right.set_ylim(0, 360)
    right.set_yticks(range(0, 361, 90))
    right.set_ylabel(f"inferred {name} (degrees)", **TEXT)
    right.set_title(f"median error {fitted.median_error:.0f} degrees", loc="left", **TEXT)
    for axes in (left, right):
        axes.set_xlim(0, 360)
        axes.set_xticks(range(0, 361, 90))
        axes.set_xlabel(f"true {name} (degrees)", **TEXT)
    notes = [f"{len(truth):,} images", "zero and direction of the inferred angle fitted"]
    title_above(left, full_title(title, notes), _SIDE)
    fit(figure, {left: (0, 0, _SIDE, _SIDE), right: (_SIDE + _BESIDE, 0, _SIDE, _SIDE)})
    return figure


def follow_angle(means: Floats, angles: Floats, unit: int | None = None) -> AngleFit:
    """Find the unit that follows an angle best, and read the angle from it.

    A unit follows the angle as far as a function of the angle explains its variance: the adjusted
    R^2 of a Fourier series of three terms. Such a function may run through the circle in any
    direction and jump where the circle is cut, as a unit must that holds all of it.

    The angle is inferred without a curve: the images in the order of the unit get the true angles
    in their order. Where that order begins and which way it goes are conventions, which a model
    without labels cannot know; those of the least median error are taken.

    Args:
        means: (N, Z) means of the units, N at least 28.
        angles: (N,) degrees in [0, 360).
        unit: take this one.

    Raises:
        ArgumentError: too few images; no unit varies by more than 0.05.
    """
    if len(means) < _LEAST_IMAGES:
        raise ArgumentError(
            f"an angle is read from at least {_LEAST_IMAGES} images, got {len(means)}"
        )
    radians = np.deg2rad(angles)
    waves = [wave(k * radians) for k in range(1, _HARMONICS + 1) for wave in (np.cos, np.sin)]
    design = np.stack([np.ones_like(radians), *waves], axis=1)
    centred = means - means.mean(axis=0)
    residuals = centred - design @ np.linalg.lstsq(design, centred, rcond=None)[0]
    total = (centred**2).mean(axis=0)
    freedom = (len(means) - 1) / (len(means) - design.shape[1])
    varies = total > _CONSTANT**2
    explained = np.where(
        varies, 1 - freedom * (residuals**2).mean(axis=0) / np.where(varies, total, 1), 0.0
    )
    if unit is None:
        if not varies.any():
            raise ArgumentError(
                f"no continuous unit varies by more than {_CONSTANT} over the images, so none can"
                f" follow the angle"
            )
        unit = int(np.where(varies, explained, -np.inf).argmax())
    inferred, error = _read_angle(means[:, unit], angles)
    return AngleFit(unit, float(explained[unit]), inferred, error)


def _read_angle(values: Floats, angles: Floats) -> tuple[Floats, float]:
    """Inferred angles (N,) in degrees, and their median error."""
    in_order = np.sort(angles)
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    shifts = np.unique(np.arange(_TURNS) * len(values) // _TURNS)
    readings = [
        in_order[(sign * ranks + shift) % len(values)] for sign in (1, -1) for shift in shifts
    ]
    apart = [np.abs((reading - angles + 180) % 360 - 180) for reading in readings]  # 0..180
    errors = [float(np.median(each)) for each in apart]
    best = int(np.argmin(errors))
    return readings[best], errors[best]
