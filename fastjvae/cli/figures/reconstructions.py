"""``fastjvae figures reconstructions``."""

from fastjvae.cli.figures.command import Drawn, ModelFigure
from fastjvae.figures.reconstructions import reconstructions


class Reconstructions(ModelFigure):
    """Images of the data set above their reconstructions."""

    max_images: int = 32
    """number of images, at equal distances in the data set"""

    def draw(self) -> Drawn:
        figure = reconstructions(self.model, self.data.images, max_images=self.max_images)
        return self.name, figure
