"""Bias gradients of a whole network from their partial sums: one kernel.

Each layer's backward kernel (`bias_relu.py`) writes rows of partial sums into columns of its own,
and into the first row how many there are. Rows are added up in their order, so results repeat
bitwise. The last columns may be sums over a matrix itself: the gradient of a linear layer without a
ReLU behind it, whose bias needs no pass of its own then.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastjvae_kernels.blocks import power_of_2, warps
from fastjvae_kernels.column_sums import THREADS, TILE, sum_of_columns

# More rows than these of a matrix are too many for one program to read.
MOST_ROWS = 2048
# Columns of a program, which reads 32 rows of them at a time: a network has hundreds of them.
_COLUMNS = 64


@triton.jit(do_not_specialize=["last_rows"])
def bias_gradients_kernel(
    partials_ptr,  # (1 + rows, columns) float32
    last_ptr,  # (last_rows, last_columns)
    out_ptr,  # (columns + last_columns,) float32
    columns, last_rows, last_stride, last_columns,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    of_partials = tl.cdiv(columns, BLOCK)
    block = tl.program_id(0)
    if block < of_partials:
        at = block * BLOCK + tl.arange(0, BLOCK)
        inside = at < columns
        rows = tl.load(partials_ptr + at, mask=inside, other=0.0).to(tl.int32)
        sums = tl.zeros((ROWS, BLOCK), tl.float32)
        for first in range(0, tl.max(rows, axis=0), ROWS):
            row = first + tl.arange(0, ROWS)[:, None]
            where = (1 + row).to(tl.int64) * columns + at[None, :]
            sums += tl.load(partials_ptr + where, mask=row < rows[None, :], other=0.0)
        tl.store(out_ptr + at, tl.sum(sums, axis=0), mask=inside)
    else:
        at = (block - of_partials) * BLOCK + tl.arange(0, BLOCK)
        inside = at < last_columns
        total = sum_of_columns(last_ptr, last_rows, last_stride, at, inside, ROWS)
        tl.store(out_ptr + columns + at, total, mask=inside)


def bias_gradients(partials: Tensor, last: Tensor | None) -> Tensor:
    """(1 + rows, columns) of partial sums and (N, last columns) -> (columns + last columns,).

    ``partials`` is contiguous float32; ``last`` has its columns side by side, in any dtype, and
    at most ``MOST_ROWS`` rows.
    """
    columns = partials.shape[1]
    rows, more = (0, 0) if last is None else last.shape
    out = partials.new_empty(columns + more)
    block = min(_COLUMNS, power_of_2(max(columns, more, 1)))
    with torch.cuda.device_of(partials):
        bias_gradients_kernel[(triton.cdiv(columns, block) + triton.cdiv(more, block),)](
            partials, partials if last is None else last, out,
            columns, rows, 1 if last is None else last.stride(0), more,
            ROWS=TILE // block, BLOCK=block,
            num_warps=warps(THREADS, partials.device),
        )  # fmt: skip
    return out
