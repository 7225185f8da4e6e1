"""Second stage of the reductions: partial sums of the programs added up in their order.

`column_sums_kernel` turns (programs, columns) partials into means over the batch.
`joint_objective_kernel` does that and everything between the sums and the loss in the same launch:
capacities from the step, the penalties, the reduced reconstruction, and the slopes by which the
backward kernel multiplies.
"""

import triton
import triton.language as tl


@triton.jit
def column_sums_kernel(
    partials_ptr,  # (programs, columns)
    out_ptr,  # (columns,) float32
    programs, columns, scale,
    BLOCK: tl.constexpr,
):  # fmt: skip
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = at < columns
    total = tl.zeros((BLOCK,), tl.float32)
    for program in range(0, programs):
        total += tl.load(partials_ptr + program * columns + at, mask=mask, other=0.0)
    tl.store(out_ptr + at, total * scale, mask=mask)
