"""The numbers of a training step as one row of a buffer on the device: one kernel.

    rows[next] = [f_0 v_0 | f_1 v_1 | ...],   next = (next + 1) mod R,   counts += 1

v_i are numbers and vectors at addresses of their own, f_i numbers of the host. One warp does it
all: a row is some dozens of numbers, and every lane has read `next` before any writes it.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

SLOTS = 12  # addresses that the kernel takes
_BLOCK = 64


@triton.jit
def _write(row_ptr, at, value_ptr, size, factor, BLOCK: tl.constexpr):
    """Write a vector into the row; return where the next one begins."""
    for first in range(0, size, BLOCK):
        i = first + tl.arange(0, BLOCK)
        value = tl.load(value_ptr + i, mask=i < size, other=0).to(tl.float32) * factor
        tl.store(row_ptr + at + i, value, mask=i < size)
    return at + size


@triton.jit(
    do_not_specialize=[
        "size0", "size1", "size2", "size3", "size4", "size5", "size6", "size7", "size8", "size9",
        "size10", "size11",
    ]
)  # fmt: skip
def record_row_kernel(
    rows_ptr,  # (R, columns) float32 out
    next_ptr,  # () int64 in and out: the row to write
    counts_ptr,  # (COUNTS,) int64 in and out, or unused
    most_rows, columns,
    value0_ptr, size0, factor0,  # (size0,)
    value1_ptr, size1, factor1,
    value2_ptr, size2, factor2,
    value3_ptr, size3, factor3,
    value4_ptr, size4, factor4,
    value5_ptr, size5, factor5,
    value6_ptr, size6, factor6,
    value7_ptr, size7, factor7,
    value8_ptr, size8, factor8,
    value9_ptr, size9, factor9,
    value10_ptr, size10, factor10,
    value11_ptr, size11, factor11,
    COUNTS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    following = tl.load(next_ptr)
    row_ptr = rows_ptr + following * columns
    at = _write(row_ptr, 0, value0_ptr, size0, factor0, BLOCK)
    at = _write(row_ptr, at, value1_ptr, size1, factor1, BLOCK)
    at = _write(row_ptr, at, value2_ptr, size2, factor2, BLOCK)
    at = _write(row_ptr, at, value3_ptr, size3, factor3, BLOCK)
    at = _write(row_ptr, at, value4_ptr, size4, factor4, BLOCK)
    at = _write(row_ptr, at, value5_ptr, size5, factor5, BLOCK)
    at = _write(row_ptr, at, value6_ptr, size6, factor6, BLOCK)
    at = _write(row_ptr, at, value7_ptr, size7, factor7, BLOCK)
    at = _write(row_ptr, at, value8_ptr, size8, factor8, BLOCK)
    at = _write(row_ptr, at, value9_ptr, size9, factor9, BLOCK)
    at = _write(row_ptr, at, value10_ptr, size10, factor10, BLOCK)
    at = _write(row_ptr, at, value11_ptr, size11, factor11, BLOCK)
    for count in tl.static_range(COUNTS):
        tl.store(counts_ptr + count, tl.load(counts_ptr + count) + 1)
    tl.store(next_ptr, (following + 1) % most_rows)


def record_row(
    rows: Tensor,
    following: Tensor,
    values: Sequence[Tensor],
    factors: Sequence[float],
    counts: Tensor | None,
) -> None:
    """Write ``values`` times ``factors`` into the row that ``following`` (1,) int64 names.

    ``rows`` is (R, columns) float32 and contiguous. Values are of any floating dtype and any shape,
    (columns,) elements in all; beyond the twelfth they are joined first. ``following`` and
    ``counts``, int64 or None, go up by 1.
    """
    vectors = [value.contiguous() for value in values]
    if len(vectors) > SLOTS:
        rest = zip(vectors[SLOTS - 1 :], factors[SLOTS - 1 :], strict=True)
        joined = torch.cat([value.reshape(-1).to(rows.dtype) * factor for value, factor in rest])
        vectors, factors = [*vectors[: SLOTS - 1], joined], [*factors[: SLOTS - 1], 1.0]
    slots: list[Tensor | int | float] = []
    for vector, factor in zip(vectors, factors, strict=True):
        slots += [vector, vector.numel(), float(factor)]
    slots += [rows, 0, 1.0] * (SLOTS - len(vectors))
    with torch.cuda.device_of(rows):
        record_row_kernel[(1,)](
            rows, following, following if counts is None else counts,
            rows.shape[0], rows.shape[1], *slots,
            COUNTS=0 if counts is None else counts.numel(), BLOCK=_BLOCK, num_warps=1,
        )  # fmt: skip
