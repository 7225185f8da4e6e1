"""The layers of a chain, as far as a backward pass written by hand knows them.

They are 4x4 convolutions of stride 2 and padding 1, transposed or not, linear layers, ReLUs, and
the changes of shape between them, each as the standard networks have it. A chain with another
layer, another setting of one, or a hook on a layer or a container runs as the modules that it is.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastjvae.model.cpu_convolutions import convolution

# Kernel, stride, padding, dilation, groups, padding mode and output padding of every convolution.
_SETTINGS = ((4, 4), (2, 2), (1, 1), (1, 1), 1, "zeros", (0, 0))
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)  # those with a weight and a bias
SHAPES = (nn.Flatten, nn.Unflatten)
_TENSORS = (Tensor, nn.Parameter)  # no subclass, which may compute in its own way
_GLOBAL_HOOKS = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
)


def layers_as_built(modules: Sequence[nn.Module], dimensions: int) -> list[nn.Module] | None:
    """The layers of modules and containers for x of that rank, None where modules must serve."""
    if any(getattr(nn.modules.module, hooks) for hooks in _GLOBAL_HOOKS):
        return None
    layers: list[nn.Module] = []
    for module in modules:
        if type(module) is nn.Sequential and _calls_forward_alone(module):
            layers += list(module)  # torch.compile of PyTorch 2.11 adds no module to a list
        else:
            layers.append(module)
    return layers if all(map(_is_as_built, layers)) and _fits(layers, dimensions) else None


def parameters_of(layers: Sequence[nn.Module]) -> Iterator[Tensor]:
    """The weight and the bias of each layer that has them."""
    for layer in layers:
        if type(layer) in LAYERS:
            yield from _weight_and_bias(layer)


def plain(layers: Sequence[nn.Module], x: Tensor, *parameters: Tensor) -> Tensor:
    """The chain in differentiable operations, with these parameters."""
    own = iter(parameters)
    for layer in layers:
        if type(layer) is nn.Linear:
            x = F.linear(x, next(own), next(own))
        elif type(layer) in LAYERS:
            x = convolution(x, next(own), next(own), type(layer) is nn.ConvTranspose2d)
        else:
            x = layer(x)
    return x


def _calls_forward_alone(module: nn.Module) -> bool:
    """Whether a call of the module is its class's forward: no hooks, and no forward of its own."""
    return not (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in module.__dict__  # torch.compile of PyTorch 2.8 knows no vars()
    )


def _is_as_built(layer: Any) -> bool:
    """Whether the formulations by hand compute what a call of this layer does."""
    kind = type(layer)
    if not _calls_forward_alone(layer):
        return False
    if kind is nn.ReLU:
        return True
    if kind is nn.Flatten:
        return (layer.start_dim, layer.end_dim) == (1, -1)
    if kind is nn.Unflatten:
        return layer.dim == 1 and len(layer.unflattened_size) == 3
    if kind not in LAYERS:
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
        if kind in SHAPES:
            dimensions = 6 - dimensions
        else:
            is_own = True
    return is_own


def _weight_and_bias(layer: Any) -> tuple[Tensor, Tensor]:
    return layer.weight, layer.bias
