"""The layers of a chain on a GPU, with the backward pass by hand.

cuDNN and cuBLAS compute the products, one Triton kernel all that lies between two of them. A layer
is a product without its bias, then its bias and its ReLU in one kernel. On the way back one kernel
is the ReLU's gradient and the sums for the bias, and one more finishes the biases of the whole
chain. Where images become rows or rows images, the same kernels write in the new order: features
stay channels_last for cuDNN, the weights of the linear layers stay as they are saved, and nothing
is copied. A linear layer without a ReLU takes its bias into cuBLAS. The ReLUs do not go there: a
NaN that a library's ReLU turned into 0 would never be seen.

The arithmetic beside the products is float32; features have the dtype of x, weights are cast to it.
Under ``torch.compile`` the chain is two custom operators, at which a graph does not break.
"""

from collections.abc import Sequence
from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor
from torch.autograd import Function

from fastjvae.model.layers_as_built import parameters_of, plain
from fastjvae.model.triton_passes import (
    Stage,
    backward_pass,
    dense,
    first_wanted,
    forward_pass,
    parts_of,
    shape_behind,
    shape_of_product,
    spread_gradients,
    stages_in,
)


def takes(x: Tensor) -> bool:
    """Whether the chain takes this x, which autocast may change."""
    is_cast = x.is_floating_point() and _autocast_dtype(x) is not None
    if len(x) == 0 or not (x.dtype == torch.float32 or is_cast):
        return False
    return torch.compiler.is_compiling() or (
        torch._C._get_tracing_state() is None and torch.autograd.forward_ad._current_level < 0
    )


def _autocast_dtype(x: Tensor) -> torch.dtype | None:
    device = x.device.type
    if device == "meta" or not torch.is_autocast_enabled(device):  # which has no autocast
        return None
    return torch.get_autocast_dtype(device)


def triton_chain(layers: Sequence[nn.Module], stages: Sequence[Stage], x: Tensor) -> Tensor:
    """Layers one after the other on x (N, ...) with N >= 1, and their gradients.

    ``stages`` are those of the layers. Under autocast x and the weights are cast to its dtype.
    """
    parameters = list(parameters_of(layers))
    if (dtype := _autocast_dtype(x)) is not None:
        x = x.to(dtype)
    parameters[::2] = [weight.to(x.dtype) for weight in parameters[::2]]
    plan = [number for stage in stages for number in stage]
    if torch.compiler.is_compiling() or isinstance(x, FakeTensor):
        return _operator(x, parameters[::2], parameters[1::2], plan)[-1]  # type: ignore[no-any-return]
    return _Chain.apply(x, layers, plan, *parameters)  # type: ignore[no-any-return]


# --- differentiated -------------------------------------------------------------------------------


class _Chain(Function):
    """(x, layers, their plan, weight and bias of each) -> the last layer's output."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, layers: Sequence[nn.Module], plan: Sequence[int], *parameters: Tensor
    ) -> Tensor:
        features: list[Any] = list(forward_pass(x, parameters[::2], parameters[1::2], plan))
        y = features[-1]
        if not stages_in(plan)[-1].relu:
            features[-1] = None
        ctx.layers, ctx.plan = layers, plan
        ctx.save_for_backward(x, *features, *parameters)
        return y  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        saved = ctx.saved_tensors  # once: activation checkpointing computes them at this
        number = (len(saved) - 1) // 3
        x, features, parameters = saved[0], saved[1 : 1 + number], saved[1 + number :]
        needs_x, _, _, *needs = ctx.needs_input_grad
        if torch.is_grad_enabled() or _is_batched(grad):
            inputs, wanted = (x, *parameters), [needs_x, *needs]
            create = torch.is_grad_enabled()
            with torch.enable_grad():  # of these gradients PyTorch knows all
                y = plain(ctx.layers, x, *(p.to(x.dtype) for p in parameters))
            leaves = list(compress(inputs, wanted))
            by = iter(torch.autograd.grad(y, leaves, grad, create_graph=create))
            by_x, *rest = [next(by) if need else None for need in wanted]
            return by_x, None, None, *rest
        wanted = [needs_x, *needs[::2], *needs[1::2]]
        found = backward_pass(grad, x, features, parameters[::2], ctx.plan, wanted)
        sizes = [bias.numel() for bias in parameters[1::2]]
        by_x, by_weights, by_biases = spread_gradients(found, wanted, sizes)
        both = zip(by_weights, by_biases, strict=True)
        return by_x, None, None, *(gradient for pair in both for gradient in pair)


def _is_batched(grad: Tensor) -> bool:
    """Whether it is many gradients at once, by either of PyTorch's ways."""
    return (
        torch._C._are_functorch_transforms_active()
        or torch._C._functorch.is_legacy_batchedtensor(grad)
    )


# --- compiled -------------------------------------------------------------------------------------

_operator = torch.library.custom_op(
    "fastjvae::chain",
    forward_pass,
    mutates_args=(),
    schema="(Tensor x, Tensor[] weights, Tensor[] biases, int[] plan) -> Tensor[]",
)
_backward_operator = torch.library.custom_op(
    "fastjvae::chain_backward",
    backward_pass,
    mutates_args=(),
    schema="(Tensor grad, Tensor x, Tensor[] features, Tensor[] weights, int[] plan, bool[] needs)"
    " -> Tensor[]",
)


@_operator.register_fake
def _forward_fake(
    x: Tensor, weights: Sequence[Tensor], _biases: Sequence[Tensor], plan: Sequence[int]
) -> list[Tensor]:
    features = []
    for stage, weight in zip(stages_in(plan), weights, strict=True):
        x = dense(shape_behind(stage, shape_of_product(stage, x, weight)), x)
        features.append(x)
    return features


@_backward_operator.register_fake
def _backward_fake(
    _grad: Tensor,
    x: Tensor,
    features: Sequence[Tensor],
    weights: Sequence[Tensor],
    plan: Sequence[int],
    needs: Sequence[bool],
) -> list[Tensor]:
    stages, first = stages_in(plan), first_wanted(needs)
    inputs = [x, *features[:-1]]
    shapes = [shape_of_product(*of) for of in zip(stages, inputs, weights, strict=True)]
    columns = sum(
        stage.product(shape).columns
        for stage, shape in list(zip(stages, shapes, strict=True))[first:]
    )
    row = x.new_empty(columns, dtype=torch.float32)
    by_x, by_weights, _ = parts_of(needs)
    return [
        row,
        *([dense(x.shape, x)] if by_x else []),
        *map(torch.empty_like, compress(weights, by_weights)),
    ]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Sequence[Tensor]) -> None:
    x, weights, biases, ctx.plan = inputs
    ctx.set_materialize_grads(False)
    ctx.sizes = [bias.shape[0] for bias in biases]
    ctx.save_for_backward(x, *output, *weights)


def _compiled_backward(ctx: Any, upstream: Sequence[Tensor | None]) -> Any:
    x, *rest = ctx.saved_tensors
    features, weights = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    by_x, by_weights, by_biases, _ = ctx.needs_input_grad
    needs = [by_x, *by_weights, *by_biases]
    found = _backward_operator(upstream[-1], x, features, weights, ctx.plan, needs)
    return *spread_gradients(found, needs, ctx.sizes), None


_operator.register_autograd(_compiled_backward, setup_context=_setup_context)
