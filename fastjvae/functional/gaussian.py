"""The Gaussian likelihood of images: its scale, and the ends between which pixels lie."""

import dataclasses
import math

import torch
from torch import Tensor

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def gaussian_mean(logits: Tensor) -> Tensor:
    """The places of the means between the ends, 0..1 for logits from -2 to 2, and beyond."""
    return 0.25 * logits + 0.5


def unit_interval(images: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 0..255 -> 0..1 by division, as torchvision's ToTensor; floats change their dtype."""
    return images.to(dtype) / 255 if images.dtype == torch.uint8 else images.to(dtype)


# No named tuple: torch.compile of PyTorch 2.8 knows neither their properties nor _replace().
@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Pixels as independent Gaussians around ``low + (high - low) (1/2 + logit/4)``.

    The mean is the tangent of the sigmoid at 0. A sigmoid itself would have no gradient left where
    it is near its ends, and of mostly black images a decoder soon makes black ones and stays there.

    The standard deviation is one for all pixels, in the unit of the images, as the ends are. Bytes
    stand for places between the ends: 0 for ``low``, 255 for ``high``.
    """

    log_scale: float | Tensor = 0.0  # log of the standard deviation; a tensor () has a gradient
    low: float = 0.0
    high: float = 1.0

    @property
    def width(self) -> float:
        """The distance between the ends."""
        return self.high - self.low

    @property
    def sharpness(self) -> float | Tensor:
        """The distance between the ends in standard deviations."""
        if isinstance(self.log_scale, Tensor):
            return self.width * (-self.log_scale).exp()
        return self.width * math.exp(min(-self.log_scale, 700.0))  # beyond that Python refuses

    @property
    def constant(self) -> float | Tensor:
        """Nats of a pixel that is decoded without error: log scale + log(2 pi) / 2."""
        return self.log_scale + HALF_LOG_2PI

    def on_host(self) -> "Gaussian":
        """The same with a log scale that is a float; waits for its device."""
        if isinstance(self.log_scale, Tensor):
            return dataclasses.replace(self, log_scale=float(self.log_scale.detach()))
        return self

    def unit_interval(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        """Images as their places between the ends, 0..1: bytes over 255, floats from the ends."""
        unit = unit_interval(images, dtype)
        if images.dtype == torch.uint8 or (self.low, self.high) == (0, 1):
            return unit
        return (unit - self.low) / self.width

    def images(self, unit: Tensor) -> Tensor:
        """Places between the ends, 0..1, as images."""
        return unit if (self.low, self.high) == (0, 1) else self.low + self.width * unit
