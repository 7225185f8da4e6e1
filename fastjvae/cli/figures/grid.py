"""``fastjvae figures grid``."""

from collections.abc import Iterable

import numpy as np

from fastjvae.cli.figures.command import Drawn
from fastjvae.cli.figures.start import SweepFigure
from fastjvae.errors import ArgumentError
from fastjvae.figures.grid import traversal_grid


class Grid(SweepFigure):
    """Two latent variables change, one down the rows and one along the columns.

    By default the first discrete variable and the most informative unit; this choice needs data.
    """

    rows: str | None = None
    """latent variable of the rows, such as z3 or c0"""
    columns: str | None = None
    """latent variable of the columns"""
    steps: int = 10
    """values of a continuous unit"""

    def draw(self) -> Drawn:
        rows, columns, spec = self.rows, self.columns, self.model.spec
        if rows is None or columns is None:
            units = [
                f"z{unit}" for unit in np.argsort(-self.encoding.kl[: spec.cont], kind="stable")
            ]
            variables = [f"c{d}" for d in range(len(spec.disc))]
            columns = columns or _first([*units, *variables], rows)
            rows = rows or _first([*variables[:1], *units, *variables[1:]], columns)
        figure = traversal_grid(
            self.model,
            rows,
            columns,
            base=self.start.row,
            steps=self.steps,
            span=self.range,
            title=self.start.name,
        )
        return f"grid-{rows}-{columns}", figure


def _first(names: Iterable[str], taken: str | None) -> str:
    free = next((name for name in names if name != taken), None)
    if free is None:
        raise ArgumentError("a grid needs two latent variables, and the model has only one")
    return free
