"""Training images by number, for the question how much of what is learned the number decides."""

import torch

from fastjvae.data import ImageData, load
from fastjvae.errors import ArgumentError
from fastjvae.training.settings.train import TrainConfig


def first_images(config: TrainConfig, count: int) -> ImageData:
    """The first training images and, where these are fewer, the first test images too; no labels.

    Raises:
        ArgumentError: more images than both have.
    """
    train, test = load(config.source("train")), load(config.source("test"))
    beyond = max(0, count - len(train))
    if beyond > len(test):
        raise ArgumentError(
            f"{count:,} images are more than the {len(train):,} of {train.name} and the"
            f" {len(test):,} of {test.name} together"
        )
    images = torch.cat([train.images[:count], test.images[:beyond]])
    return ImageData(f"{count:,} images of {train.name}, {beyond:,} more of {test.name}", images)
