"""An image, its reconstruction and edits of it (paper fig. 8b)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastjvae._numbers import decimal
from fastjvae.errors import ArgumentError
from fastjvae.figures.image_grid import (
    Block,
    check_channels,
    image_grid,
    input_images,
    plain_pixels,
)
from fastjvae.figures.labels import check_names, short
from fastjvae.figures.page import Figure
from fastjvae.functional.latents import LatentSpec
from fastjvae.model import JointVAE
from fastjvae.model.given import one_image_for
from fastjvae.model.latent_moves import (
    change,
    continuous_unit,
    decode,
    decoded_rows,
    discrete_variable,
    encode_row,
    unit_values,
)

_STEPS = 10


def edits(
    model: JointVAE,
    image: Any,
    *,
    unit: int | None = None,
    to: Sequence[float] = (),
    variable: int | None = None,
    categories: Sequence[int] = (),
    names: Sequence[str | None] | None = None,
    title: str | None = None,
) -> Figure:
    """An image above its reconstruction and what it becomes when latent variables are changed.

    A unit alone or a variable alone makes one row; of both, each row has a category and each column
    a value of the unit.

    Args:
        model: used in evaluation mode; its own mode is restored.
        image: (C, H, W), (H, W, C) or, grey, (H, W), with an axis of one image before them or
            without, uint8 0..255 or floats 0..1, torch or numpy; or a list of one PIL image.
        unit: index of the continuous unit to move.
        to: its new values, in standard deviations of its prior; by default ten from the 5 % to the
            95 % quantile of it.
        variable: index of the discrete variable to change.
        categories: its new categories; by default all.
        names: (K,) what the categories of the variable stand for, to write beside their rows; None
            of one that stands for nothing.
        title: above the figure.

    Raises:
        ArgumentError: neither a unit nor a variable is given; the model has no such unit, variable
            or category, or takes other images; another number of names than of categories.
    """
    image = one_image_for(model, image)
    spec, row = model.spec, encode_row(model, image)
    values, changed, rows = _plan(spec, row, unit, to, variable, categories)
    original = Block([input_images(model, image), decode(model, row)], ["input", "reconstruction"])
    named: dict[int, str] = {}
    if names is not None and variable is not None:
        check_names(names, spec.disc[variable])
        named = {k: short(name) for k, name in enumerate(names) if name is not None}
    shown = [k for each in changed for k in each.values()]
    if unit is None:
        place = spec.categories[int(variable or 0)]
        labels, beside = [str(k) for k in shown], [f"c{variable} changed"]
        below = f"category of c{variable}, {int(row[0, place].argmax())} in the input"
    else:
        labels = [decimal(value) for each in values for value in each.values()]
        beside = [named.get(k, f"c{variable} = {k}") for k in shown] or [f"z{unit} moved"]
        below = f"value of z{unit}, {decimal(float(row[0, unit]))} in the input"
    edited = Block(decoded_rows(model, rows), beside, labels, below)
    return image_grid([original, edited], title or "")


def edited_picture(
    model: JointVAE,
    image: Any,
    *,
    unit: int | None = None,
    to: Sequence[float] = (),
    variable: int | None = None,
    categories: Sequence[int] = (),
) -> NDArray[np.uint8]:
    """The edited images alone, side by side in the model's own pixels, without labels.

    Args:
        model, image, unit, to, variable, categories: as :func:`edits`.

    Returns:
        (H', W') of a grey model or (H', W', 3), uint8.

    Raises:
        ArgumentError: as :func:`edits`.
    """
    check_channels(model.img_size[0])
    row = encode_row(model, one_image_for(model, image))
    rows = _plan(model.spec, row, unit, to, variable, categories).rows
    return plain_pixels(decoded_rows(model, rows))


class _Plan(NamedTuple):
    """The changes to make, and the sample rows that they give."""

    values: list[dict[int, float]]  # of units; an empty one where no unit moves
    changed: list[dict[int, int]]  # of variables; an empty one where none is changed
    rows: list[Tensor]  # a row of images for each category, or one along the categories


def _plan(
    spec: LatentSpec,
    row: Tensor,
    unit: int | None,
    to: Sequence[float],
    variable: int | None,
    categories: Sequence[int],
) -> _Plan:
    if unit is None and to:
        raise ArgumentError(f"there are values to move a unit to, {list(to)}, but no unit")
    if variable is None and categories:
        raise ArgumentError(f"there are categories, {list(categories)}, but no variable")
    if unit is None and variable is None:
        raise ArgumentError("an edit needs the unit to move or the variable to change, got neither")
    values: list[dict[int, float]] = [{}]
    changed: list[dict[int, int]] = [{}]
    if unit is not None:
        continuous_unit(unit, spec)
        values = [{unit: value} for value in to or unit_values(_STEPS).tolist()]
    if variable is not None:
        discrete_variable(variable, spec)
        changed = [{variable: k} for k in categories or range(spec.disc[variable])]
    rows = [torch.cat([change(row, spec, units, each) for units in values]) for each in changed]
    return _Plan(values, changed, [torch.cat(rows)] if unit is None else rows)
