"""Second stage of the reductions: partial sums of the programs added up in their order.

`column_sums_kernel` turns (programs, columns) partials into means over the batch.
`joint_objective_kernel` does that and everything between the sums and the loss in the same launch
(paper eq. 8):

    loss = (reconstruction + gamma_z |KL_z - C_z(t)| + gamma_c |M - C_c(t)|) / pixels
    C(t) = lo + (hi - lo) clamp((t - start) / iters, 0, 1), at most `maximum`

with M = KL_c, or the part of it that is information, KL_c less sum (log K + sum m log m) over the
batch-mean probabilities m. Its report, which the backward pass reads on the device, is

    [reconstruction | C_z | C_c | s_z | s_c | KL per unit (Z) | KL per variable (D) | m (C)]

with s = gamma sign(KL - C) / pixels, the derivative of the loss by a divergence; 0 where both are
equal. That by m is -s_c (log m + 1) where M is information and 0 where it is KL_c.

One program does it all: the partials of a batch are a few thousand numbers, and the sum over the
columns, which the loss needs, then stays inside it.
"""

import triton
import triton.language as tl

from fastjvae_kernels.math import device_number

# Scalars of the report before its vectors.
REPORT_HEAD = tl.constexpr(5)


@triton.jit
def _column_sums(partials_ptr, programs, stride, columns, inside, ROWS: tl.constexpr):
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
    total = _column_sums(partials_ptr, programs, columns, at, inside, ROWS)
    tl.store(out_ptr + at, total * scale, mask=inside)


@triton.jit
def _capacity(t, lo, hi, start, iters, maximum):
    progress = (t - start).to(tl.float32) / iters
    progress = tl.minimum(tl.maximum(progress, 0.0), 1.0)
    return tl.minimum(lo + (hi - lo) * progress, maximum)


@triton.jit
def _sign(x):
    """-1, 0 or 1; NaN stays NaN."""
    return tl.where(x > 0, 1.0, tl.where(x < 0, -1.0, x))


@triton.jit(
    do_not_specialize=[
        "step", "cont_start", "disc_start", "programs", "reconstruction_programs"
    ]
)  # fmt: skip
def joint_objective_kernel(
    partials_ptr,  # (programs, Z + D + C) of the latent kernel
    reconstruction_ptr,  # (reconstruction_programs,) of the reconstruction kernel
    step_ptr,  # () int64, or unused
    step,
    cont_gamma_ptr,  # () float, or unused
    cont_lo, cont_hi, cont_start, cont_iters, cont_maximum, cont_gamma,
    disc_gamma_ptr,  # () float, or unused
    disc_lo, disc_hi, disc_start, disc_iters, disc_maximum, disc_gamma,
    loss_ptr,  # () float32 out
    report_ptr,  # (5 + Z + D + C,) float32 out
    programs, reconstruction_programs, Z, D, C,
    scale, reconstruction_scale,  # what the two sums are multiplied with to give batch means
    log_sizes,  # sum of log K over the variables
    pixels,
    STEP_ON_DEVICE: tl.constexpr,
    CONT_GAMMA_ON_DEVICE: tl.constexpr, DISC_GAMMA_ON_DEVICE: tl.constexpr,
    INFORMATION: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    cont_kl = tl.zeros((BLOCK,), tl.float32)
    disc_kl = tl.zeros((BLOCK,), tl.float32)
    m_log_m = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, Z + D + C, BLOCK):
        columns = first + tl.arange(0, BLOCK)
        inside = columns < Z + D + C
        mean = scale * _column_sums(partials_ptr, programs, Z + D + C, columns, inside, ROWS)
        tl.store(report_ptr + REPORT_HEAD + columns, mean, mask=inside)
        cont_kl += tl.where(columns < Z, mean, 0.0)
        disc_kl += tl.where((columns >= Z) & (columns < Z + D), mean, 0.0)
        if INFORMATION:
            m = tl.where(inside & (columns >= Z + D), mean, 0.0)
            m_log_m += tl.where(m > 0, m * tl.log(m), m)  # 0 log 0 = 0; NaN stays NaN

    sums = tl.zeros((ROWS * BLOCK,), tl.float32)
    for first in range(0, reconstruction_programs, ROWS * BLOCK):
        at = first + tl.arange(0, ROWS * BLOCK)
        sums += tl.load(reconstruction_ptr + at, mask=at < reconstruction_programs, other=0.0)
    reconstruction = reconstruction_scale * tl.sum(sums, axis=0)

    if STEP_ON_DEVICE:
        step = tl.load(step_ptr).to(tl.int64)
    cont_gamma = device_number(cont_gamma_ptr, cont_gamma, CONT_GAMMA_ON_DEVICE)
    disc_gamma = device_number(disc_gamma_ptr, disc_gamma, DISC_GAMMA_ON_DEVICE)
    cont_capacity = _capacity(step, cont_lo, cont_hi, cont_start, cont_iters, cont_maximum)
    disc_capacity = _capacity(step, disc_lo, disc_hi, disc_start, disc_iters, disc_maximum)
    cont_excess = tl.sum(cont_kl, axis=0) - cont_capacity
    disc_measure = tl.sum(disc_kl, axis=0)
    if INFORMATION:
        disc_measure -= log_sizes + tl.sum(m_log_m, axis=0)
    disc_excess = disc_measure - disc_capacity
    penalty = cont_gamma * tl.abs(cont_excess) + disc_gamma * tl.abs(disc_excess)
    tl.store(loss_ptr, (reconstruction + penalty) / pixels)
    tl.store(report_ptr + 0, reconstruction)
    tl.store(report_ptr + 1, cont_capacity)
    tl.store(report_ptr + 2, disc_capacity)
    tl.store(report_ptr + 3, cont_gamma * _sign(cont_excess) / pixels)
    tl.store(report_ptr + 4, disc_gamma * _sign(disc_excess) / pixels)
