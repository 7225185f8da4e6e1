"""``fastjvae figures samples``."""

import numpy as np
from numpy.typing import NDArray

from fastjvae.cli.figures.command import Drawn, ModelFigure
from fastjvae.errors import ArgumentError
from fastjvae.figures.samples import samples_by_category
from fastjvae.files import printable
from fastjvae.metrics.clusters import commonest_labels
from fastjvae.model.latent_moves import discrete_variable


class Samples(ModelFigure):
    """Samples of the prior with one discrete variable held in each of its categories."""

    variable: int | None = None
    """number of the discrete variable; by default a figure of each"""
    samples: int = 10
    """images per category"""
    seed: int = 0
    """seed of the draws"""
    shares: bool = False
    """write beside each category its share of the data set's images"""
    names: bool = False
    """name each category after the label that most of its images have; needs labels"""

    def draw(self) -> Drawn:
        return self._of(self.variable or 0)

    def draw_all(self) -> list[Drawn]:
        if self.variable is not None or not self.model.spec.disc:
            return [self.draw()]
        return [self._of(number) for number in range(len(self.model.spec.disc))]

    def _of(self, number: int) -> Drawn:
        discrete_variable(number, self.model.spec)  # a wrong one shows before the data are read
        figure = samples_by_category(
            self.model,
            variable=number,
            samples=self.samples,
            seed=self.seed,
            shares=self.category_shares(number) if self.shares else None,
            names=self.category_names(number) if self.names else None,
        )
        return f"samples-c{number}", figure

    def category_shares(self, variable: int = 0) -> NDArray[np.float64]:
        """The share (K,) of the images that each category has."""
        categories = self.encoding.discrete[:, variable]
        size = self.model.spec.disc[variable]
        return np.bincount(categories, minlength=size) / len(categories)

    def category_names(self, variable: int = 0) -> list[str]:
        """The label that most images of each category have."""
        data = self.data
        if data.labels is None:
            raise ArgumentError(f"--names needs labels, and {data.name} has none")
        categories = self.encoding.discrete[:, variable]
        size = self.model.spec.disc[variable]
        names = commonest_labels(categories, data.labels.numpy(), size, data.label_names)
        return ["no image" if name is None else printable(name) for name in names]
