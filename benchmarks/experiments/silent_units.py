"""Counts the units of an encoder that no image turns on: a collapse begins with them."""

import torch
from torch import Tensor, nn

from fastjvae import JointVAE
from fastjvae.functional import unit_interval
from fastjvae.model import Encoder
from fastjvae.model.encoding import evenly_spread

_MOST_IMAGES = 1_000


@torch.no_grad()
def silent_shares(model: JointVAE, images: Tensor) -> list[float]:
    """Share of the units of each layer of the encoder that are 0 for every image, 0 to 1.

    The units of a convolution are its channels at each place. A layer all of whose units are 0 for
    all images passes on neither an image nor a gradient.

    Args:
        model: with the standard encoder.
        images: (N, C, H, W) uint8; up to 1,000, evenly spread, are read.
    """
    encoder = model.encoder
    assert isinstance(encoder, Encoder)
    x = unit_interval(images[evenly_spread(len(images), _MOST_IMAGES)], torch.float32)
    shares = []
    for layer in (*encoder.features, nn.Flatten(), encoder.hidden, nn.ReLU()):
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            shares.append(float((x == 0).all(dim=0).float().mean()))
    return shares
