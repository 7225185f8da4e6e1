"""A network as a chain of layers, each computed in the form that is cheapest where it runs.

On a GPU they run as the modules that they are, or in a training step by the kernels of
:mod:`fastjvae.model.triton_layers`; in one on a CPU by :mod:`fastjvae.model.cpu_layers`. A chain
that has been changed always runs as its modules: see :mod:`fastjvae.model.layers_as_built`.
"""

from collections.abc import Iterable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from fastjvae.errors import ArgumentError
from fastjvae.functional.backends import choice
from fastjvae.model.cpu_convolutions import channels_last
from fastjvae.model.cpu_layers import cpu_chain, precision_is_known
from fastjvae.model.layers_as_built import layers_as_built

Networks = Literal["modules", "triton"]


def run_chain(modules: Iterable[nn.Module], x: Tensor, networks: Networks = "modules") -> Tensor:
    """Layers and containers of layers one after the other on x (N, ...), with their gradients.

    ``networks`` "triton" takes Triton's kernels for training steps, where they run.
    """
    modules = list(modules)
    if networks == "triton" and torch.is_grad_enabled() and choice.can_use_triton(x):
        from fastjvae.model.triton_layers import takes, triton_chain
        from fastjvae.model.triton_passes import stages_of

        layers = layers_as_built(modules, x.dim()) if takes(x) else None
        if layers is not None and (stages := stages_of(layers)) is not None:
            return triton_chain(layers, stages, x)
    if torch.is_grad_enabled() and choice.use_cpu(x) and precision_is_known() and len(x) > 0:
        layers = layers_as_built(modules, x.dim())
        if layers is not None:
            return cpu_chain(layers, x)
    for module in modules:
        x = module(x)
        if type(module) is nn.Unflatten:
            x = channels_last(x)
    return x


def obstacle_to(networks: Networks, parameter: Tensor) -> str | None:
    """Why a network with such parameters cannot run so, None where it can.

    Raises:
        ArgumentError: there is no such way.
    """
    if networks not in get_args(Networks):
        raise ArgumentError(f"networks must be 'modules' or 'triton', got {networks!r}")
    return choice.obstacle(parameter, 0, {}) if networks == "triton" else None
