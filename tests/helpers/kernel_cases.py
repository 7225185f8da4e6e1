"""Inputs and tolerances for holding the Triton kernels against the float64 reference."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from examples import examples
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor

import fastjvae
from fastjvae import LatentSpec

pytest.importorskip("triton", reason="needs triton")

# On a machine with a GPU the same tests hold the compiled kernels against the reference.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = (torch.float32, torch.bfloat16, torch.float16)

many_examples = settings(
    max_examples=examples(),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@contextmanager
def kernels() -> Iterator[None]:
    """The Triton backend; numpy's warnings of masked elements in the interpreter are silent."""
    with warnings.catch_warnings(), fastjvae.backend("triton"):
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


# --- inputs ---------------------------------------------------------------------------------------

sizes_of_rows = st.sampled_from([0, 1, 2, 3, 5, 16, 31, 33])
sizes_of_units = st.sampled_from([0, 1, 2, 3, 4, 7, 10, 16, 17, 33])
sizes_of_variables = st.sampled_from([2, 3, 4, 5, 8, 10, 15, 17])
temperatures = st.sampled_from([1e-3, 0.1, 0.67, 1.0, 3.0, 100.0])
dtypes = st.sampled_from(DTYPES)
seeds = st.integers(-(2**63), 2**63 - 1)


@st.composite
def specs(draw: st.DrawFn) -> LatentSpec:
    cont = draw(sizes_of_units)
    disc = draw(st.lists(sizes_of_variables, min_size=0 if cont else 1, max_size=3))
    return LatentSpec(cont, tuple(disc))


@dataclass(frozen=True)
class Layout:
    """How a matrix lies in memory: transposed, shifted, every second element of a larger one."""

    name: str
    place: Callable[[Tensor], Tensor]


def _within(larger: Tensor, window: Tensor, values: Tensor) -> Tensor:
    window.copy_(values)
    return window


def _transposed(values: Tensor) -> Tensor:
    return values.T.contiguous().T


def _shifted(values: Tensor) -> Tensor:
    larger = values.new_full((values.shape[0], values.shape[1] + 3), float("nan"))
    return _within(larger, larger[:, 1 : 1 + values.shape[1]], values)


def _every_second(values: Tensor) -> Tensor:
    larger = values.new_full((2 * values.shape[0], 2 * values.shape[1]), float("nan"))
    return _within(larger, larger[::2, ::2], values)


layouts = st.sampled_from(
    [
        Layout("contiguous", lambda values: values),
        Layout("transposed", _transposed),
        Layout("shifted", _shifted),
        Layout("every second", _every_second),
    ]
)


memory_formats = st.sampled_from(
    ["contiguous", "channels last", "transposed", "every second", "misaligned"]
)


def images_in(values: Tensor, memory: str) -> Tensor:
    """Images (N, C, H, W) in another order or place in memory."""
    if memory == "channels last":
        return values.contiguous(memory_format=torch.channels_last)
    if memory == "transposed":
        return values.transpose(2, 3).contiguous().transpose(2, 3)
    if memory == "every second":
        larger = values.new_zeros((*values.shape[:3], 2 * values.shape[3]))
        return _within(larger, larger[..., ::2], values)
    if memory == "misaligned":
        larger = values.new_zeros(values.numel() + 3)
        return _within(larger, larger[3:].view(values.shape), values)
    return values


def random_params(spec: LatentSpec, rows: int, generator: torch.Generator, spread: str) -> Tensor:
    """(N, P) float32; "wide" reaches logits of 1e4 and log variances of 80, "ties" equal ones."""
    params = torch.randn(rows, spec.num_params, generator=generator)
    logvar = params[:, spec.logvar]
    logits = params[:, 2 * spec.cont :]
    if spread == "wide":
        logvar.uniform_(-80, 80, generator=generator)
        logits.mul_(10 ** torch.empty(rows, 1).uniform_(0, 3.5, generator=generator))
        logits.clamp_(-1e4, 1e4)
    elif spread == "ties":
        logvar.zero_()
        logits.round_()
    elif spread == "one-hot":
        logits.mul_(100)
    elif spread == "uniform":
        params.zero_()
    return params


spreads = st.sampled_from(["normal", "normal", "wide", "ties", "one-hot", "uniform"])
upstreams = st.sampled_from(["random", "zero", "expanded", "shifted", "large"])


def upstream(kind: str, like: Tensor, generator: torch.Generator) -> Tensor:
    """A gradient for ``like``: random, zero, of stride 0, or misaligned."""
    values = torch.randn(like.shape, generator=generator).to(like.device, like.dtype)
    if kind == "zero":
        return torch.zeros_like(like)
    if kind == "large":
        return values * 100
    if kind == "expanded":
        return values.new_full((), 0.75).expand(like.shape)
    if kind == "shifted" and like.dim() == 2:
        return _shifted(values)
    return values


# --- tolerance ------------------------------------------------------------------------------------


# The exponential of a GPU is good to about 1e-6, and worse at large arguments: exp(40), the
# standard deviation at a log variance of 80, is off by 4e-6 where its argument is scaled.
ROUNDINGS = 64.0 if DEVICE == "cuda" else 8.0


def assert_as_exact(
    ours: Tensor,
    reference: Tensor,
    exact: Tensor,
    magnitude: Tensor | float,
    slack: Tensor | float = 0.0,
) -> None:
    """Kernel errors are at most twice the reference's, plus some roundings of ``magnitude``.

    ``reference`` is PyTorch's result in the kernel's dtype, ``exact`` that in float64;
    ``magnitude`` is the size of the terms that the result is a sum of, ``slack`` what the inputs'
    condition adds. Results beyond the dtype are infinite.
    """
    assert ours.shape == exact.shape
    assert ours.dtype == reference.dtype
    limits = torch.finfo(ours.dtype)
    ours, reference = ours.detach().double().cpu(), reference.detach().double().cpu()
    exact = exact.detach().cpu()
    terms = [torch.as_tensor(t).detach().double().cpu() for t in (magnitude, slack)]
    allowed = 2 * (reference - exact).abs() + terms[1]
    allowed = allowed + ROUNDINGS * limits.eps * (exact.abs() + terms[0])
    allowed = allowed + limits.tiny  # results that a kernel may flush to 0
    beyond = exact.abs() > 0.99 * limits.max
    assert (ours[beyond].isinf() | (ours[beyond].abs() > 0.98 * limits.max)).all()
    error = (ours - exact).abs()
    wrong = ~beyond & ~(error <= allowed)
    first = tuple(wrong.nonzero()[0]) if wrong.any() else ()
    assert not wrong.any(), (
        f"{int(wrong.sum())} wrong, the first at {tuple(map(int, first))}: {ours[first]:.9g} for"
        f" {exact[first]:.9g}, error {error[first]:.3g}, allowed {allowed[first]:.3g}"
    )


# --- a case ---------------------------------------------------------------------------------------


class Results(NamedTuple):
    """Outputs of one operation and the gradients of its inputs."""

    outputs: tuple[Tensor, ...]
    gradients: tuple[Tensor, ...]


def differentiate(
    operation: Callable[..., tuple[Tensor, ...]],
    inputs: tuple[Tensor, ...],
    grads: tuple[Tensor, ...],
) -> Results:
    leaves = tuple(tensor.detach().requires_grad_() for tensor in inputs)
    outputs = operation(*leaves)
    pairs = [
        (output, grad.to(output.dtype))
        for output, grad in zip(outputs, grads, strict=True)
        if output.requires_grad  # an empty divergence need not
    ]
    differentiable, upstream_grads = zip(*pairs, strict=True)
    return Results(outputs, torch.autograd.grad(differentiable, leaves, upstream_grads))


class Case(NamedTuple):
    """One operation by the kernels, by the reference in the same dtype, and in float64."""

    ours: Results
    reference: Results
    exact: Results

    def check_output(self, i: int, magnitude: Tensor | float, slack: Tensor | float = 0.0) -> None:
        assert_as_exact(
            self.ours.outputs[i], self.reference.outputs[i], self.exact.outputs[i], magnitude, slack
        )

    def check_gradient(
        self, i: int, magnitude: Tensor | float, slack: Tensor | float = 0.0
    ) -> None:
        assert_as_exact(
            self.ours.gradients[i],
            self.reference.gradients[i],
            self.exact.gradients[i],
            magnitude,
            slack,
        )


def compare(
    with_seed: Callable[..., tuple[Tensor, ...]],
    with_noise: Callable[..., tuple[Tensor, ...]],
    inputs: tuple[Tensor, ...],
    grad_kind: str,
    generator: torch.Generator,
) -> Case:
    """Run ``with_seed`` on the kernels and ``with_noise``, which is given its numbers, twice."""
    doubles = tuple(tensor.double() for tensor in inputs)
    shapes = with_noise(*inputs)
    grads = tuple(upstream(grad_kind, output, generator) for output in shapes)
    with kernels():
        ours = differentiate(with_seed, inputs, grads)
    return Case(
        ours,
        differentiate(with_noise, inputs, grads),
        differentiate(with_noise, doubles, tuple(g.double() for g in grads)),
    )
