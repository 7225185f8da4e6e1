"""Weights to begin with: those of a seed alone, in any thread, and those of He et al. 2015."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# What modules are initialised by: torch.nn.init's functions, and the methods that these call.
_DRAWS: frozenset[Callable[..., Any]] = frozenset(
    {
        nn.init.kaiming_uniform_,
        nn.init.kaiming_normal_,
        nn.init.uniform_,
        nn.init.normal_,
        Tensor.uniform_,
        Tensor.normal_,
    }
)


class Seeded(TorchFunctionMode):
    """Inside, this thread's modules get the weights that ``torch.manual_seed(seed)`` would give.

    They are drawn from a generator of their own: torch's, which every thread of the process draws
    from, is neither read nor changed.

    >>> def layer(seed):
    ...     with Seeded(seed):
    ...         return nn.Linear(2, 1)
    >>> before = torch.get_rng_state()
    >>> torch.equal(layer(3).weight, layer(3).weight), torch.equal(before, torch.get_rng_state())
    (True, True)
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _DRAWS and kwargs.get("generator") is None:
            kwargs["generator"] = self._generator
        return func(*args, **kwargs)


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
