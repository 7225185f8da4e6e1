"""Weights to begin with, other than torch's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from fastjvae.functional.latents import LatentSpec

if TYPE_CHECKING:
    from fastjvae.model.jointvae import Encoder


@torch.no_grad()
def he_normal_(layer: nn.Linear | nn.Conv2d, slope: float = 0.0) -> None:
    """Normal weights of variance 2 / inputs / (1 + slope^2) and biases of 0 (He et al. 2015)."""
    # Numbers are drawn in the order of the memory: for images that of a model in training.
    images = layer.weight.dim() == 4
    order = torch.channels_last if images else torch.contiguous_format
    drawn = torch.empty_like(layer.weight, memory_format=order)
    layer.weight.copy_(nn.init.kaiming_normal_(drawn, slope, nonlinearity="leaky_relu"))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


@torch.no_grad()
def initialise_he(encoder: Encoder, spec: LatentSpec) -> None:
    """Draw the encoder's weights by :func:`he_normal_`, in place.

    They keep the size of the activations from layer to layer, where torch's own make them smaller:
    the categories then differ from image to image at once, and a few large steps do not push every
    ReLU of a layer below 0. The rows of the head for means and log variances stay as they are, near
    the prior.
    """
    kept = encoder.head.weight[: 2 * spec.cont].clone()
    for module in encoder.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            he_normal_(module)
    encoder.head.weight[: 2 * spec.cont] = kept
