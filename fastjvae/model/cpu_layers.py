"""A network as a chain of layers; a CPU computes each of them in the form that is cheapest there.

Its layers are 4x4 convolutions of stride 2 and padding 1, transposed or not, linear layers, ReLUs,
and the changes of shape between them. On a GPU they run as the modules that they are, and so does
every chain that has been changed: another layer, another setting of one, a hook on a layer or on a
container. In a training step on a CPU one autograd function takes the whole chain, because

- gradients between its layers are its own, so that a ReLU's backward pass writes over them;
- a bias gradient is a sum of its own: oneDNN's bias loop costs up to two fifths of the weight
  gradient that it comes with;
- a transposed convolution with few output channels is one convolution of 2x2 and stride 1 with four
  times the channels, one per pixel of a 2x2 block, and a copy that puts the blocks side by side.
  oneDNN's own pads the few channels to a vector, for each pixel of the block again. With a single
  channel a matrix product for all taps, added up afterwards, is faster still;
- images of one channel get the strides of channels_last, which they may have as well: oneDNN takes
  twice the time for the weight gradient by the others.

``python -m benchmarks.layers`` measures every convolution both ways.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate, compress
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastjvae.functional.backends.choice import use_cpu
from fastjvae.model.cpu_convolutions import (
    FEW_CHANNELS,
    channels_last,
    convolution,
    convolution_gradients,
    transposed_to_few_channels,
    with_channels_last,
)

# Kernel, stride, padding, dilation, groups, padding mode and output padding of every convolution.
_SETTINGS = ((4, 4), (2, 2), (1, 1), (1, 1), 1, "zeros", (0, 0))
_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)  # those with a weight and a bias
_SHAPES = (nn.Flatten, nn.Unflatten)
_TENSORS = (Tensor, nn.Parameter)  # no subclass, which may compute in its own way
_GLOBAL_HOOKS = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
)


def run_chain(modules: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Layers and containers of layers one after the other on x (N, ...), with their gradients."""
    modules = list(modules)
    layers = _layers_by_hand(modules, x)
    if layers is None:
        for module in modules:
            x = module(x)
            if type(module) is nn.Unflatten:
                x = channels_last(x)
        return x
    parameters = [p for layer in layers if type(layer) in _LAYERS for p in _weight_and_bias(layer)]
    return _Chain.apply(x, layers, *parameters)  # type: ignore[no-any-return]


def _layers_by_hand(modules: Sequence[nn.Module], x: Tensor) -> list[nn.Module] | None:
    """The layers of a training step on a CPU, None where only the modules can serve."""
    wanted = (
        torch.is_grad_enabled()
        and use_cpu(x)
        and len(x) > 0
        and not any(getattr(nn.modules.module, hooks) for hooks in _GLOBAL_HOOKS)
    )
    if not wanted:
        return None
    layers: list[nn.Module] = []
    for module in modules:
        if type(module) is nn.Sequential and _calls_forward_alone(module):
            layers += module
        else:
            layers.append(module)
    return layers if all(map(_is_as_built, layers)) and _fits(layers, x.dim()) else None


def _calls_forward_alone(module: nn.Module) -> bool:
    """Whether a call of the module is its class's forward: no hooks, and no forward of its own."""
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in vars(module)
    )


def _is_as_built(layer: Any) -> bool:
    """Whether the formulations below compute what a call of this layer does."""
    kind = type(layer)
    if not _calls_forward_alone(layer):
        return False
    if kind is nn.ReLU:
        return True
    if kind is nn.Flatten:
        return (layer.start_dim, layer.end_dim) == (1, -1)
    if kind is nn.Unflatten:
        return layer.dim == 1 and len(layer.unflattened_size) == 3
    if kind not in _LAYERS:
        return False
    weight, bias = _weight_and_bias(layer)
    if bias is None or not all(
        type(t) in _TENSORS and t.dtype == torch.float32 for t in (weight, bias)
    ):
        return False
    return kind is nn.Linear or (_settings(layer) == _SETTINGS and weight.shape[2:] == (4, 4))


def _settings(layer: Any) -> tuple[Any, ...]:
    """Everything but its channels that a convolution is made with."""
    return (
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.dilation,
        layer.groups,
        layer.padding_mode,
        layer.output_padding,
    )


def _fits(layers: Sequence[nn.Module], dimensions: int) -> bool:
    """Whether each layer gets x of the rank that its formulation is for.

    A ReLU writes over what it gets, which before the first layer with a weight is the caller's.
    """
    is_own = False
    for layer in layers:
        kind = type(layer)
        if kind is nn.ReLU:
            if not is_own:
                return False
            continue
        if dimensions != (2 if kind in (nn.Linear, nn.Unflatten) else 4):
            return False
        if kind in _SHAPES:
            dimensions = 6 - dimensions
        else:
            is_own = True
    return is_own


def _weight_and_bias(layer: Any) -> tuple[Tensor, Tensor]:
    return layer.weight, layer.bias


class _Chain(torch.autograd.Function):
    """(x, layers, weight and bias of each layer that has them) -> the last layer's output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layers: Sequence[nn.Module], *parameters: Tensor) -> Tensor:
        own = iter(parameters)
        features: list[Tensor | None] = [x]  # what each layer was given; a ReLU writes over it
        y = x
        for layer in layers:
            y = layer_forward(layer, y, own)
            features.append(y)
        if type(layers[-1]) is not nn.ReLU:
            features[-1] = None
        ctx.layers = layers
        ctx.save_for_backward(*features, *parameters)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        layers = ctx.layers
        saved = ctx.saved_tensors  # once: activation checkpointing computes them at this
        features, parameters = saved[: len(layers) + 1], saved[len(layers) + 1 :]
        needs_x, _, *needs = ctx.needs_input_grad
        if torch.is_grad_enabled():  # a gradient of this gradient is wanted: PyTorch knows it
            inputs, needs = (features[0], *parameters), (needs_x, *needs)
            wanted = list(compress(inputs, needs))
            y = _plain(layers, *inputs)
            found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True))
            by_x, *rest = [next(found) if need else None for need in needs]
            return by_x, None, *rest
        gradients: list[Tensor | None] = [None] * len(parameters)
        # Whether something before a parameter needs a gradient.
        before = list(accumulate(needs, lambda some, need: some or need, initial=needs_x))
        number = len(parameters)
        is_own = False  # the gradient that came in is the caller's
        for i in reversed(range(len(layers))):
            layer, x = layers[i], features[i]
            if type(layer) is nn.ReLU:
                grad = _relu_backward(grad, features[i + 1], is_own)
                is_own = True
            elif type(layer) in _SHAPES:
                grad = with_channels_last(grad.reshape(x.shape))
            else:
                number -= 2
                weight = parameters[number]
                if needs[number]:
                    gradients[number] = weight_gradient(layer, grad, x, weight)
                if needs[number + 1]:
                    gradients[number + 1] = grad.sum((0, 2, 3) if grad.dim() == 4 else 0)
                if not before[number]:
                    return (None, None, *gradients)
                grad = input_gradient(layer, grad, x, weight)
                is_own = True
        return (grad, None, *gradients)


# --- layers ---------------------------------------------------------------------------------------


def layer_forward(layer: nn.Module, x: Tensor, parameters: Any) -> Tensor:
    """One layer; a ReLU writes over its input."""
    if type(layer) is nn.ReLU:
        return x.relu_()
    if type(layer) in _SHAPES:
        return with_channels_last(layer(x))
    weight, bias = next(parameters), next(parameters)
    if type(layer) is nn.Linear:
        return F.linear(x, weight, bias)
    transposed = type(layer) is nn.ConvTranspose2d
    if transposed and weight.shape[1] <= FEW_CHANNELS:
        return transposed_to_few_channels(x, weight, bias)
    return convolution(with_channels_last(x), weight, bias, transposed)


def _plain(layers: Sequence[nn.Module], x: Tensor, *parameters: Tensor) -> Tensor:
    """The chain in differentiable operations, with these parameters."""
    own = iter(parameters)
    for layer in layers:
        if type(layer) is nn.Linear:
            x = F.linear(x, next(own), next(own))
        elif type(layer) in _LAYERS:
            x = convolution(x, next(own), next(own), type(layer) is nn.ConvTranspose2d)
        else:
            x = layer(x)
    return x


def _relu_backward(grad: Tensor, y: Tensor, in_place: bool) -> Tensor:
    """The gradient before a ReLU that gave y."""
    if not in_place:
        return torch.ops.aten.threshold_backward.default(grad, y, 0)  # type: ignore[no-any-return]
    return torch.ops.aten.threshold_backward.grad_input(grad, y, 0, grad_input=grad)  # type: ignore[no-any-return]


def input_gradient(layer: nn.Module, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """The gradient by the input x of a layer with a weight."""
    if type(layer) is nn.Linear:
        return grad @ weight
    grad = with_channels_last(grad)
    if type(layer) is nn.ConvTranspose2d:
        return convolution(grad, weight, None, False)
    return convolution_gradients(grad, x, weight, [True, False, False])[0]


def weight_gradient(layer: nn.Module, grad: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """The gradient by the weight of a layer with the input x."""
    if type(layer) is nn.Linear:
        return grad.t() @ x
    grad, x = with_channels_last(grad), with_channels_last(x)
    if type(layer) is nn.ConvTranspose2d:  # the convolution from y to x that it is transposed of
        grad, x = x, grad
    gradient = convolution_gradients(grad, x, weight, [False, True, False])[1]
    if weight.shape[1] > 1 or not weight[:, 0].is_contiguous():
        return gradient
    # One channel may have any stride, and DistributedDataParallel warns of another than its own.
    return gradient.as_strided(weight.shape, weight.stride())
