"""Weights to begin with, other than torch's own."""

from __future__ import annotations

import torch
from torch import nn

from fastjvae.latents import LatentSpec
from fastjvae.model import Encoder


@torch.no_grad()
def initialise_he(encoder: Encoder, spec: LatentSpec) -> None:
    """Normal weights of variance 2 / inputs and biases of 0 (He et al. 2015), in place.

    They keep the size of the activations from layer to layer, where torch's own make them smaller:
    the categories then differ from image to image at once, and a few large steps do not push every
    ReLU of a layer below 0. The rows of the head for means and log variances stay as they are, near
    the prior.
    """
    kept = encoder.head.weight[: 2 * spec.cont].clone()
    for module in encoder.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    encoder.head.weight[: 2 * spec.cont] = kept
