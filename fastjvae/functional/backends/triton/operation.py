"""A differentiable operation, made of a forward and a backward launch."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensor
from torch.autograd import Function
from torch.utils._python_dispatch import _disable_current_modes

from fastjvae.errors import BackendError
from fastjvae_kernels.latent_launch import variables_table


class Operation:
    """A forward and a backward function, eager and compiled.

    In eager mode a ``torch.autograd.Function`` calls them; under ``torch.compile`` the same
    functions are the custom operators ``torch.ops.fastjvae.*``, at which a graph does not break.

    Args:
        name: of the custom operators ``fastjvae::name`` and ``fastjvae::name_backward``.
        schema, backward_schema: their signatures.
        forward, fake: the launch, and shapes and strides of its results.
        save: ``save(ctx, inputs, output)`` keeps what the backward pass needs.
        arguments: ``arguments(ctx, *upstream)`` are those of ``backward``.
        backward, backward_fake: the launch, and shapes and strides of the gradients.
        spread: ``spread(ctx, gradients)`` says which gradient belongs to which input.
    """

    def __init__(
        self,
        name: str,
        *,
        schema: str,
        forward: Callable[..., Any],
        fake: Callable[..., Any],
        save: Callable[..., None],
        arguments: Callable[..., tuple[Any, ...]],
        backward_schema: str,
        backward: Callable[..., Any],
        backward_fake: Callable[..., Any],
        spread: Callable[..., tuple[Any, ...]],
    ) -> None:
        def eager_backward(ctx: Any, *upstream: Tensor | None) -> tuple[Any, ...]:
            if torch._C._are_functorch_transforms_active():
                raise BackendError(
                    "the Triton kernels give no batched gradients; compute them inside"
                    " fastjvae.backend('reference')"
                )
            if all(gradient is None for gradient in upstream):
                return (None,) * len(ctx.needs_input_grad)
            with torch.no_grad():
                gradients = spread(ctx, backward(*arguments(ctx, *upstream)))
            return _without_second_derivative(gradients)

        def compiled_backward(ctx: Any, *upstream: Tensor | None) -> tuple[Any, ...]:
            if all(gradient is None for gradient in upstream):
                return (None,) * len(ctx.needs_input_grad)
            return spread(ctx, self._backward_operator(*arguments(ctx, *upstream)))

        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            ctx.set_materialize_grads(False)
            save(ctx, inputs, output)

        def eager_forward(ctx: Any, *inputs: Any) -> Any:
            # Beside a `setup_context` torch reads the signature of `forward` in every call.
            output = forward(*inputs)
            setup_context(ctx, inputs, output)
            return output

        members = {
            "forward": staticmethod(eager_forward),
            "backward": staticmethod(eager_backward),
        }
        self._function = type(name, (Function,), members)
        self._operator = torch.library.custom_op(
            f"fastjvae::{name}", forward, mutates_args=(), schema=schema
        )
        self._operator.register_fake(fake)
        self._operator.register_autograd(compiled_backward, setup_context=setup_context)
        self._backward_operator = torch.library.custom_op(
            f"fastjvae::{name}_backward", backward, mutates_args=(), schema=backward_schema
        )
        self._backward_operator.register_fake(backward_fake)

    def __call__(self, *inputs: Any) -> Any:
        if torch.compiler.is_compiling() or any(isinstance(x, FakeTensor) for x in inputs):
            return self._operator(*inputs)
        return self._function.apply(*inputs)  # type: ignore[attr-defined]


class _SecondDerivative(Function):
    """The identity; an error where it is differentiated."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, marker: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Any, _upstream: Tensor) -> tuple[Any, ...]:
        raise BackendError(
            "the Triton kernels have no second derivative; compute it inside"
            " fastjvae.backend('reference')"
        )


def _without_second_derivative(gradients: tuple[Any, ...]) -> tuple[Any, ...]:
    if not torch.is_grad_enabled():  # create_graph=False
        return gradients
    marker = torch.empty((), requires_grad=True)
    return tuple(
        _SecondDerivative.apply(gradient, marker) if isinstance(gradient, Tensor) else gradient
        for gradient in gradients
    )


def tensor_and_float(value: float | Tensor) -> tuple[Tensor | None, float]:
    """A number as a custom operator takes it: (tensor, unused) or (None, number)."""
    return (value, 0.0) if isinstance(value, Tensor) else (None, float(value))


def one_of(tensor: Tensor | None, value: float) -> float | Tensor:
    """The number that :func:`tensor_and_float` has taken apart."""
    return value if tensor is None else tensor


def prepare(like: Tensor, sizes: Sequence[int]) -> None:
    """Make the table of the variables while torch.compile traces.

    Later it might be made inside a CUDA graph, in memory that the graph takes back.
    """
    with _disable_current_modes():
        variables_table(tuple(map(int, sizes)), like.device)
