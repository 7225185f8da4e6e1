"""``fastjvae figures traversals``."""

from fastjvae.cli.figures.command import Drawn
from fastjvae.cli.figures.start import SweepFigure
from fastjvae.figures.traversals import traversals


class Traversals(SweepFigure):
    """Every latent variable changes along a row of its own; needs no data.

    Units are in the order of their effect on the picture.
    """

    by_kl: bool = False
    """order the units by their KL on the data set, and write it beside them"""
    steps: int = 10
    """images per row"""
    max_units: int | None = None
    """units, and discrete variables, at most; by default all"""

    def draw(self) -> Drawn:
        cont = self.model.spec.cont
        figure = traversals(
            self.model,
            self.encoding.kl[:cont] if self.by_kl else None,
            kl_disc=self.encoding.kl[cont:] if self.by_kl else None,
            steps=self.steps,
            base=self.start.row,
            span=self.range,
            title=self.start.name,
            max_units=self.max_units,
        )
        return self.name, figure
