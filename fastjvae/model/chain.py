"""A network as a chain of layers, each computed in the form that is cheapest where it runs.

On a GPU they run as the modules that they are, and so does every chain that has been changed: see
:mod:`fastjvae.model.layers_as_built`. In a training step on a CPU they are
:func:`fastjvae.model.cpu_layers.cpu_chain`.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fastjvae.functional.backends.choice import use_cpu
from fastjvae.model.cpu_convolutions import channels_last
from fastjvae.model.cpu_layers import cpu_chain, precision_is_known
from fastjvae.model.layers_as_built import layers_as_built


def run_chain(modules: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Layers and containers of layers one after the other on x (N, ...), with their gradients."""
    modules = list(modules)
    if torch.is_grad_enabled() and use_cpu(x) and precision_is_known() and len(x) > 0:
        layers = layers_as_built(modules, x.dim())
        if layers is not None:
            return cpu_chain(layers, x)
    for module in modules:
        x = module(x)
        if type(module) is nn.Unflatten:
            x = channels_last(x)
    return x
