"""The memory layout that a model's weights have in training; a saved model is contiguous."""

from collections.abc import Callable

import torch

from fastjvae.errors import ArgumentError
from fastjvae.model import JointVAE
from fastjvae.model.own_networks import CHECKS


def in_training_layout(model: JointVAE, say: Callable[[str], object]) -> JointVAE:
    """Put weights in the layout that convolutions are fastest in, channels_last.

    An own network that fails with it, as one that calls ``view`` on what its convolutions return,
    stays contiguous, and ``say`` is told.
    """
    model.to(memory_format=torch.channels_last)
    for which in model.own_networks:
        network, check = getattr(model, which), CHECKS[which]
        try:
            check(network, model.img_size, model.spec)
        except ArgumentError as error:
            network.to(memory_format=torch.contiguous_format)
            say(f"channels_last is not for this run's {which}, which stays contiguous: {error}")
    return model
