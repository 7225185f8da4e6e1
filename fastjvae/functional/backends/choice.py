"""The choice of a backend for each call: the Triton kernels, the CPU form or the reference."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from fastjvae.errors import ArgumentError, BackendError

Backend = Literal["reference", "cpu", "triton"]
_BACKENDS = get_args(Backend)

_forced_backend: ContextVar[Backend | None] = ContextVar("fastjvae_backend", default=None)
# The same for torch.compile, which guards on a global and not on a context variable: a compiled
# function follows a later change.
_forced_for_compiler: Backend | None = None
_LARGEST_VARIABLE = 16_384  # categories; a larger tile spills registers
_TRITON_FOUND = find_spec("triton") is not None
_launch_failures: dict[int | None, str | None] = {}  # by the index of a GPU that was tried


@contextmanager
def backend(name: Backend) -> Iterator[None]:
    """Run every operation inside the block on one backend.

    - "triton": the Triton kernels, for CUDA and HIP tensors;
    - "cpu": backward passes written by hand, for float32 tensors of a training step on a CPU; what
      has none of its own is PyTorch's;
    - "reference": plain PyTorch, on any device.

    Without it, or the environment variable ``FASTJVAE_BACKEND``, the device decides. The reference
    then takes what the others do not: float64, ``torch.func`` transforms, and gradients of what
    they take as constants (noise, temperature, gamma, target images).

    >>> import torch
    >>> from fastjvae.functional import kl_gaussian
    >>> with backend("reference"):
    ...     kl_gaussian(torch.zeros(8, 3), torch.zeros(8, 3))
    tensor([0., 0., 0.])

    Raises:
        ArgumentError: there is no backend of this name.
        BackendError: an operation inside the block cannot run on it; the message says why.
            Only float64 tensors go from "triton" to the reference without one.
    """
    global _forced_for_compiler
    token = _forced_backend.set(_checked(name, "the backend"))
    before, _forced_for_compiler = _forced_for_compiler, name
    try:
        yield
    finally:
        _forced_for_compiler = before
        _forced_backend.reset(token)


def use_triton(
    tensor: Tensor,
    largest_variable: int = 0,
    most_categories: int = _LARGEST_VARIABLE,
    /,
    **constants: Any,
) -> bool:
    """Whether the Triton kernels take a call on ``tensor``, on its device and in its dtype.

    Args:
        tensor: the operation's main input.
        largest_variable: most categories of a variable that it samples or measures.
        most_categories: of a variable that the operation's kernels take.
        constants: further inputs by name, of which the kernels give no gradient.

    Raises:
        BackendError: the kernels were asked for and cannot take it, or the CPU's operations were
            and the tensor is on another device.
    """
    wanted = _wanted()
    if wanted == "cpu" and tensor.device.type != "cpu":
        raise BackendError(
            f"the cpu backend was asked for, but its operations take CPU tensors and this one is"
            f" on {tensor.device}"
        )
    if wanted in ("reference", "cpu") or tensor.dtype == torch.float64:
        return False
    if wanted is None and tensor.device.type != "cuda":
        return False
    reason = obstacle(tensor, largest_variable, constants, most_categories)
    if reason and wanted == "triton":
        raise BackendError(f"the triton backend was asked for, but {reason}")
    return reason is None


def can_use_triton(tensor: Tensor) -> bool:
    """Whether kernels that were asked for by themselves take a call on ``tensor``.

    Not where another backend was asked for, or where :func:`use_triton` would leave the call to it.
    """
    return (
        _wanted() not in ("reference", "cpu")
        and tensor.dtype != torch.float64
        and obstacle(tensor, 0, {}) is None
    )


def use_cpu(tensor: Tensor, **constants: Any) -> bool:
    """Whether a call on a CPU takes the backward passes written by hand.

    Not where another backend was asked for, in another dtype than float32, while a compiler traces,
    nor where something is differentiated that these take as constant.
    """
    return (
        tensor.device.type == "cpu"
        and tensor.dtype == torch.float32
        and _wanted() in (None, "cpu")
        and not torch.compiler.is_compiling()
        and torch._C._get_tracing_state() is None
        and not torch._C._are_functorch_transforms_active()
        and torch.autograd.forward_ad._current_level < 0
        and not any(isinstance(c, Tensor) and c.requires_grad for c in constants.values())
    )


def _wanted() -> Backend | None:
    compiling = torch.compiler.is_compiling()
    forced = _forced_for_compiler if compiling else _forced_backend.get()
    if forced is None and (variable := os.environ.get("FASTJVAE_BACKEND")):
        return _checked(variable, "FASTJVAE_BACKEND")
    return forced


def _checked(name: str, source: str) -> Backend:
    if name not in _BACKENDS:
        raise ArgumentError(f"{source} must be 'reference', 'cpu' or 'triton', got {name!r}")
    return name  # type: ignore[return-value]


def obstacle(
    tensor: Tensor,
    largest_variable: int,
    constants: dict[str, Any],
    most_categories: int = _LARGEST_VARIABLE,
) -> str | None:
    """Why the kernels cannot take this call, or None where they can."""
    if not _TRITON_FOUND:
        return "the package triton is not installed (it is made for Linux)"
    if tensor.device.type != "cuda" and not (tensor.device.type == "cpu" and interpreted()):
        return f"its kernels need CUDA or HIP tensors and this one is on {tensor.device}"
    if tensor.device.type == "cuda" and (failure := _launch_failure(tensor.device)):
        return f"Triton fails on {tensor.device}: {failure}"
    if largest_variable > most_categories:
        return (
            f"its kernels take variables of up to {most_categories:,} categories and this one"
            f" has {largest_variable:,}"
        )
    if torch._C._are_functorch_transforms_active():
        return "its kernels do not support the transforms of torch.func"
    if torch.is_grad_enabled():
        for name, value in constants.items():
            if isinstance(value, Tensor) and value.requires_grad:
                return f"its kernels give no gradient of {name}, which requires one"
    return None


def _launch_failure(device: torch.device) -> str | None:
    """The reason why Triton cannot compile or launch, such as without a C compiler, or None.

    A small launch finds out, once on each GPU. Where there is none yet, as for fake tensors, and
    where it would become part of a compiled or captured program, Triton is taken to work.
    """
    if (
        not torch.compiler.is_compiling()
        and device.index not in _launch_failures
        and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        and not torch.cuda.is_current_stream_capturing()
    ):
        _launch_failures[device.index] = reason = _try_a_launch(device)
        if reason is not None:
            # Of no line of the source, so that it is one line.
            warnings.warn_explicit(
                f"the reference takes the place of the Triton kernels, which fail on {device}:"
                f" {reason}",
                UserWarning,
                __file__,
                0,
            )
    return _launch_failures.get(device.index)


def _try_a_launch(device: torch.device) -> str | None:
    """The first line of what a launch raises, or None where it works."""
    try:
        from fastjvae_kernels.column_sums import column_sums

        with _disable_current_modes():
            column_sums(torch.zeros(1, 1, device=device), 1.0)
    except Exception as error:  # of Triton, of a compiler, of the driver
        return str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
    return None


def interpreted() -> bool:
    """Whether the kernels run in Triton's interpreter, on CPU tensors."""
    from fastjvae_kernels.arguments import INTERPRETED

    return INTERPRETED
