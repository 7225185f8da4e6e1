"""``fastjvae figures traversal``."""

from torch import Tensor

from fastjvae.cli.figures.command import Drawn
from fastjvae.cli.figures.start import SweepFigure
from fastjvae.errors import ArgumentError
from fastjvae.figures.traversal import traversal
from fastjvae.model.latent_moves import Latent, all_latents, prior_sample


class Traversal(SweepFigure):
    """One latent variable changes along each row; needs no data.

    Without --unit and --variable, a figure of each: files in a folder, or the pages of a .pdf.
    """

    unit: int | None = None
    """number of the continuous unit, or"""
    variable: int | None = None
    """number of the discrete variable; by default a figure of each unit and variable"""
    steps: int = 10
    """images per row"""
    samples: int = 0
    """rows that start from so many draws of the prior; 0: one row, from --base"""
    seed: int = 0
    """seed of the draws"""

    def draw(self) -> Drawn:
        return self._of(self.unit, self.variable)

    def draw_all(self) -> list[Drawn]:
        if self.unit is not None or self.variable is not None:
            return [self.draw()]
        return [self._of(*_numbers(latent)) for latent in all_latents(self.model.spec)]

    def _of(self, unit: int | None, variable: int | None) -> Drawn:
        figure = traversal(
            self.model,
            unit=unit,
            variable=variable,
            base=self._base(),
            steps=self.steps,
            span=self.range,
            title=self.start.name,
        )
        return f"traversal-{f'z{unit}' if unit is not None else f'c{variable}'}", figure

    def _base(self) -> Tensor | None:
        if self.samples <= 0:
            return self.start.row
        if self.base is not None:
            raise ArgumentError(
                f"rows start from draws of the prior, --samples {self.samples}, or from --base"
                f" {self.base}: pass one of the two"
            )
        return prior_sample(self.model.spec, self.samples, self.seed)


def _numbers(latent: Latent) -> tuple[int | None, int | None]:
    """The unit and the variable, of which one is None."""
    return (latent.number, None) if latent.kind == "z" else (None, latent.number)
