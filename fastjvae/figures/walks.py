"""Walks along chosen latent variables (paper fig. 2), and models side by side (fig. 3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from fastjvae.errors import ArgumentError
from fastjvae.figures.image_grid import Block, image_columns, image_grid
from fastjvae.figures.labels import Vector, check_count, full_title, part, vector, with_kl
from fastjvae.model.latent_moves import (
    Latent,
    all_latents,
    base_row,
    continuous_unit,
    decoded_rows,
    discrete_variable,
    first_categories,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastjvae.model import JointVAE


def traversal(
    model: JointVAE,
    *,
    unit: int | None = None,
    variable: int | None = None,
    base: Tensor | None = None,
    steps: int = 10,
    title: str | None = None,
) -> Figure:
    """One latent variable changes along the row, all others stay (paper fig. 2).

    A continuous unit is swept from the 5 % to the 95 % quantile of its prior in equal steps of
    probability, a discrete variable runs through its categories, the first ``steps`` of them.

    Args:
        model: used in evaluation mode; its own mode is restored.
        unit: index of the continuous unit, or
        variable: index of the discrete variable.
        base: (L,) or (R, L) sample rows that hold the other variables, one for each row of the
            figure; by default one row with the continuous units at 0 and every discrete variable in
            its first category.
        steps: images per row, at least 2.
        title: above the figure.

    Raises:
        ArgumentError: not just one of ``unit`` and ``variable``; the model has none of that index;
            ``base`` does not fit the model.
    """
    spec = model.spec
    check_count("steps", steps, least=2)
    if unit is not None and variable is None:
        latent = continuous_unit(unit, spec)
    elif variable is not None and unit is None:
        latent = discrete_variable(variable, spec)
    else:
        raise ArgumentError(
            "a traversal is of one latent variable: give either the unit or the variable,"
            f" got unit {unit} and variable {variable}"
        )
    bases = first_categories(spec) if base is None else base
    if bases.dim() == 1:
        bases = bases[None]
    rows: list[Tensor] = []
    labels: list[str] = []
    for each in bases:
        swept, labels = latent.sweep(base_row(spec, each), steps, spec)
        rows.append(swept)
    if not rows:
        raise ArgumentError("base must hold at least one sample row, got none")
    names = [str(latent)] if len(rows) == 1 else []
    block = Block(decoded_rows(model, rows), names, labels, _axis_title(latent))
    notes = _note_on_categories(model, latent, len(labels))
    return image_grid([block], full_title(title, notes))


def traversal_grid(
    model: JointVAE,
    rows: str | Latent,
    columns: str | Latent,
    *,
    base: Tensor | None = None,
    steps: int = 10,
    max_categories: int = 20,
    title: str | None = None,
) -> Figure:
    """Two latent variables change, one down the rows and one along the columns (fig. 2, 4c).

    Args:
        model: used in evaluation mode; its own mode is restored.
        rows: the variable that changes from row to row: "z3" is continuous unit 3, "c0" discrete
            variable 0.
        columns: the variable that changes from column to column.
        base: (L,) sample row that holds the other variables; by default the continuous units are 0
            and every discrete variable is in its first category.
        steps: values of a continuous unit, swept as in :func:`traversal`; at least 2.
        max_categories: categories of a discrete variable at most, the first ones.
        title: above the figure.

    Raises:
        ArgumentError: the model has no such variable, or both are the same one.
    """
    spec = model.spec
    check_count("steps", steps, least=2)
    check_count("max_categories", max_categories, least=1)
    down, along = Latent.parse(rows, spec), Latent.parse(columns, spec)
    if down == along:
        raise ArgumentError(f"rows and columns must be two latent variables, both are {down}")
    shown = {latent: steps if latent.kind == "z" else max_categories for latent in (down, along)}
    row = base_row(spec, base)
    starts, row_values = down.sweep(row, shown[down], spec)
    swept = [along.sweep(start, shown[along], spec) for start in starts]
    column_values = swept[0][1]
    prefix = "category " if down.kind == "c" and len(spec.disc) == 1 else f"{down} = "
    block = Block(
        decoded_rows(model, [sample for sample, _ in swept]),
        [f"{prefix}{value}" for value in row_values],
        column_values,
        _axis_title(along),
    )
    notes = _note_on_categories(model, down, len(row_values))
    notes += _note_on_categories(model, along, len(column_values))
    return image_grid([block], full_title(title, notes))


def side_by_side(
    models: Mapping[str, JointVAE],
    *,
    kl: Mapping[str, Vector] | None = None,
    steps: int = 8,
    max_units: int = 10,
    title: str | None = None,
) -> Figure:
    """The latent variables of several models, a column of traversals for each (paper fig. 3).

    Args:
        models: by the names that stand above the columns; their images may differ in size.
        kl: for each model (Z + D,) the KL of its units and then its discrete variables in nats;
            units are then in decreasing order of it, and otherwise in their own.
        steps: images per row, at least 2; of a discrete variable the first categories.
        max_units: number of units, and of discrete variables, shown of a model at most.
        title: above the figure.

    Raises:
        ArgumentError: there is no model, or the KLs are not those of the models.
    """
    check_count("steps", steps, least=2)
    check_count("max_units", max_units, least=1)
    if not models:
        raise ArgumentError("side by side needs at least one model, got none")
    if kl is not None and set(kl) != set(models):
        raise ArgumentError(
            f"kl must be of the models {', '.join(models)}, got it of {', '.join(kl) or 'none'}"
        )
    columns = {}
    for name, model in models.items():
        spec = model.spec
        latents = all_latents(spec)
        labels = {latent: latent.label(spec, steps) for latent in latents}
        units, variables = latents[: spec.cont], latents[spec.cont :]
        if kl is not None:
            meaning = f"the KL in nats of each unit and discrete variable of {name}"
            nats = vector("kl", kl[name], len(latents), meaning)
            order = np.argsort(-nats[: spec.cont], kind="stable").tolist()
            units = [units[i] for i in order]
            pairs = zip(latents, nats, strict=True)
            labels = {
                latent: latent.label(spec, steps, with_kl(str(latent), nat))
                for latent, nat in pairs
            }
        shown = [*units[:max_units], *variables[:max_units]]
        swept = [latent.sweep(first_categories(spec), steps, spec)[0] for latent in shown]
        heading = full_title(name, part(len(shown), len(latents), "latent variables"))
        columns[heading] = [Block(decoded_rows(model, swept), [labels[each] for each in shown])]
    return image_columns(columns, title or "")


def _axis_title(latent: Latent) -> str:
    return f"value of {latent}" if latent.kind == "z" else f"category of {latent}"


def _note_on_categories(model: JointVAE, latent: Latent, shown: int) -> list[str]:
    if latent.kind == "z":
        return []
    size = model.spec.disc[latent.number]
    return [f"the first {note}" for note in part(shown, size, f"categories of {latent}")]
