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
a fixed order. No atomics: results repeat bitwise. Every part has its own pointer and strides, so
the same two kernels serve the joint row and each operation alone.
"""

import triton
import triton.language as tl

from fastjvae_kernels.math import (
    expm1_minus,
    gumbel,
    log_softmax,
    normal_tile,
    softmax,
    uniform_tile,
)


@triton.jit
def latent_forward_kernel(
    mean_ptr, mean_rs, mean_cs,  # (N, Z) with row and column stride
    logvar_ptr, logvar_rs, logvar_cs,  # (N, Z)
    logits_ptr, logits_rs, logits_cs,  # (N, C)
    variables_ptr,  # (D, 2) int32: first column within the categorical part, size
    seed_ptr,  # (1,) int64, or unused where the noise is explicit
    normal_ptr, normal_rs, normal_cs,  # (N, Z)
    uniform_ptr, uniform_rs, uniform_cs,  # (N, C)
    tau_ptr,  # () float32, or unused
    tau,
    z_ptr, z_rs, z_cs,  # (N, Z) out
    y_ptr, y_rs, y_cs,  # (N, C) out
    partials_ptr,  # (programs, Z + D + C) float32 out: sums over the program's rows
    N, Z, D, C, rows_per_program,
    SAMPLE: tl.constexpr, DIVERGE: tl.constexpr, SEEDED: tl.constexpr, TAU_ON_DEVICE: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_Z: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    begin = program.to(tl.int64) * rows_per_program
    end = tl.minimum(begin + rows_per_program, N)
    partials_ptr += program.to(tl.int64) * (Z + D + C)
    if SAMPLE:
        if SEEDED:
            seed = tl.load(seed_ptr)
        if TAU_ON_DEVICE:
            tau = tl.load(tau_ptr).to(tl.float32)

    for first in range(0, Z, BLOCK_Z):
        columns = first + tl.arange(0, BLOCK_Z)
        kl_sum = tl.zeros((BLOCK_Z,), tl.float32)
        for row in range(begin, end, BLOCK_N):
            rows = row + tl.arange(0, BLOCK_N).to(tl.int64)
            mask = (rows < end)[:, None] & (columns < Z)[None, :]
            r, c = rows[:, None], columns[None, :].to(tl.int64)
            mean = tl.load(mean_ptr + r * mean_rs + c * mean_cs, mask=mask, other=0.0).to(
                tl.float32
            )
            logvar = tl.load(logvar_ptr + r * logvar_rs + c * logvar_cs, mask=mask, other=0.0).to(
                tl.float32
            )
            if SAMPLE:
                if SEEDED:
                    normal = normal_tile(seed, rows, first, BLOCK_Z)
                else:
                    normal = tl.load(
                        normal_ptr + r * normal_rs + c * normal_cs, mask=mask, other=0.0
                    ).to(tl.float32)
                # logvar - logvar: exp would hide a variance of -inf.
                z = mean + (tl.exp(0.5 * logvar) + (logvar - logvar)) * normal
                tl.store(z_ptr + r * z_rs + c * z_cs, z.to(z_ptr.dtype.element_ty), mask=mask)
            if DIVERGE:
                # Masked elements have mean 0 and logvar 0, whose divergence is 0.
                kl_sum += tl.sum(0.5 * (mean * mean + expm1_minus(logvar)), axis=0)
        if DIVERGE:
            tl.store(partials_ptr + columns, kl_sum, mask=columns < Z)

    for variable in range(0, D):
        offset = tl.load(variables_ptr + 2 * variable)
        size = tl.load(variables_ptr + 2 * variable + 1)
        first = offset // 4 * 4  # noise comes in blocks of four columns
        columns = first + tl.arange(0, BLOCK_K)
        inside = (columns >= offset) & (columns < offset + size)
        log_size = tl.log(size.to(tl.float32))
        kl_total = tl.full((), 0.0, tl.float32)
        p_sum = tl.zeros((BLOCK_K,), tl.float32)
        for row in range(begin, end, BLOCK_N):
            rows = row + tl.arange(0, BLOCK_N).to(tl.int64)
            present = rows < end
            mask = present[:, None] & inside[None, :]
            r, c = rows[:, None], columns[None, :].to(tl.int64)
            logits = tl.load(logits_ptr + r * logits_rs + c * logits_cs, mask=mask, other=0.0).to(
                tl.float32
            )
            log_p = log_softmax(logits, inside[None, :])
            if SAMPLE:
                if SEEDED:
                    uniform = uniform_tile(seed, rows, first, BLOCK_K)
                else:
                    uniform = tl.load(
                        uniform_ptr + r * uniform_rs + c * uniform_cs, mask=mask, other=0.5
                    ).to(tl.float32)
                y = softmax((log_p + gumbel(uniform)) / tau, inside[None, :]) + (logits - logits)
                tl.store(y_ptr + r * y_rs + c * y_cs, y.to(y_ptr.dtype.element_ty), mask=mask)
            if DIVERGE:
                p = tl.exp(log_p)
                neg_entropy = tl.sum(tl.where(inside[None, :], p * log_p, 0.0), axis=1)
                kl_total += tl.sum(tl.where(present, log_size + neg_entropy, 0.0), axis=0)
                p_sum += tl.sum(tl.where(present[:, None], p, 0.0), axis=0)
        if DIVERGE:
            tl.store(partials_ptr + Z + variable, kl_total)
            tl.store(partials_ptr + Z + D + columns, p_sum, mask=inside)


@triton.jit
def latent_backward_kernel(
    mean_ptr, mean_rs, mean_cs,  # (N, Z)
    logvar_ptr, logvar_rs, logvar_cs,  # (N, Z)
    logits_ptr, logits_rs, logits_cs,  # (N, C)
    variables_ptr,  # (D, 2) int32
    seed_ptr,  # (1,) int64, or unused
    normal_ptr, normal_rs, normal_cs,  # (N, Z), or unused
    tau_ptr,  # () float32, or unused
    tau,
    y_ptr, y_rs, y_cs,  # (N, C) the sample
    grad_z_ptr, grad_z_rs, grad_z_cs,  # (N, Z) upstream, any strides
    grad_y_ptr, grad_y_rs, grad_y_cs,  # (N, C) upstream, any strides
    grad_sums_ptr,  # (Z + D + C,) float32 upstream of the sums over all rows
    grad_sums_stride,
    scale,  # multiplies grad_sums
    dmean_ptr, dmean_rs, dmean_cs,  # (N, Z) out
    dlogvar_ptr, dlogvar_rs, dlogvar_cs,  # (N, Z) out
    dlogits_ptr, dlogits_rs, dlogits_cs,  # (N, C) out
    N, Z, D, C, rows_per_program,
    SAMPLE: tl.constexpr, DIVERGE: tl.constexpr, SEEDED: tl.constexpr, TAU_ON_DEVICE: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_Z: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0)
    begin = program.to(tl.int64) * rows_per_program
    end = tl.minimum(begin + rows_per_program, N)
    if SAMPLE:
        if SEEDED:
            seed = tl.load(seed_ptr)
        if TAU_ON_DEVICE:
            tau = tl.load(tau_ptr).to(tl.float32)

    for first in range(0, Z, BLOCK_Z):
        columns = first + tl.arange(0, BLOCK_Z)
        if DIVERGE:
            k = scale * tl.load(
                grad_sums_ptr + columns * grad_sums_stride, mask=columns < Z, other=0.0
            )
        for row in range(begin, end, BLOCK_N):
            rows = row + tl.arange(0, BLOCK_N).to(tl.int64)
            mask = (rows < end)[:, None] & (columns < Z)[None, :]
            r, c = rows[:, None], columns[None, :].to(tl.int64)
            logvar = tl.load(logvar_ptr + r * logvar_rs + c * logvar_cs, mask=mask, other=0.0).to(
                tl.float32
            )
            dmean = tl.zeros((BLOCK_N, BLOCK_Z), tl.float32)
            dlogvar = tl.zeros((BLOCK_N, BLOCK_Z), tl.float32)
            if SAMPLE:
                if SEEDED:
                    normal = normal_tile(seed, rows, first, BLOCK_Z)
                else:
                    normal = tl.load(
                        normal_ptr + r * normal_rs + c * normal_cs, mask=mask, other=0.0
                    ).to(tl.float32)
                dmean = tl.load(
                    grad_z_ptr + r * grad_z_rs + c * grad_z_cs, mask=mask, other=0.0
                ).to(tl.float32)
                dlogvar = dmean * (0.5 * tl.exp(0.5 * logvar) * normal)
            if DIVERGE:
                mean = tl.load(mean_ptr + r * mean_rs + c * mean_cs, mask=mask, other=0.0).to(
                    tl.float32
                )
                dmean += k[None, :] * mean
                dlogvar += k[None, :] * (0.5 * (expm1_minus(logvar) + logvar))
            tl.store(
                dmean_ptr + r * dmean_rs + c * dmean_cs,
                dmean.to(dmean_ptr.dtype.element_ty), mask=mask,
            )  # fmt: skip
            tl.store(
                dlogvar_ptr + r * dlogvar_rs + c * dlogvar_cs,
                dlogvar.to(dlogvar_ptr.dtype.element_ty), mask=mask,
            )  # fmt: skip

    for variable in range(0, D):
        offset = tl.load(variables_ptr + 2 * variable)
        size = tl.load(variables_ptr + 2 * variable + 1)
        first = offset // 4 * 4  # the tiles of the forward pass
        columns = first + tl.arange(0, BLOCK_K)
        inside = (columns >= offset) & (columns < offset + size)
        if DIVERGE:
            k = scale * tl.load(grad_sums_ptr + (Z + variable) * grad_sums_stride)
            m = scale * tl.load(
                grad_sums_ptr + (Z + D + columns) * grad_sums_stride, mask=inside, other=0.0
            )
        for row in range(begin, end, BLOCK_N):
            rows = row + tl.arange(0, BLOCK_N).to(tl.int64)
            mask = (rows < end)[:, None] & inside[None, :]
            r, c = rows[:, None], columns[None, :].to(tl.int64)
            dlogits = tl.zeros((BLOCK_N, BLOCK_K), tl.float32)
            if SAMPLE:
                y = tl.load(y_ptr + r * y_rs + c * y_cs, mask=mask, other=0.0).to(tl.float32)
                grad = tl.load(grad_y_ptr + r * grad_y_rs + c * grad_y_cs, mask=mask, other=0.0).to(
                    tl.float32
                )
                dlogits = y * (grad - tl.sum(grad * y, axis=1)[:, None]) / tau
            if DIVERGE:
                logits = tl.load(
                    logits_ptr + r * logits_rs + c * logits_cs, mask=mask, other=0.0
                ).to(tl.float32)
                log_p = log_softmax(logits, inside[None, :])
                p = tl.exp(log_p)
                slope = tl.where(inside[None, :], k * log_p, 0.0) + m[None, :]
                dlogits += p * (slope - tl.sum(slope * p, axis=1)[:, None])
            tl.store(
                dlogits_ptr + r * dlogits_rs + c * dlogits_cs,
                dlogits.to(dlogits_ptr.dtype.element_ty), mask=mask,
            )  # fmt: skip
