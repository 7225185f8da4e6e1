"""The loss of a JointVAE from partial sums: one kernel (paper eq. 8).

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

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from fastjvae_kernels.arguments import number
from fastjvae_kernels.blocks import warps
from fastjvae_kernels.column_sums import THREADS, TILE, columns_at_once, sum_of_columns
from fastjvae_kernels.math import capacity_at, device_number, sign

# Scalars of the report before its vectors, on the device and for the host.
REPORT_HEAD = tl.constexpr(5)
REPORT_SCALARS: int = REPORT_HEAD.value


@triton.jit(
    do_not_specialize=[
        "step", "cont_start", "disc_start", "programs", "reconstruction_programs"
    ]
)  # fmt: skip
def joint_loss_kernel(
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
        mean = scale * sum_of_columns(partials_ptr, programs, Z + D + C, columns, inside, ROWS)
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
    cont_capacity = capacity_at(step, cont_lo, cont_hi, cont_start, cont_iters, cont_maximum)
    disc_capacity = capacity_at(step, disc_lo, disc_hi, disc_start, disc_iters, disc_maximum)
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
    tl.store(report_ptr + 3, cont_gamma * sign(cont_excess) / pixels)
    tl.store(report_ptr + 4, disc_gamma * sign(disc_excess) / pixels)


class Ramp(NamedTuple):
    """Capacity ``lo + (hi - lo) clamp((t - start) / iters, 0, 1)``, at most ``maximum``, nats."""

    lo: float
    hi: float
    start: int
    iters: float
    maximum: float
    gamma: float | Tensor  # its weight

    def arguments(self, unused: Tensor) -> tuple[Tensor | float | int, ...]:
        """The kernel's arguments in its order."""
        gamma_ptr, gamma = number(self.gamma, unused)
        lo, hi, iters = float(self.lo), float(self.hi), float(self.iters)
        return gamma_ptr, lo, hi, int(self.start), iters, float(self.maximum), gamma


class Report(NamedTuple):
    """Views of the report of ``joint_loss_kernel``; the divergences are in nats."""

    reconstruction: Tensor  # ()
    capacity_cont: Tensor  # ()
    capacity_disc: Tensor  # ()
    means: Tensor  # (Z + D + C,), per-unit KL, KL per variable, category means

    @classmethod
    def of(cls, report: Tensor) -> "Report":
        """Name the parts of a report."""
        return cls(report[0], report[1], report[2], report[REPORT_SCALARS:])


def joint_loss(
    partials: Tensor,
    reconstruction: Tensor,
    sizes: Sequence[int],
    step: int | Tensor,
    cont: Ramp,
    disc: Ramp,
    *,
    scale: float,
    reconstruction_scale: float,
    log_sizes: float,
    pixels: int,
    information: bool,
) -> tuple[Tensor, Tensor]:
    """Loss () and report (5 + Z + D + C,), both float32, see ``joint_loss_kernel``.

    ``partials`` (programs, Z + D + C) and ``reconstruction`` (programs,) are sums over rows;
    multiplied with their scales they are batch means.
    """
    partials = partials.contiguous()
    programs, columns = partials.shape
    categories = sum(sizes)
    loss = partials.new_empty((), dtype=torch.float32)
    report = partials.new_empty(REPORT_SCALARS + columns, dtype=torch.float32)
    block = columns_at_once(columns)
    with torch.cuda.device_of(partials):
        joint_loss_kernel[(1,)](
            partials, reconstruction,
            step if isinstance(step, Tensor) else partials,
            0 if isinstance(step, Tensor) else step,
            *cont.arguments(partials), *disc.arguments(partials),
            loss, report,
            programs, reconstruction.numel(),
            columns - len(sizes) - categories, len(sizes), categories,
            float(scale), float(reconstruction_scale), float(log_sizes), float(pixels),
            STEP_ON_DEVICE=isinstance(step, Tensor),
            CONT_GAMMA_ON_DEVICE=isinstance(cont.gamma, Tensor),
            DISC_GAMMA_ON_DEVICE=isinstance(disc.gamma, Tensor),
            INFORMATION=information,
            ROWS=TILE // block, BLOCK=block,
            num_warps=warps(THREADS, partials.device),
        )  # fmt: skip
    return loss, report
