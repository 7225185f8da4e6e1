"""Adam's moments out of a checkpoint, checked before an optimizer takes them up."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fastjvae._numbers import shown

_MOMENTS = {"step", "exp_avg", "exp_avg_sq"}  # of each parameter that has had a step


def restore_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Take up Adam's moments; its settings stay those of the run, and of its device.

    Raises:
        ValueError, KeyError, ...: it is the state of another optimizer; see
            :func:`fastjvae.model.checkpoint.taking_up`.
    """
    settings = [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]
    groups = [
        {**theirs, **ours} for theirs, ours in zip(state["param_groups"], settings, strict=True)
    ]
    optimizer.load_state_dict({**state, "param_groups": groups})
    for group, before in zip(optimizer.param_groups, settings, strict=True):
        group.update(before)
        for parameter in group["params"]:
            moments = optimizer.state.get(parameter, {})
            if moments and moments.keys() != _MOMENTS:
                raise ValueError(f"the optimizer has {sorted(moments)} of a parameter")
            for name, value in moments.items():
                _check_moment(name, value, parameter)
                if name != "step" and value.stride() != parameter.stride():
                    moments[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _check_moment(name: str, value: Any, parameter: Tensor) -> None:
    """A kernel that updates all parameters at once does not look at shapes itself."""
    shape = () if name == "step" else tuple(parameter.shape)
    if (
        not isinstance(value, Tensor)
        or tuple(value.shape) != shape
        or not value.is_floating_point()
    ):
        raise ValueError(
            f"the optimizer's {name} must be floating numbers of shape {shape}, got {shown(value)}"
        )
