"""A traversal of one latent variable (paper fig. 2)."""

from torch import Tensor

from fastjvae.errors import ArgumentError
from fastjvae.figures.image_grid import Block, image_grid
from fastjvae.figures.labels import (
    axis_title,
    check_counts,
    full_title,
    note_on_categories,
    note_on_start,
)
from fastjvae.figures.page import Figure
from fastjvae.model import JointVAE
from fastjvae.model.latent_moves import (
    Span,
    base_row,
    continuous_unit,
    decoded_rows,
    discrete_variable,
)


def traversal(
    model: JointVAE,
    *,
    unit: int | None = None,
    variable: int | None = None,
    base: Tensor | None = None,
    steps: int = 10,
    span: Span | None = None,
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
            figure; by default one row with the continuous units at 0 and discrete variables in
            the categories from which most is seen, which the title has, see
            :func:`fastjvae.model.latent_moves.telling_categories`.
        steps: images per row, at least 2.
        span: first and last value of a unit's sweep instead, in standard deviations of its prior,
            in equal steps; the first may be the larger.
        title: above the figure.

    Raises:
        ArgumentError: not just one of ``unit`` and ``variable``; the model has none of that index;
            ``base`` does not fit the model; ``span`` is no range.
    """
    spec = model.spec
    check_counts(steps=steps)
    if unit is not None and variable is None:
        latent = continuous_unit(unit, spec)
    elif variable is not None and unit is None:
        latent = discrete_variable(variable, spec)
    else:
        raise ArgumentError(
            "a traversal is of one latent variable: give either the unit or the variable,"
            f" got unit {unit} and variable {variable}"
        )
    bases = [base] if base is None or base.dim() == 1 else list(base)
    if not bases:
        raise ArgumentError("base must hold at least one sample row, got none")
    rows = [base_row(model, each) for each in bases]
    swept = [latent.sweep(row, steps, spec, span) for row in rows]
    values = swept[0][1]
    images = decoded_rows(model, [samples for samples, _ in swept])
    names = [str(latent)] if len(bases) == 1 else []
    block = Block(images, names, values, axis_title(latent))
    notes = note_on_categories(spec, latent, len(values))
    notes += note_on_start(spec, rows[0], [{latent}]) if base is None else []
    return image_grid([block], full_title(title, notes))
