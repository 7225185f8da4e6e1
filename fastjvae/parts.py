"""The loss of a whole batch that is in parts, on several processes or one after the other.

|KL - C(t)| is of the batch's mean KL. Means of parts on both sides of C(t) would pull against each
other, so every part needs the whole batch's KL before the absolute value, and its gradient is that
of its own images in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from fastjvae.errors import ArgumentError


class Part(NamedTuple):
    """What a part knows of its batch; see :func:`part_of_batch`."""

    images: int
    sums: Tensor | None
    group: dist.ProcessGroup | None
    processes: int


_part: ContextVar[Part | None] = ContextVar("fastjvae_part", default=None)


@contextmanager
def part_of_batch(
    images: int, *, sums: Tensor | None = None, group: dist.ProcessGroup | None = None
) -> Iterator[None]:
    """Inside, a loss is that of a batch of which its images are a part.

    Every process of the group enters with its own part of the batch, which may be empty, and calls
    the model's loss once. Losses, divergences and category means are then the whole batch's on
    every process; their gradients, averaged over the processes as DistributedDataParallel does it,
    are the whole batch's too. Without an initialised process group there is one process.

    Parts that follow one another on one process share ``sums``. Their gradients add up to the whole
    batch's, and so do their reconstructions; every divergence is the whole batch's already.

    >>> import torch
    >>> from fastjvae import Capacity, JointObjective, JointVAE
    >>> from fastjvae.functional import divergence_sums
    >>> model, images = JointVAE((1, 32, 32), {"disc": [4]}), torch.rand(6, 1, 32, 32)
    >>> objective = JointObjective(disc=Capacity(0.0, 1.0, 100, 30.0))
    >>> with torch.no_grad():
    ...     rows = [model.encode_params(part) for part in images.split(4)]
    ...     sums = sum(divergence_sums(params, model.spec) for params in rows)
    >>> for part in images.split(4):
    ...     with part_of_batch(6, sums=sums):
    ...         model.loss(part, 1, objective).loss.backward()

    Args:
        images: of the whole batch, at least 1.
        sums: (Z + D + sum K,) :func:`fastjvae.functional.divergence_sums`, added up over all parts
            and processes; by default the processes add them up in the loss.
        group: the processes, by default all.

    Raises:
        ArgumentError: ``images`` is below 1.
    """
    if images < 1:
        raise ArgumentError(f"a batch has at least 1 image, got {images}")
    several = dist.is_available() and dist.is_initialized()
    part = Part(images, sums, group, dist.get_world_size(group) if several else 1)
    token = _part.set(part)
    try:
        yield
    finally:
        _part.reset(token)


def current_part() -> Part | None:
    """The innermost part, or None; a compiled function is never a part."""
    return None if torch.compiler.is_compiling() else _part.get()


def whole_sums(part: Part, sums: Tensor, factor: int = 1) -> Tensor:
    """Sums of a part as the whole batch's, with ``factor`` times the gradient by the part's own."""
    whole = part.sums
    if whole is None:
        whole = add_up(sums, part.processes, part.group)
    return _InPlaceOf.apply(sums, whole, factor)  # type: ignore[no-any-return]


def whole_reconstruction(part: Part, share: Tensor) -> Tensor:
    """The processes' shares of a reconstruction added up, for their averaged gradient."""
    whole = add_up(share, part.processes, part.group)
    return _InPlaceOf.apply(share, whole, part.processes)  # type: ignore[no-any-return]


def whole_loss(part: Part, loss: Tensor, share: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
    """A loss with a part's share of the reconstruction, and that, as with the whole of it."""
    whole = add_up(share, part.processes, part.group)
    value = loss.detach() + (whole - share) / pixels
    return _InPlaceOf.apply(loss, value, part.processes), whole


def add_up(tensor: Tensor, processes: int, group: dist.ProcessGroup | None = None) -> Tensor:
    """Sum over the processes of a group, detached."""
    total = tensor.detach().clone(memory_format=torch.contiguous_format)
    if processes > 1:
        dist.all_reduce(total, group=group)
    return total


class _InPlaceOf(torch.autograd.Function):
    """``value`` in place of ``tensor``, which gets ``factor`` times the gradient."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, value: Tensor, factor: int) -> Tensor:
        ctx.factor = factor
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad * ctx.factor, None, None
