"""``fastjvae figures azimuth``."""

import torch
from torch import Tensor

from fastjvae.cli.figures.command import Drawn, ModelFigure
from fastjvae.errors import ArgumentError
from fastjvae.figures.azimuth import inferred_angles


class Azimuth(ModelFigure):
    """The unit that follows an angle best against the true angle; needs a factor of the data."""

    factor: str = "azimuth"
    """name of the factor, an angle"""
    radians: bool = False
    """the factor is in radians, as the orientation of dsprites and sprites, and not in degrees, as
    that of shapes3d"""
    unit: int | None = None
    """show this continuous unit instead of the one that follows the angle best"""

    def draw(self) -> Drawn:
        model, images, angles = self.model, self.data.images, self._angles()
        return self.factor, inferred_angles(model, images, angles, unit=self.unit, name=self.factor)

    def _angles(self) -> Tensor:
        """The true angle (N,) of each image in degrees, float64."""
        data, names = self.data, self.data.factor_names or ()
        if data.factors is None or self.factor not in names:
            has = f"its factors are {', '.join(names)}" if names else "it has no named factors"
            raise ArgumentError(
                f"the figure needs the factor {self.factor!r} of the images in {data.name}; {has}"
            )
        column = names.index(self.factor)
        angles = data.factors[:, column].double()
        if data.factor_values is not None:  # what its numbers stand for
            angles = torch.tensor(data.factor_values[column], dtype=torch.float64)[angles.long()]
        return angles.rad2deg() if self.radians else angles
