"""``fastjvae figures traversal``."""

from fastjvae.cli.figures.command import Drawn, ModelFigure
from fastjvae.figures.traversal import traversal
from fastjvae.model.latent_moves import prior_sample


class Traversal(ModelFigure):
    """One latent variable changes along each row; needs no data."""

    unit: int | None = None
    """number of the continuous unit, or"""
    variable: int | None = None
    """number of the discrete variable"""
    steps: int = 10
    """images per row"""
    samples: int = 0
    """rows that start from so many draws of the prior; 0: one row from its mean"""
    seed: int = 0
    """seed of the draws"""

    def draw(self) -> Drawn:
        model = self.model
        base = prior_sample(model.spec, self.samples, self.seed) if self.samples > 0 else None
        figure = traversal(
            model, unit=self.unit, variable=self.variable, base=base, steps=self.steps
        )
        latent = f"z{self.unit}" if self.unit is not None else f"c{self.variable}"
        return f"traversal-{latent}", figure
