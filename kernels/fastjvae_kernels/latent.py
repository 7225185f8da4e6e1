"""Sampling and divergences of the latent variables: one kernel forward, one backward.

A row of N holds means and log variances of Z Gaussian units and the logits of D categorical
variables of sizes K_1..K_D, sum K = C. With noise n ~ N(0, 1) and g ~ Gumbel(0, 1):

    z = mean + exp(logvar / 2) n                    dmean = gz,  dlogvar = gz exp(logvar / 2) n / 2
    y = softmax((log_softmax(l) + g) / tau)         dl = y (gy - sum gy y) / tau
    KL_z = (mean^2 + exp(logvar) - 1 - logvar) / 2  dmean = k mean, dlogvar = k (exp(logvar) - 1)/2
    KL_c = log K + sum p log p, p = softmax(l)      dl = k p (log p - sum p log p)
    p itself, for its batch mean                    dl = p (m - sum m p)

The gradient of y needs y alone, also through the log_softmax: a shift of all logits changes
nothing, so the sum of dl is 0. n is drawn again in the backward pass from its seed and place.

Each program owns a range of rows and walks over column tiles, rows inside columns, so that sums
over its rows stay in registers; they go to one row of `partials`, which a second kernel adds up in
a fixed order. No atomics: results repeat bitwise. Every matrix has its own pointer and strides, so
the same two kernels serve the joint row and each operation alone.

Pointers are moved to the program's first row in int64; offsets from there are int32, or int64 with
WIDE, where the launcher finds that a program's rows of a matrix may reach 2^31 elements.
ALIGNED says that rows, columns of every matrix, and starts and sizes of the variables are multiples
of 4 elements, so that a thread moves 4 of them at once. A variable's tile begins at the multiple of
4 below its first column, as the noise does; EXACT lets it begin at the column itself, where the
former would double a large tile, and pays for it by drawing each number's whole block.
"""

import triton
import triton.language as tl

from fastjvae_kernels.math import (
    device_number,
    expm1_minus,
    gumbel,
    log_softmax,
    normal_tile,
    softmax,
    uniform_at,
    uniform_tile,
)


@triton.jit
def _multiple_of_4(value, ALIGNED: tl.constexpr):
    return value // 4 * 4 if ALIGNED else value


@triton.jit
def _rows_of(program, rows_per_program, N):
    """First row of a program, int64, and how many it has."""
    begin = program.to(tl.int64) * rows_per_program
    return begin, tl.minimum(rows_per_program, N - begin).to(tl.int32)


@triton.jit
def _span(first, SIZE: tl.constexpr, WIDE: tl.constexpr):
    span = first + tl.arange(0, SIZE)
    return span.to(tl.int64) if WIDE else span


@triton.jit
def _columns_of(variables_ptr, variable, ALIGNED: tl.constexpr):
    """First column within the categorical part and size of a variable."""
    offset = tl.load(variables_ptr + 2 * variable)
    size = tl.load(variables_ptr + 2 * variable + 1)
    return _multiple_of_4(offset, ALIGNED), _multiple_of_4(size, ALIGNED)


@triton.jit
def _load(ptr, row_stride, column_stride, rows, columns, mask):
    """(R, C) float32 tile of a matrix that begins at the program's first row."""
    at = rows[:, None] * row_stride + columns[None, :] * column_stride
    return tl.load(ptr + at, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _store(ptr, row_stride, column_stride, rows, columns, mask, tile):
    at = rows[:, None] * row_stride + columns[None, :] * column_stride
    tl.store(ptr + at, tile.to(ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["N", "rows_per_program"])
def latent_forward_kernel(
    mean_ptr, mean_rs, mean_cs,  # (N, Z) with row and column stride
    logvar_ptr, logvar_rs, logvar_cs,  # (N, Z)
    logits_ptr, logits_rs, logits_cs,  # (N, C)
    variables_ptr,  # (D, 2) int32: first column within the categorical part, size
    seed_ptr,  # (1,) int64, or unused where the noise is explicit
    normal_ptr, normal_rs, normal_cs,  # (N, Z)
    uniform_ptr, uniform_rs, uniform_cs,  # (N, C)
    tau_ptr,  # () float, or unused
    tau,
    z_ptr, z_rs, z_cs,  # (N, Z) out
    y_ptr, y_rs, y_cs,  # (N, C) out
    partials_ptr,  # (programs, Z + D + C) float32 out: sums over the program's rows
    N, Z, D, C, rows_per_program,
    SAMPLE: tl.constexpr, DIVERGE: tl.constexpr, SEEDED: tl.constexpr, TAU_ON_DEVICE: tl.constexpr,
    ALIGNED: tl.constexpr, WIDE: tl.constexpr, EXACT: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_Z: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    begin, count = _rows_of(program, rows_per_program, N)
    partials_ptr += program.to(tl.int64) * (Z + D + C)
    mean_rs, logvar_rs = _multiple_of_4(mean_rs, ALIGNED), _multiple_of_4(logvar_rs, ALIGNED)
    logits_rs = _multiple_of_4(logits_rs, ALIGNED)
    z_rs, y_rs = _multiple_of_4(z_rs, ALIGNED), _multiple_of_4(y_rs, ALIGNED)
    units = _multiple_of_4(Z, ALIGNED)
    tau = device_number(tau_ptr, tau, TAU_ON_DEVICE)
    if SEEDED:
        seed = tl.load(seed_ptr)

    mean_ptr += begin * mean_rs
    logvar_ptr += begin * logvar_rs
    normal_ptr += begin * normal_rs
    z_ptr += begin * z_rs
    for first in range(0, units, BLOCK_Z):
        columns = _span(first, BLOCK_Z, WIDE)
        inside = columns < units
        kl = tl.zeros((BLOCK_N, BLOCK_Z), tl.float32)
        for row in range(0, count, BLOCK_N):
            rows = _span(row, BLOCK_N, WIDE)
            mask = (rows < count)[:, None] & inside[None, :]
            mean = _load(mean_ptr, mean_rs, mean_cs, rows, columns, mask)
            logvar = _load(logvar_ptr, logvar_rs, logvar_cs, rows, columns, mask)
            if SAMPLE:
                if SEEDED:
                    normal = normal_tile(seed, begin + rows, first, BLOCK_Z)
                else:
                    normal = _load(normal_ptr, normal_rs, normal_cs, rows, columns, mask)
                # logvar - logvar: exp would hide a variance of -inf.
                z = mean + (tl.exp(0.5 * logvar) + (logvar - logvar)) * normal
                _store(z_ptr, z_rs, z_cs, rows, columns, mask, z)
            if DIVERGE:
                # Masked elements have mean 0 and logvar 0, whose divergence is 0.
                kl += 0.5 * (mean * mean + expm1_minus(logvar))
        if DIVERGE:
            tl.store(partials_ptr + columns, tl.sum(kl, axis=0), mask=inside)

    logits_ptr += begin * logits_rs
    uniform_ptr += begin * uniform_rs
    y_ptr += begin * y_rs
    for variable in range(0, D):
        offset, size = _columns_of(variables_ptr, variable, ALIGNED)
        first = offset if EXACT else offset // 4 * 4  # noise comes in blocks of four columns
        columns = _span(first, BLOCK_K, WIDE)
        inside = (columns >= offset) & (columns < offset + size)
        log_size = tl.log(size.to(tl.float32))
        kl = tl.zeros((BLOCK_N,), tl.float32)
        p_sum = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
        for row in range(0, count, BLOCK_N):
            rows = _span(row, BLOCK_N, WIDE)
            present = rows < count
            mask = present[:, None] & inside[None, :]
            logits = _load(logits_ptr, logits_rs, logits_cs, rows, columns, mask)
            log_p = log_softmax(logits, inside[None, :])
            if DIVERGE:
                p = tl.exp(log_p)
                neg_entropy = tl.sum(tl.where(inside[None, :], p * log_p, 0.0), axis=1)
                kl += tl.where(present, log_size + neg_entropy, 0.0)
                p_sum += tl.where(present[:, None], p, 0.0)
            if SAMPLE:
                if SEEDED:
                    if EXACT:
                        uniform = uniform_at(seed, begin + rows, columns)
                    else:
                        uniform = uniform_tile(seed, begin + rows, first, BLOCK_K)
                else:
                    uniform = _load(uniform_ptr, uniform_rs, uniform_cs, rows, columns, mask)
                y = softmax((log_p + gumbel(uniform)) / tau, inside[None, :]) + (logits - logits)
                _store(y_ptr, y_rs, y_cs, rows, columns, mask, y)
        if DIVERGE:
            tl.store(partials_ptr + Z + variable, tl.sum(kl, axis=0))
            tl.store(partials_ptr + Z + D + columns, tl.sum(p_sum, axis=0), mask=inside)


@triton.jit(do_not_specialize=["N", "rows_per_program"])
def latent_backward_kernel(
    mean_ptr, mean_rs, mean_cs,  # (N, Z)
    logvar_ptr, logvar_rs, logvar_cs,  # (N, Z)
    logits_ptr, logits_rs, logits_cs,  # (N, C)
    variables_ptr,  # (D, 2) int32
    seed_ptr,  # (1,) int64, or unused
    normal_ptr, normal_rs, normal_cs,  # (N, Z), or unused
    tau_ptr,  # () float, or unused
    tau,
    y_ptr, y_rs, y_cs,  # (N, C) the sample
    grad_z_ptr, grad_z_rs, grad_z_cs,  # (N, Z) upstream, any strides
    grad_y_ptr, grad_y_rs, grad_y_cs,  # (N, C) upstream, any strides
    grad_sums_ptr, grad_sums_rs, grad_sums_cs,  # (programs, Z + D + C) upstream of the partials
    scale,  # multiplies grad_sums
    dmean_ptr, dmean_rs, dmean_cs,  # (N, Z) out
    dlogvar_ptr, dlogvar_rs, dlogvar_cs,  # (N, Z) out
    dlogits_ptr, dlogits_rs, dlogits_cs,  # (N, C) out
    N, Z, D, C, rows_per_program,
    SAMPLE: tl.constexpr, DIVERGE: tl.constexpr, SEEDED: tl.constexpr, TAU_ON_DEVICE: tl.constexpr,
    ALIGNED: tl.constexpr, WIDE: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_Z: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    begin, count = _rows_of(program, rows_per_program, N)
    grad_sums_ptr += program.to(tl.int64) * grad_sums_rs
    mean_rs, logvar_rs = _multiple_of_4(mean_rs, ALIGNED), _multiple_of_4(logvar_rs, ALIGNED)
    logits_rs, y_rs = _multiple_of_4(logits_rs, ALIGNED), _multiple_of_4(y_rs, ALIGNED)
    grad_z_rs, grad_y_rs = _multiple_of_4(grad_z_rs, ALIGNED), _multiple_of_4(grad_y_rs, ALIGNED)
    dmean_rs, dlogvar_rs = _multiple_of_4(dmean_rs, ALIGNED), _multiple_of_4(dlogvar_rs, ALIGNED)
    dlogits_rs = _multiple_of_4(dlogits_rs, ALIGNED)
    units = _multiple_of_4(Z, ALIGNED)
    tau = device_number(tau_ptr, tau, TAU_ON_DEVICE)
    if SEEDED:
        seed = tl.load(seed_ptr)

    mean_ptr += begin * mean_rs
    logvar_ptr += begin * logvar_rs
    normal_ptr += begin * normal_rs
    grad_z_ptr += begin * grad_z_rs
    dmean_ptr += begin * dmean_rs
    dlogvar_ptr += begin * dlogvar_rs
    for first in range(0, units, BLOCK_Z):
        columns = _span(first, BLOCK_Z, WIDE)
        inside = columns < units
        if DIVERGE:
            k = scale * tl.load(grad_sums_ptr + columns * grad_sums_cs, mask=inside, other=0.0)
        for row in range(0, count, BLOCK_N):
            rows = _span(row, BLOCK_N, WIDE)
            mask = (rows < count)[:, None] & inside[None, :]
            logvar = _load(logvar_ptr, logvar_rs, logvar_cs, rows, columns, mask)
            dmean = tl.zeros((BLOCK_N, BLOCK_Z), tl.float32)
            dlogvar = tl.zeros((BLOCK_N, BLOCK_Z), tl.float32)
            if SAMPLE:
                if SEEDED:
                    normal = normal_tile(seed, begin + rows, first, BLOCK_Z)
                else:
                    normal = _load(normal_ptr, normal_rs, normal_cs, rows, columns, mask)
                dmean = _load(grad_z_ptr, grad_z_rs, grad_z_cs, rows, columns, mask)
                dlogvar = dmean * (0.5 * tl.exp(0.5 * logvar) * normal)
            if DIVERGE:
                mean = _load(mean_ptr, mean_rs, mean_cs, rows, columns, mask)
                dmean += k[None, :] * mean
                dlogvar += k[None, :] * (0.5 * (expm1_minus(logvar) + logvar))
            _store(dmean_ptr, dmean_rs, dmean_cs, rows, columns, mask, dmean)
            _store(dlogvar_ptr, dlogvar_rs, dlogvar_cs, rows, columns, mask, dlogvar)

    logits_ptr += begin * logits_rs
    y_ptr += begin * y_rs
    grad_y_ptr += begin * grad_y_rs
    dlogits_ptr += begin * dlogits_rs
    for variable in range(0, D):
        offset, size = _columns_of(variables_ptr, variable, ALIGNED)
        columns = _span(offset, BLOCK_K, WIDE)
        inside = columns < offset + size
        if DIVERGE:
            k = scale * tl.load(grad_sums_ptr + (Z + variable) * grad_sums_cs)
            m = scale * tl.load(
                grad_sums_ptr + (Z + D + columns) * grad_sums_cs, mask=inside, other=0.0
            )
        for row in range(0, count, BLOCK_N):
            rows = _span(row, BLOCK_N, WIDE)
            mask = (rows < count)[:, None] & inside[None, :]
            dlogits = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
            if DIVERGE:
                logits = _load(logits_ptr, logits_rs, logits_cs, rows, columns, mask)
                log_p = log_softmax(logits, inside[None, :])
                p = tl.exp(log_p)
                slope = tl.where(inside[None, :], k * log_p, 0.0) + m[None, :]
                dlogits = p * (slope - tl.sum(slope * p, axis=1)[:, None])
            if SAMPLE:
                y = _load(y_ptr, y_rs, y_cs, rows, columns, mask)
                grad = _load(grad_y_ptr, grad_y_rs, grad_y_cs, rows, columns, mask)
                dlogits += y * (grad - tl.sum(grad * y, axis=1)[:, None]) / tau
            _store(dlogits_ptr, dlogits_rs, dlogits_cs, rows, columns, mask, dlogits)
