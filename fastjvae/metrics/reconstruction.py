"""The reconstruction of images by a model, in evaluation mode: -log p(x | z) in nats."""

import torch
from torch import Tensor

from fastjvae import functional
from fastjvae.functional.checks import ChannelReduction
from fastjvae.model import JointVAE
from fastjvae.model.encoding import Encoding, encode, evenly_spread


def reconstruction_error(
    model: JointVAE, images: Tensor, channel_reduction: ChannelReduction, most: int
) -> float:
    """The ``reconstruction`` that an evaluation of these images has, nats per image.

    Args:
        images: (N, C, H, W), uint8 0..255; ``most`` of them, evenly spread, are read.
    """
    chosen = images[evenly_spread(len(images), most)]
    return encode_and_reconstruct(model, chosen, channel_reduction)[1]


@torch.no_grad()
def encode_and_reconstruct(
    model: JointVAE, images: Tensor, channel_reduction: ChannelReduction
) -> tuple[Encoding, float]:
    """What the encoder finds, and the reconstruction error, nats per image."""
    total = 0.0

    def reconstruct(batch: Tensor, sample: Tensor) -> None:
        nonlocal total
        logits = model.decode_logits(sample)
        loss = functional.reconstruction(logits, batch, model.gaussian, channel_reduction)
        total += len(batch) / len(images) * float(loss)

    return encode(model, images, reconstruct), total
