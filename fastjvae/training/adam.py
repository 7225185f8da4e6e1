"""Adam over a model and what its objective trains, with one short step on a CPU.

On a CPU most of a small step of :class:`torch.optim.Adam` is Python that looks for what has a
gradient, and a call for each parameter's count of steps.
"""

from collections.abc import Callable
from operator import is_
from typing import Any

import torch
from torch import Tensor

from fastjvae.model import JointVAE
from fastjvae.objectives.base import Objective, call_if_offered


def adam(model: JointVAE, objective: Objective, lr: float) -> torch.optim.Adam:
    """Adam over a model and what its objective trains beside it, as fast as their device allows."""
    device = model.device.type
    own = call_if_offered(objective, "parameter_groups") or ()
    groups = [*_groups(model, lr), *own]
    if device == "cpu":
        return AdamOnCPU(groups, lr=lr, fused=True)
    return torch.optim.Adam(groups, lr=lr, fused=device == "cuda", capturable=device == "cuda")


def _groups(model: JointVAE, lr: float) -> list[dict[str, Any]]:
    """The model's parameters; a learned scale, whose logarithm has far to go, ten times as fast."""
    scale = model.log_scale
    if scale is None:
        return [{"params": list(model.parameters())}]
    others = [p for p in model.parameters() if p is not scale]
    return [{"params": others}, {"params": [scale], "lr": 10 * lr}]


class AdamOnCPU(torch.optim.Adam):
    """:class:`torch.optim.Adam` with ``fused=True``, bitwise, whose usual step is three calls.

    The counts of steps of a group's parameters are elements of one tensor, so that one call raises
    all; ``state_dict`` has each as a tensor of its own, in PyTorch's form. PyTorch's own step takes
    the first one, one in which a parameter has no gradient, and one with a closure or a scaler.

    A gradient whose elements lie in another order than its parameter's is put into that order:
    PyTorch's would move other weights by it, without a word.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._counts: dict[int, tuple[Tensor, list[Tensor]]] = {}  # by group: all, each

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Of a copy, or of a state dict.
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._counts = {}

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and _lies_otherwise(p.grad, p):
                    p.grad = torch.empty_like(p).copy_(p.grad)
        found = [self._tensors(group) for group in self.param_groups]
        if closure is not None or None in found or hasattr(self, "grad_scale"):
            result = super().step(closure)
            for number, group in enumerate(self.param_groups):
                if stepped := [self.state[p] for p in group["params"] if self.state.get(p)]:
                    self._together(number, stepped)  # they stay where they are from here on
            return result
        for number, (group, tensors) in enumerate(zip(self.param_groups, found, strict=True)):
            assert tensors is not None
            counts, each = self._together(number, [self.state[p] for p in group["params"]])
            counts.add_(1)
            beta1, beta2 = group["betas"]
            params, grads, averages, squares = (list(map(_contiguous, kind)) for kind in tensors)
            torch._fused_adam_(
                params,
                grads,
                averages,
                squares,
                [],
                each,
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=group["maximize"],
            )
        return None

    def _tensors(self, group: dict[str, Any]) -> tuple[list[Tensor], ...] | None:
        """Parameters, gradients and both moments of a group; None if PyTorch's step is needed."""
        params = group["params"]
        grads = [p.grad for p in params]
        states = [self.state.get(p, {}) for p in params]
        plain = group["fused"] and not (group["amsgrad"] or group["differentiable"])
        if not plain or not all(states) or any(g is None or g.is_sparse for g in grads):
            return None
        return params, grads, [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states]

    def _together(
        self, number: int, states: list[dict[str, Tensor]]
    ) -> tuple[Tensor, list[Tensor]]:
        """The counts of a group's parameters as one tensor, and each of them."""
        if number in self._counts:
            _, each = self._counts[number]
            if len(each) == len(states) and all(map(is_, each, (s["step"] for s in states))):
                return self._counts[number]
        counts = torch.stack([state["step"] for state in states])
        each = list(counts.unbind())
        for state, count in zip(states, each, strict=True):
            state["step"] = count
        self._counts[number] = counts, each
        return counts, each

    def zero_grad(self, set_to_none: bool = True) -> None:
        if not set_to_none:
            super().zero_grad(set_to_none)
            return
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """PyTorch's, with counts that share no storage."""
        state = super().state_dict()
        for number, of_one in state["state"].items():
            if "step" in of_one:
                state["state"][number] = {**of_one, "step": of_one["step"].clone()}
        return state


def _lies_otherwise(gradient: Tensor, parameter: Tensor) -> bool:
    return not gradient.is_sparse and gradient.stride() != parameter.stride()


def _contiguous(tensor: Tensor) -> Tensor:
    """A view of weights in channels_last in the order of their memory; others as they are.

    PyTorch copies a gradient that is not contiguous.
    """
    if tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1)
    return tensor
