"""The likelihood of a model's images: Bernoulli, or Gaussian with a fixed or a learned scale."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from fastjvae._numbers import is_finite, shown
from fastjvae.errors import ArgumentError
from fastjvae.functional.checks import check_value_range
from fastjvae.functional.gaussian import Gaussian, gaussian_mean

Likelihood = Literal["bernoulli", "gaussian"]
Scale = float | Literal["learned"]
LIKELIHOODS = get_args(Likelihood)

# Shares of the value range. A learned scale begins at the first. The second is the deviation of
# what rounding to 8 bits takes off; its square is added to a learned scale's, without which the
# density of a pixel that is always the same, such as a black border, would grow without end.
FIRST_SCALE = 0.1
ROUNDING = 1 / (255 * math.sqrt(12))


class OfImages(nn.Module):
    """A model of images under a likelihood.

    Attributes:
        likelihood: "bernoulli" or "gaussian".
        scale: the Gaussian's standard deviation in the unit of the images, or "learned".
        value_range: lowest and highest value of a pixel.
        log_scale: the parameter of a learned scale, (); None of others. :attr:`gaussian` says what
            the scale is.
    """

    log_scale: nn.Parameter | None

    def set_likelihood(
        self, likelihood: Likelihood, scale: Scale, value_range: tuple[float, float]
    ) -> None:
        """Check and take what the images are like; ArgumentError says what would be right."""
        if likelihood not in LIKELIHOODS:
            raise ArgumentError(
                f"likelihood must be 'bernoulli' or 'gaussian', got {shown(likelihood)}"
            )
        if scale != "learned" and not (is_finite(scale) and scale > 0):
            raise ArgumentError(
                f"scale must be 'learned' or a finite number above 0, got {shown(scale)}"
            )
        check_value_range(value_range)
        low, high = map(float, value_range)
        if likelihood == "bernoulli" and (scale != 1.0 or (low, high) != (0.0, 1.0)):
            raise ArgumentError(
                f"scale and value_range are for likelihood='gaussian': a Bernoulli has no scale,"
                f" and its pixels lie between 0 and 1; got scale {shown(scale)} and value_range"
                f" {(low, high)}"
            )
        self.likelihood, self.scale, self.value_range = likelihood, scale, (low, high)
        self.log_scale = None
        if likelihood == "gaussian" and scale == "learned":
            self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE * (high - low))))

    @property
    def gaussian(self) -> Gaussian | None:
        """The likelihood as :mod:`fastjvae.functional` takes it; None for Bernoulli."""
        if self.likelihood == "bernoulli":
            return None
        low, high = self.value_range
        if self.log_scale is None:
            assert self.scale != "learned"
            return Gaussian(math.log(self.scale), low, high)
        least = math.log(ROUNDING * (high - low))
        double = self.log_scale.dtype == torch.float64
        log_scale = self.log_scale if double else self.log_scale.float()
        # log sqrt(exp(log_scale)^2 + rounding^2)
        squares = torch.logaddexp(2 * log_scale, torch.full_like(log_scale, 2 * least))
        return Gaussian(0.5 * squares, low, high)

    @property
    def standard_deviation(self) -> float | None:
        """The Gaussian's scale as it is now, in the unit of the images; waits for the device."""
        gaussian = self.gaussian
        return None if gaussian is None else math.exp(gaussian.on_host().log_scale)

    def unit_interval(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        """Images as the encoder takes them, 0..1: bytes over 255, floats by the value range."""
        return Gaussian(0.0, *self.value_range).unit_interval(images, dtype)

    def pictures(self, logits: Tensor) -> Tensor:
        """The decoder's logits as pictures in 0..1: a Bernoulli's means, a Gaussian's clamped."""
        if self.likelihood == "bernoulli":
            return logits.sigmoid()
        return gaussian_mean(logits).clamp(0, 1)

    def in_value_range(self, unit: Tensor) -> Tensor:
        """Pictures in 0..1 as images."""
        return Gaussian(0.0, *self.value_range).images(unit)
