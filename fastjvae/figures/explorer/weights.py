"""The weights of the standard networks in the order and precision in which a page reads them.

The page runs every layer by one loop, which adds up inputs times weights for four outputs at a time
(``web/networks.js``). A layer is written as its groups of weights, each (blocks, inputs, 4), and
behind them its biases (blocks * 4,): weight [b, i, k] is of input i and output 4 b + k. What is
over in the last block is 0. Images are in the order (H, W, C).
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastjvae.errors import ArgumentError
from fastjvae.model import JointVAE
from fastjvae.model.networks import Decoder, Encoder

_BLOCK = 4  # outputs that are added up at a time


class Layer(NamedTuple):
    """A layer as the page reads it."""

    kind: str  # dense; convolution or transposed, of 4x4 and stride 2
    inputs: int  # numbers, or channels
    outputs: int
    rectified: bool  # whether a ReLU follows


class Network(NamedTuple):
    """The layers of a network, and their numbers one after the other."""

    layers: list[Layer]
    numbers: NDArray[np.float16]  # little-endian


def networks_of(model: JointVAE) -> tuple[Network, Network]:
    """The standard encoder and decoder of a model in half precision.

    Raises:
        ArgumentError: the model has networks of its own, or a weight that is no number of half
            precision.
    """
    encoder, decoder = model.encoder, model.decoder
    if not isinstance(encoder, Encoder) or not isinstance(decoder, Decoder):
        raise ArgumentError(
            "the explorer runs the standard encoder and decoder in the browser, and this model has"
            f" its own, {type(encoder).__name__} and {type(decoder).__name__}: fastjvae figures"
            " draws it"
        )
    # Where (H, W, C) has what the networks have as (C, H, W).
    places = torch.arange(int(np.prod(decoder.shape))).reshape(decoder.shape)
    order = places.permute(1, 2, 0).flatten().to(model.device)
    hidden, head = encoder.hidden, encoder.head
    first, last = (m for m in decoder.latent_to_features if isinstance(m, nn.Linear))
    return (
        _network(
            *_convolutions(encoder.features),
            _dense(hidden.weight[:, order], hidden.bias, True),
            _dense(head.weight, head.bias, False),
        ),
        _network(
            _dense(first.weight, first.bias, True),
            _dense(last.weight[order], last.bias[order], True),
            *_convolutions(decoder.features_to_image),
        ),
    )


def _network(*layers: tuple[Layer, list[Tensor]]) -> Network:
    numbers = torch.cat([each.detach().flatten().cpu() for _, parts in layers for each in parts])
    halves = numbers.to(torch.float16)
    if not halves.isfinite().all():
        raise ArgumentError(
            "the explorer keeps weights in half precision, which has numbers up to 65504, and this"
            f" model has one of {float(numbers.abs().max()):g}"
        )
    return Network([layer for layer, _ in layers], halves.numpy().astype("<f2"))


def _dense(weight: Tensor, bias: Tensor, rectified: bool) -> tuple[Layer, list[Tensor]]:
    """A linear layer of weights (outputs, inputs)."""
    outputs, inputs = weight.shape
    return Layer("dense", inputs, outputs, rectified), [_blocks(weight), _padded(bias)]


def _convolutions(stack: nn.Sequential) -> list[tuple[Layer, list[Tensor]]]:
    """The convolutions of a stack; a ReLU follows where the stack has one."""
    found = []
    for module, following in zip(stack, [*stack[1:], None], strict=True):
        rectified = isinstance(following, nn.ReLU)
        if isinstance(module, nn.ConvTranspose2d):
            kind, groups = "transposed", _by_parity(module.weight)
        elif isinstance(module, nn.Conv2d):
            kind, groups = "convolution", [module.weight.permute(0, 2, 3, 1).flatten(1)]
        else:
            continue
        layer = Layer(kind, module.in_channels, module.out_channels, rectified)
        assert module.bias is not None
        found.append((layer, [*map(_blocks, groups), _padded(module.bias)]))
    return found


def _by_parity(weight: Tensor) -> list[Tensor]:
    """The weights (I, O, 4, 4) of a transposed convolution as four groups (O, 2 * 2 * I).

    Output pixel (2 y + p, 2 x + q) takes the 2x2 inputs from (y + p - 1, x + q - 1) on. Of them the
    one in row t has the weight of row 3 - 2 t - p, likewise for columns.
    """
    rows = [[3 - p, 1 - p] for p in (0, 1)]
    return [
        weight[:, :, rows[p]][:, :, :, rows[q]].permute(1, 2, 3, 0).flatten(1)
        for p in (0, 1)
        for q in (0, 1)
    ]


def _blocks(weight: Tensor) -> Tensor:
    """Weights (outputs, inputs) as (blocks, inputs, 4)."""
    return _padded(weight).reshape(-1, _BLOCK, weight.shape[1]).transpose(1, 2)


def _padded(numbers: Tensor) -> Tensor:
    """Numbers (outputs, ...) with zeros up to whole blocks of outputs."""
    missing = -len(numbers) % _BLOCK
    return torch.cat([numbers, numbers.new_zeros(missing, *numbers.shape[1:])])
