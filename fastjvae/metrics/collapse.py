"""A model whose images do not depend on its latent variables: how to tell without labels.

KL_z and KL_c can reach their capacities although every image has the same code: a mean that is not
0 and a category that all images fall into have a KL, too. What such a model cannot do is to
reconstruct better than the mean image does. It usually ends so within the first hundred steps, when
the ReLUs of a layer of the encoder have turned off for every image, and no gradient can turn them
on again.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fastjvae.data.batches.augment import NUMBERS, RandomAffine
from fastjvae.functional import Gaussian, unit_interval
from fastjvae.functional.checks import ChannelReduction
from fastjvae.model.encoding import evenly_spread

# Room for the batches, which differ a little; a model that has learned something is far below.
_SHARE = 0.98
# Models that learn show the mean image as well at first, and some time longer where the continuous
# units have no capacity yet.
FIRST_STEP = 300
STEPS_IN_DOUBT = 200
_MOST_IMAGES = 10_000
_BATCH = 512


class MeanImage(NamedTuple):
    """Mean and variance of every pixel over images, (C, H, W) float64, of values in 0..1."""

    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, images: Tensor, augment: float = 0.0) -> MeanImage:
        """Measure images; arguments as of :func:`mean_image_loss`."""
        chosen = evenly_spread(len(images), _MOST_IMAGES)
        generator = torch.Generator().manual_seed(0)
        transform = RandomAffine(augment, torch.device("cpu"), torch.float64)
        total = torch.zeros(images.shape[1:], dtype=torch.float64)
        squares = torch.zeros_like(total)
        for rows in torch.split(chosen, _BATCH):
            batch = unit_interval(images[rows.to(images.device)], torch.float64).cpu()
            if augment:
                batch = transform(batch, torch.rand(len(batch), NUMBERS, generator=generator))
            total += batch.sum(dim=0)
            squares += batch.square().sum(dim=0)
        mean = total / len(chosen)
        return cls(mean, squares / len(chosen) - mean.square())

    def loss(
        self, channel_reduction: ChannelReduction = "mean", gaussian: Gaussian | None = None
    ) -> float:
        """What a decoder loses that shows the mean image of every image, nats per image."""
        if gaussian is None:
            p = self.mean
            error = -float((torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p)).sum())
        else:
            sharpness = float(gaussian.on_host().sharpness)
            error = 0.5 * sharpness**2 * float(self.variance.sum())
        error += self.variance.numel() * _constant(gaussian)
        return error / (len(self.mean) if channel_reduction == "mean" else 1)


def constant_of(
    img_size: tuple[int, int, int],
    channel_reduction: ChannelReduction,
    gaussian: Gaussian | None,
) -> float:
    """The reconstruction of images (C, H, W) without any error, nats per image; 0 of Bernoulli."""
    channels = img_size[0] if channel_reduction == "mean" else 1
    return math.prod(img_size) * _constant(gaussian) / channels


def _constant(gaussian: Gaussian | None) -> float:
    return 0.0 if gaussian is None else float(gaussian.on_host().constant)


def mean_image_loss(
    images: Tensor,
    channel_reduction: ChannelReduction = "mean",
    augment: float = 0.0,
    gaussian: Gaussian | None = None,
) -> float:
    """The reconstruction of images by their mean image, nats per image.

    The decoder that knows nothing of an image can do no better.

    >>> mean_image_loss(torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1))
    0.693...

    Args:
        images: (N, C, H, W), uint8 0..255 or floats 0..1; up to 10,000, evenly spread, are read.
        channel_reduction: see :func:`fastjvae.functional.bernoulli_reconstruction`.
        augment: strength of :class:`fastjvae.data.batches.augment.RandomAffine` on each of them.
        gaussian: the likelihood; None for Bernoulli, whose reconstruction is a cross-entropy.
    """
    return MeanImage.of(images, augment).loss(channel_reduction, gaussian)


def is_too_short(steps: int) -> bool:
    """Whether so few training steps cannot tell a collapsed model from one that begins to learn."""
    return steps < FIRST_STEP + STEPS_IN_DOUBT


def is_collapsed(reconstruction: float, mean_image: float, constant: float = 0.0) -> bool:
    """Whether a reconstruction error tells no more of an image than the mean image does.

    ``constant`` is what both have without any error, see :func:`constant_of`.
    """
    return reconstruction - constant > _SHARE * (mean_image - constant)
