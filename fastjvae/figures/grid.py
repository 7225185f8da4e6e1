"""Two latent variables change, one down the rows and one along the columns (paper fig. 2, 4c)."""

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
from fastjvae.model.latent_moves import Latent, Span, base_row, decoded_rows


def traversal_grid(
    model: JointVAE,
    rows: str | Latent,
    columns: str | Latent,
    *,
    base: Tensor | None = None,
    steps: int = 10,
    max_categories: int = 20,
    span: Span | None = None,
    title: str | None = None,
) -> Figure:
    """Two latent variables change, one down the rows and one along the columns (fig. 2, 4c).

    Args:
        model: used in evaluation mode; its own mode is restored.
        rows: the variable that changes from row to row: "z3" is continuous unit 3, "c0" discrete
            variable 0.
        columns: the variable that changes from column to column.
        base: (L,) sample row that holds the other variables; by default the continuous units are 0
            and discrete variables in the categories from which most is seen, which the title has,
            see :func:`fastjvae.model.latent_moves.telling_categories`.
        steps: values of a continuous unit, swept as in :func:`traversal`; at least 2.
        max_categories: categories of a discrete variable at most, the first ones.
        span: first and last value of a unit's sweep instead, in standard deviations of its prior,
            in equal steps; the first may be the larger.
        title: above the figure.

    Raises:
        ArgumentError: the model has no such variable, or both are the same one; ``span`` is no
            range.
    """
    spec = model.spec
    check_counts(steps=steps, max_categories=max_categories)
    down, along = Latent.parse(rows, spec), Latent.parse(columns, spec)
    if down == along:
        raise ArgumentError(f"rows and columns must be two latent variables, both are {down}")
    shown = {latent: steps if latent.kind == "z" else max_categories for latent in (down, along)}
    row = base_row(model, base)
    starts, row_values = down.sweep(row, shown[down], spec, span)
    swept = [along.sweep(start, shown[along], spec, span) for start in starts]
    column_values = swept[0][1]
    prefix = "category " if down.kind == "c" and len(spec.disc) == 1 else f"{down} = "
    block = Block(
        decoded_rows(model, [sample for sample, _ in swept]),
        [f"{prefix}{value}" for value in row_values],
        column_values,
        axis_title(along),
    )
    notes = note_on_categories(spec, down, len(row_values))
    notes += note_on_categories(spec, along, len(column_values))
    notes += note_on_start(spec, row, [{down, along}]) if base is None else []
    return image_grid([block], full_title(title, notes))
