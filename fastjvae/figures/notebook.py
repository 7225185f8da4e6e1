"""A figure that plain Jupyter shows by itself, without pyplot."""

from matplotlib.figure import Figure

from fastjvae.figures.saving import rendered


class NotebookFigure(Figure):
    """A matplotlib figure that a notebook draws as the value of a cell."""

    def _repr_png_(self) -> bytes:
        return rendered([self], "png")
