"""The loss of a whole batch that is in parts, on several processes or one after the other.

|KL - C(t)| is of the batch's mean KL. Means of parts on both sides of C(t) would pull against each
other, so every part needs the whole batch's KL before the absolute value, and its gradient is that
of its own images in it. An objective that compares images with one another needs more of the other
parts, their rows.
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
from fastjvae.functional.backends.reference import compute_dtype


class Part(NamedTuple):
    """A part of a batch, and what it knows of the whole: made by :func:`part_of_batch`."""

    images: int  # of the whole batch
    sums: Tensor | None  # (Z + D + sum K,)
    rows: Tensor | None  # (images, columns)
    first: int  # row of the whole batch that this part begins with
    group: dist.ProcessGroup | None
    processes: int


_part: ContextVar[Part | None] = ContextVar("fastjvae_part", default=None)


@contextmanager
def part_of_batch(
    images: int,
    *,
    sums: Tensor | None = None,
    rows: Tensor | None = None,
    first: int = 0,
    group: dist.ProcessGroup | None = None,
) -> Iterator[Part]:
    """Inside, a loss is that of a batch of which its images are a part.

    Yields the part, which functions take as ``part=``; by default they take the enclosing one.

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
        rows: (images, P + L) parameter and sample rows side by side of the whole batch, and what
            else the objective compares of its images, in the order of its call of
            :func:`fastjvae.functional.batch_rows`, for an objective that does so; by default
            the processes exchange them in the loss, which parts that follow one another cannot.
        first: where in the whole batch, and so in ``rows``, this part begins.
        group: the processes, by default all.

    Raises:
        ArgumentError: ``images`` is below 1.
    """
    if images < 1:
        raise ArgumentError(f"a batch has at least 1 image, got {images}")
    several = dist.is_available() and dist.is_initialized()
    processes = dist.get_world_size(group) if several else 1
    part = Part(images, sums, rows, first, group, processes)
    token = _part.set(part)
    try:
        yield part
    finally:
        _part.reset(token)


def enclosing_part() -> Part | None:
    """The part of the innermost :func:`part_of_batch`, or None; a compiled function has none."""
    return None if torch.compiler.is_compiling() else _part.get()


def batch_rows(*rows: Tensor, part: Part | None = None) -> tuple[Tensor, ...]:
    """Parameter rows (N, P), sample rows (N, L) and others of the whole batch, for what compares
    images.

    They are as given, but for float32 (float64 for float64). Inside
    :func:`part_of_batch` they are those of all parts, in one order on every process, and a loss of
    them that every part computes has the whole batch's value and gradient.
    """
    part = part or enclosing_part()
    if part is None:
        compute = compute_dtype(rows[0])
        return tuple(each.to(compute) for each in rows)
    joined = whole_rows(part, joined_rows(*rows))
    return torch.split(joined, [each.shape[1] for each in rows], dim=1)


def joined_rows(*rows: Tensor) -> Tensor:
    """Rows (N, ...) side by side as :func:`part_of_batch` takes them, float32 or float64."""
    compute = compute_dtype(rows[0])
    return torch.cat([each.to(compute) for each in rows], dim=1)


def batch_share(rows: int, *, part: Part | None = None) -> float:
    """The factor of a loss that every part of a batch computes of the whole, ``rows`` in this one.

    With it the gradients of all parts add up to the whole batch's once.
    """
    part = part or enclosing_part()
    return rows * part.processes / part.images if part else 1.0


def batch_places(rows: int, *, part: Part | None = None) -> tuple[int, int]:
    """Which row of the whole batch the first of ``rows`` is, and how many images the batch has."""
    part = part or enclosing_part()
    return (part.first, part.images) if part else (0, rows)


def batch_mean(values: Tensor, *, part: Part | None = None) -> Tensor:
    """Mean of one number an image, (N,) -> (), with the whole batch's gradient.

    Inside :func:`part_of_batch` the value is the mean over the parts that are computed at once, on
    all processes; parts that follow one another have each their own.
    """
    part = part or enclosing_part()
    if not part:
        return values.mean()
    share = values.sum() / part.images
    counted = torch.stack([values.detach().sum(), values.new_full((), len(values))])
    total, number = add_up(counted, part.processes, part.group).unbind()
    value = total / number.clamp_min(1)
    return _InPlaceOf.apply(share, value, part.processes)  # type: ignore[no-any-return]


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


def whole_rows(part: Part, rows: Tensor) -> Tensor:
    """Rows of a part (n, columns) -> those of the whole batch (images, columns), on every process.

    The gradient is by the part's own rows, times the processes.

    Raises:
        ArgumentError: the parts follow one another and do not know the others' rows.
    """
    if part.rows is not None:
        index = torch.arange(part.first, part.first + len(rows), device=rows.device)
        return _AmongOthers.apply(rows, part.rows, index, part.processes)  # type: ignore[no-any-return]
    if part.sums is not None:
        raise ArgumentError(
            "this objective compares the images of a whole batch: parts of it that follow one"
            " another need part_of_batch(..., rows=, first=) beside sums="
        )
    counts = torch.zeros(part.processes, dtype=torch.int64, device=rows.device)
    rank = dist.get_rank(part.group) if part.processes > 1 else 0
    counts[rank] = len(rows)
    before = add_up(counts, part.processes, part.group)[:rank].sum()
    index = before + torch.arange(len(rows), device=rows.device)
    others = rows.new_zeros(part.images, rows.shape[1]).index_copy_(0, index, rows.detach())
    others = add_up(others, part.processes, part.group)
    return _AmongOthers.apply(rows, others, index, part.processes)  # type: ignore[no-any-return]


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


class _AmongOthers(torch.autograd.Function):
    """``rows`` in their places ``index`` among ``others``, with ``factor`` times the gradient."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, others: Tensor, index: Tensor, factor: int) -> Tensor:
        ctx.factor = factor
        ctx.save_for_backward(index)
        return others.index_copy(0, index, rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (index,) = ctx.saved_tensors
        return grad.index_select(0, index) * ctx.factor, None, None, None
