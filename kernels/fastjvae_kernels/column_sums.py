"""Partial sums of the programs, added up in their order: (programs, columns) -> (columns,).

The second stage of a reduction. Its order is fixed, so results repeat bitwise.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastjvae_kernels.blocks import power_of_2, warps

# One program reads all partials: 256 threads with 8 elements a thread, two 128-bit loads in flight.
THREADS, TILE = 256, 2048


@triton.jit
def sum_of_columns(partials_ptr, programs, stride, columns, inside, ROWS: tl.constexpr):
    """Sum over the programs of the given columns: ROWS interleaved sums, then their sum."""
    tile = tl.zeros((ROWS, columns.shape[0]), tl.float32)
    for first in range(0, programs, ROWS):
        program = (first + tl.arange(0, ROWS)).to(tl.int64)
        mask = (program < programs)[:, None] & inside[None, :]
        at = program[:, None] * stride + columns[None, :]
        tile += tl.load(partials_ptr + at, mask=mask, other=0.0).to(tl.float32)
    return tl.sum(tile, axis=0)


@triton.jit(do_not_specialize=["programs"])
def column_sums_kernel(
    partials_ptr,  # (programs, columns)
    out_ptr,  # (columns,) float32
    programs, columns, scale,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < columns
    total = sum_of_columns(partials_ptr, programs, columns, at, inside, ROWS)
    tl.store(out_ptr + at, total * scale, mask=inside)


def column_sums(partials: Tensor, scale: float) -> Tensor:
    """(programs, columns) -> (columns,) float32: the sum over programs, in order, times scale."""
    programs, columns = partials.shape
    out = partials.new_empty(columns)
    if columns:
        block = columns_at_once(columns)
        with torch.cuda.device_of(partials):
            column_sums_kernel[(triton.cdiv(columns, block),)](
                partials, out, programs, columns, float(scale),
                ROWS=TILE // block, BLOCK=block,
                num_warps=warps(THREADS, partials.device),
            )  # fmt: skip
    return out


def columns_at_once(columns: int) -> int:
    """Columns that one program adds up at a time."""
    return min(256, max(16, power_of_2(columns)))
