"""The numbers of a training step, written as one row of a buffer on the device."""

from collections.abc import Sequence

from torch import Tensor

from fastjvae.errors import ArgumentError
from fastjvae.functional.backends import reference
from fastjvae.functional.backends.choice import use_triton
from fastjvae.functional.checks import check_device


def record_row(
    rows: Tensor,
    following: Tensor,
    values: Sequence[Tensor],
    *,
    factors: Sequence[float] | None = None,
    counts: Tensor | None = None,
) -> None:
    """Write numbers and vectors side by side into a row, and count. Does not wait for the device.

    It changes ``rows``, ``following`` and ``counts`` in place, so that a captured CUDA graph writes
    the next row at every replay. Nothing of it is differentiated.

    Args:
        rows: (R, columns) floats, contiguous: a ring of rows.
        following: (1,) int64, the row to write; afterwards the one after it, 0 after the last.
        values: floats of any shapes, ``columns`` elements in all.
        factors: of each value, by default 1.
        counts: int64 of any size, each of which goes up by 1; or None.

    Raises:
        ArgumentError: another number of elements than columns, or of factors than values; a tensor
            on another device than the rows.
    """
    factors = [1.0] * len(values) if factors is None else factors
    elements = sum(value.numel() for value in values)
    if rows.dim() != 2 or rows.shape[1] != elements or len(factors) != len(values):
        raise ArgumentError(
            f"rows of shape {tuple(rows.shape)} take as many numbers as they have columns, got"
            f" {elements} in {len(values)} values with {len(factors)} factors"
        )
    for name, tensor in (("the next row", following), ("the counts", counts)):
        if tensor is not None:
            check_device(name, tensor, rows)
    for value in values:
        check_device("a value", value, rows)
    detached = [value.detach() for value in values]
    if use_triton(rows):
        from fastjvae.functional.backends.triton.without_gradient import record_row as kernel

        kernel(rows, following, detached, factors, counts)
    else:
        reference.record_row(rows, following, detached, factors, counts)
