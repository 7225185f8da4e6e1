"""``fastjvae figures ranked``."""

from fastjvae.cli.figures.command import Drawn
from fastjvae.cli.figures.start import SweepFigure
from fastjvae.figures.ranked import ranked_units
from fastjvae.metrics.effect import effect_on_images


class Ranked(SweepFigure):
    """Traversals of all latent variables by decreasing KL on the data set, with bars for it and for
    the share of the picture that depends on each."""

    least: bool = False
    """the least informative instead of the most informative"""
    steps: int = 10
    """images per row"""
    max_units: int | None = None
    """rows at most; by default all"""

    def draw(self) -> Drawn:
        cont = self.model.spec.cont
        effects = effect_on_images(self.model, self.data.images)
        figure = ranked_units(
            self.model,
            self.encoding.kl[:cont],
            self.encoding.kl[cont:],
            effects=[*effects.cont, *effects.disc],
            least=self.least,
            steps=self.steps,
            max_units=self.max_units,
            base=self.start.row,
            span=self.range,
            title=self.start.name,
        )
        return "ranked-least" if self.least else "ranked", figure
