"""The layers of a chain in the forms that are cheapest on a CPU, with the backward pass by hand.

In a training step on a CPU one autograd function takes the whole chain, because

- gradients between its layers are its own, so that a ReLU's backward pass writes over them;
- a bias gradient is a sum of its own: oneDNN's bias loop costs up to two fifths of the weight
  gradient that it comes with;
- a transposed convolution with few output channels is one convolution of 2x2 and stride 1 with four
  times the channels, one per pixel of a 2x2 block, and a copy that puts the blocks side by side.
  oneDNN's own pads the few channels to a vector, for each pixel of the block again. With a single
  channel a matrix product for all taps, added up afterwards, is faster still;
- images of one channel get the strides of channels_last, which they may have as well: oneDNN takes
  twice the time for the weight gradient by the others.

Under autocast to bfloat16 its features and weights are bfloat16, its parameters' gradients float32.

``python -m benchmarks.layers`` measures every convolution both ways.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import accumulate, compress
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastjvae.model.cpu_convolutions import (
    FEW_CHANNELS,
    convolution,
    convolution_gradients,
    transposed_to_few_channels,
    weight_gradient_of_patches,
    with_channels_last,
)
from fastjvae.model.layers_as_built import LAYERS, SHAPES, parameters_of, plain

# A linear layer of fewer inputs or outputs computes in float32 always.
_FEW_FEATURES = 64
# Pixels of a gradient up to which that of a bfloat16 weight is one product: in rows of 4 pixels and
# fewer oneDNN's own is no faster than in float32.
_FEW_PIXELS = 16


def cpu_chain(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Layers one after the other on x (N, ...) with N >= 1, and their gradients.

    They compute in float32, or in the bfloat16 that autocast asks for.
    """
    half = torch.is_autocast_enabled("cpu")
    return _Chain.apply(x, layers, half, *parameters_of(layers))  # type: ignore[no-any-return]


def precision_is_known() -> bool:
    """Whether float32 is wanted, or the bfloat16 that autocast asks for."""
    return not torch.is_autocast_enabled("cpu") or torch.get_autocast_dtype("cpu") == torch.bfloat16


class _Chain(torch.autograd.Function):
    """(x, layers, half, weight and bias of each layer that has them) -> the last layer's output.

    With ``half`` layers compute in bfloat16; what comes out, gradients too, is float32.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, layers: Sequence[nn.Module], half: bool, *parameters: Tensor
    ) -> Tensor:
        with _without_autocast(half):
            computed = _in_bfloat16(parameters) if half else parameters
            own = iter(computed)
            features: list[Tensor | None] = []  # what each layer was given; a ReLU writes over it
            y = x
            for layer in layers:
                if type(layer) in LAYERS:
                    weight, bias = next(own), next(own)
                    y = with_channels_last(y, weight.dtype)
                    features.append(y)
                    y = layer_forward(layer, y, weight, bias)
                else:
                    features.append(y)
                    y = y.relu_() if type(layer) is nn.ReLU else with_channels_last(layer(y))
            features.append(y if type(layers[-1]) is nn.ReLU else None)
            ctx.layers, ctx.half = layers, half
            ctx.save_for_backward(x, *features, *parameters, *(computed if half else ()))
            return y.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        layers = ctx.layers
        # Once: activation checkpointing computes them at this.
        x, *saved = ctx.saved_tensors
        features, parameters = saved[: len(layers) + 1], saved[len(layers) + 1 :]
        needs_x, _, _, *needs = ctx.needs_input_grad
        computed, parameters = parameters[-len(needs) :], parameters[: len(needs)]
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted: PyTorch knows it
            inputs, needs = (x, *parameters), (needs_x, *needs)
            wanted = list(compress(inputs, needs))
            with torch.autocast("cpu", torch.bfloat16, enabled=ctx.half):
                y = plain(layers, *inputs).to(x.dtype)
            found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True))
            by_x, *rest = [next(found) if need else None for need in needs]
            return by_x, None, None, *rest
        with _without_autocast(ctx.half):
            by_x, gradients = _gradients(
                layers, grad, features, parameters, computed, needs_x, needs
            )
        return (None if by_x is None else by_x.to(x.dtype), None, None, *gradients)


def _gradients(
    layers: Sequence[nn.Module],
    grad: Tensor,
    features: Sequence[Any],
    parameters: Sequence[Tensor],
    computed: Sequence[Tensor],
    needs_x: bool,
    needs: Sequence[bool],
) -> tuple[Tensor | None, list[Tensor | None]]:
    """Gradients by a chain's input, where it is needed, and by its parameters."""
    gradients: list[Tensor | None] = [None] * len(parameters)
    # Whether something before a parameter needs a gradient.
    before = list(accumulate(needs, lambda some, need: some or need, initial=needs_x))
    number = len(parameters)
    is_own = False  # the gradient that came in is the caller's
    for i in reversed(range(len(layers))):
        layer, x = layers[i], features[i]
        if type(layer) is nn.ReLU:
            y = features[i + 1]
            grad = _relu_backward(grad.to(y.dtype), y, is_own)
            is_own = True
        elif type(layer) in SHAPES:
            grad = with_channels_last(grad.reshape(x.shape))
        else:
            number -= 2
            weight = computed[number]
            grad = with_channels_last(grad, weight.dtype)
            if needs[number]:
                by_weight = weight_gradient(layer, grad, x, weight)
                gradients[number] = _like(parameters[number], by_weight)
            if needs[number + 1]:
                by_bias = grad.sum((0, 2, 3) if grad.dim() == 4 else 0)
                gradients[number + 1] = by_bias.to(parameters[number + 1].dtype)
            if not before[number]:
                return None, gradients
            grad = input_gradient(layer, grad, x, weight)
            is_own = True
    return grad, gradients


# --- bfloat16 -------------------------------------------------------------------------------------


def _without_autocast(half: bool) -> AbstractContextManager[Any]:
    """Where the chain has chosen the dtype of every layer, autocast would choose others."""
    return torch.autocast("cpu", enabled=False) if half else nullcontext()


def _in_bfloat16(parameters: Sequence[Tensor]) -> list[Tensor]:
    """Weights and biases in the dtype that their layers compute in.

    A linear layer of few inputs or outputs stays in float32: its arithmetic costs less than the
    copies, and it gives or takes the latent variables, which are float32.
    """
    computed: list[Tensor] = []
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        if weight.dim() == 2 and min(weight.shape) < _FEW_FEATURES:
            computed += weight, bias
        else:
            computed += weight.bfloat16(), bias.bfloat16()
    return computed


def _like(parameter: Tensor, gradient: Tensor) -> Tensor:
    """A gradient in the dtype and the layout of its parameter, where the dtype is another."""
    if gradient.dtype == parameter.dtype:
        return gradient
    return torch.empty_like(parameter).copy_(gradient)


# --- layers ---------------------------------------------------------------------------------------


def layer_forward(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One layer with a weight; images come in channels_last, as gradients do below."""
    if type(layer) is nn.Linear:
        return F.linear(x, weight, bias)
    transposed = type(layer) is nn.ConvTranspose2d
    if transposed and weight.shape[1] <= FEW_CHANNELS:
        return transposed_to_few_channels(x, weight, bias)
    return convolution(x, weight, bias, transposed)


def _relu_backward(grad: Tensor, y: Tensor, in_place: bool) -> Tensor:
    """The gradient before a ReLU that gave y."""
    if not in_place:
        return torch.ops.aten.threshold_backward.default(grad, y, 0)  # type: ignore[no-any-return]
    return torch.ops.aten.threshold_backward.grad_input(grad, y, 0, grad_input=grad)  # type: ignore[no-any-return]


def input_gradient(layer: nn.Module, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """The gradient by the input x of a layer with a weight."""
    if type(layer) is nn.Linear:
        return grad @ weight
    if type(layer) is nn.ConvTranspose2d:
        return convolution(grad, weight, None, False)
    return convolution_gradients(grad, x, weight, [True, False, False])[0]


def weight_gradient(layer: nn.Module, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """The gradient by the weight of a layer with the input x."""
    if type(layer) is nn.Linear:
        return grad.t() @ x
    if type(layer) is nn.ConvTranspose2d:  # the convolution from y to x that it is transposed of
        grad, x = x, grad
    if grad.dtype == torch.bfloat16 and grad.shape[2] * grad.shape[3] <= _FEW_PIXELS:
        return weight_gradient_of_patches(grad, x)
    gradient = convolution_gradients(grad, x, weight, [False, True, False])[1]
    if weight.shape[1] > 1 or not weight[:, 0].is_contiguous():
        return gradient
    # One channel may have any stride, and DistributedDataParallel warns of another than its own.
    return gradient.as_strided(weight.shape, weight.stride())
