"""Providers of an operation: PyTorch, eager and compiled, and the Triton kernels.

A problem is a workload with its exact results. :func:`passes_of` gives a provider's forward pass,
backward pass and both over it, once they agreed with these results; nothing else is timed.

The PyTorch providers draw their noise from torch's own generator while they are timed, as everybody
writes it: the reference emulates the kernels' Philox in int64 tensors, and that alone would take
longer than the rest. While they are checked they get the seed's noise as tensors.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

import fastjvae
from benchmarks.operations.workloads import Outputs, Workload
from fastjvae.functional.backends import philox
from fastjvae.functional.backends.choice import Backend

CUDA = torch.cuda.is_available()
DEVICE = "cuda" if CUDA else "cpu"
# torch.compile's CUDA graphs warm up in the first call, record in the second, replay in the third.
WARM_UP = 3 if CUDA else 1


# --- noise of the reference -----------------------------------------------------------------------

Draw = Callable[..., Tensor]  # (seed, rows, columns, stream) -> (rows, columns)


@contextmanager
def reference_noise(normal: Draw, uniform: Draw) -> Iterator[None]:
    """Let the reference draw by other functions than its Philox."""
    with (
        patch.object(philox, "philox_normal", normal),
        patch.object(philox, "philox_uniform", uniform),
    ):
        yield


def torch_normal(seed: Tensor, rows: int, columns: int, *_: int) -> Tensor:
    return torch.randn(rows, columns, device=seed.device)


def torch_uniform(seed: Tensor, rows: int, columns: int, *_: int) -> Tensor:
    return torch.rand(rows, columns, device=seed.device)


def recorded(draw: Draw, drawn: list[Tensor]) -> Draw:
    """``draw``, which also appends what it draws."""

    def recording(*arguments: Any) -> Tensor:
        drawn.append(draw(*arguments))
        return drawn[-1]

    return recording


# --- the exact results ----------------------------------------------------------------------------


class Problem(NamedTuple):
    """A workload and its results by the reference in float64, with the noise that it drew."""

    workload: Workload
    upstream: Outputs  # gradients of the outputs
    outputs: Outputs
    gradients: Outputs
    normal: list[Tensor]  # no matrix, or one
    uniform: list[Tensor]


def problem_of(workload: Workload) -> Problem:
    """The problem of a workload whose inputs have one row per image."""
    inputs = [tensor.detach().double().requires_grad_() for tensor in workload.inputs]
    normal: list[Tensor] = []
    uniform: list[Tensor] = []
    with reference_noise(
        recorded(philox.philox_normal, normal), recorded(philox.philox_uniform, uniform)
    ):
        outputs = workload.run(*inputs)
    upstream = upstream_gradients(outputs, workload.inputs[0])
    gradients = torch.autograd.grad(outputs, inputs, [grad.double() for grad in upstream])
    exact = tuple(output.detach() for output in outputs)
    return Problem(workload, upstream, exact, gradients, normal, uniform)


def upstream_gradients(outputs: Outputs, like: Tensor) -> Outputs:
    """Random ones. Those of batch means grow with the batch, so that they count beside a sample's.

    Samples are matrices in the inputs' dtype, batch means are vectors and scalars in float32.
    """
    draw = partial(torch.randn, generator=torch.Generator(DEVICE).manual_seed(1), device=DEVICE)
    return tuple(
        draw(output.shape).to(like.dtype) if output.dim() == 2 else draw(output.shape) * len(like)
        for output in outputs
    )


# --- providers ------------------------------------------------------------------------------------


class Passes(NamedTuple):
    """What is timed; ``backward`` starts from what ``forward`` returned."""

    forward: Callable[[], Outputs]
    backward: Callable[[Outputs], Outputs]
    both: Callable[[], Outputs]


class Provider(NamedTuple):
    """A way to compute an operation, and the backend that it takes."""

    backend: Backend
    build: Callable[[Problem], Passes]


def eager(problem: Problem) -> Passes:
    return _direct(problem, problem.workload.run, _leaves(problem))


def compiled(problem: Problem, mode: str) -> Passes:
    # Without the reset the code of earlier problems counts towards the limit of recompilations.
    torch.compiler.reset()
    inputs = _leaves(problem)
    if mode == "reduce-overhead":  # else it would copy the inputs into its graph in every call
        for tensor in inputs:
            torch._dynamo.mark_static_address(tensor)
    run = torch.compile(problem.workload.run, fullgraph=True, dynamic=False, mode=mode)
    return _direct(problem, run, inputs)


def captured(problem: Problem) -> Passes:
    """CUDA graphs of the three passes, on the inputs where they are."""
    passes = eager(problem)
    # One stream for all: a gradient is computed on the stream of its forward pass.
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            passes.both()
    torch.cuda.current_stream().wait_stream(stream)
    forward, backward, both = (torch.cuda.CUDAGraph() for _ in Passes._fields)
    with torch.cuda.graph(forward, stream=stream):
        outputs = passes.forward()
    # The same pool, in the order of the replays: what the forward pass saved stays in place.
    with torch.cuda.graph(backward, pool=forward.pool(), stream=stream):
        gradients = passes.backward(outputs)
    with torch.cuda.graph(both, stream=stream):
        gradients_of_both = passes.both()

    def replay(graph: torch.cuda.CUDAGraph, results: Outputs, *_: Outputs) -> Outputs:
        graph.replay()
        return results

    return Passes(
        partial(replay, forward, outputs),
        partial(replay, backward, gradients),
        partial(replay, both, gradients_of_both),
    )


def _leaves(problem: Problem) -> Outputs:
    """The inputs outside of any earlier autograd graph, which would bind them to its stream."""
    return tuple(tensor.detach().requires_grad_() for tensor in problem.workload.inputs)


def _direct(problem: Problem, run: Callable[..., Outputs], inputs: Outputs) -> Passes:
    def forward() -> Outputs:
        return run(*inputs)

    def backward(outputs: Outputs) -> Outputs:
        return torch.autograd.grad(outputs, inputs, problem.upstream)

    return Passes(forward, backward, lambda: backward(forward()))


PROVIDERS = {
    "eager": Provider("reference", eager),
    "compile": Provider("reference", partial(compiled, mode="default")),
    "compile-reduce-overhead": Provider("reference", partial(compiled, mode="reduce-overhead")),
    "kernels": Provider("triton", eager),
    "kernels-cudagraph": Provider("triton", captured),
}


# --- checked, then offered ------------------------------------------------------------------------


@contextmanager
def passes_of(name: str, problem: Problem) -> Iterator[Passes]:
    """A provider's passes, after a check; inside the block they may run.

    Raises:
        AssertionError: outputs or gradients differ from the problem's.
    """
    provider = PROVIDERS[name]
    given = (lambda *_: problem.normal[0]), (lambda *_: problem.uniform[0])
    with fastjvae.backend(provider.backend):
        with reference_noise(*given):
            _check(provider.build(problem), problem)
        with reference_noise(torch_normal, torch_uniform):
            yield provider.build(problem)


def begin_step() -> None:
    """Let torch.compile's CUDA graphs reuse the memory of a forward pass without a backward."""
    if CUDA:
        torch.compiler.cudagraph_mark_step_begin()


def _check(passes: Passes, problem: Problem) -> None:
    for _ in range(WARM_UP):
        begin_step()
        outputs = passes.forward()
        _check_equal("outputs", outputs, problem.outputs)
        _check_equal("gradients", passes.backward(outputs), problem.gradients)
    begin_step()
    _check_equal("gradients of both passes", passes.both(), problem.gradients)


def _check_equal(what: str, ours: Outputs, exact: Outputs) -> None:
    """Errors, as a share of the largest number, stay below 1e-5 and 4 eps of the dtype.

    More than one, because a gradient may start from a sample that is rounded to the dtype: of
    y (g - sum g y) a rounded y near 1 leaves an error of g, where the exact difference is 0.
    """
    for one, other in zip(ours, exact, strict=True):
        largest = other.abs().max()
        allowed = (1e-5 + 4 * torch.finfo(one.dtype).eps) * largest
        error = (one.detach().double() - other).abs().max()
        assert error <= allowed, f"{what}: error {error:.2g} of {largest:.2g} in {one.dtype}"
