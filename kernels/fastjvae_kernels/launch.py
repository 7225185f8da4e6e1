"""Launchers: tensors in, tensors out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from fastjvae_kernels.blocks import (
    MANY_PROGRAMS,
    Blocks,
    latent_blocks,
    power_of_2,
    starts,
    warps,
)
from fastjvae_kernels.finalise import REPORT_HEAD, column_sums_kernel, joint_objective_kernel
from fastjvae_kernels.latent import latent_backward_kernel, latent_forward_kernel
from fastjvae_kernels.reconstruction import (
    reconstruction_backward_kernel,
    reconstruction_forward_kernel,
)

# With TRITON_INTERPRET=1 set before the import the kernels run on CPU tensors.
INTERPRETED = not isinstance(latent_forward_kernel, triton.JITFunction)

# --- latent variables -----------------------------------------------------------------------------


@cache  # without a limit: a captured graph keeps the address of its table
def variables_table(sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """(D, 2) int32 on the device: first column within the categorical part, size.

    Copied from the host once for each specification, so not while a CUDA graph is captured.
    """
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            f"run the operation once for categorical variables of sizes {list(sizes)} before"
            f" a CUDA graph of it is captured"
        )
    table = [list(pair) for pair in zip(starts(sizes), sizes, strict=True)] or [[0, 0]]
    return torch.tensor(table, dtype=torch.int32, device=device)


class LatentParts(NamedTuple):
    """Views of the parameters: (N, Z), (N, Z) and (N, C), any strides; Z or C may be 0."""

    mean: Tensor
    logvar: Tensor
    logits: Tensor


class LatentNoise(NamedTuple):
    """A Philox key (1,) int64, or the noise itself: (N, Z) normal and (N, C) uniform."""

    seed: Tensor | None = None
    normal: Tensor | None = None
    uniform: Tensor | None = None


def latent_forward(
    parts: LatentParts,
    sizes: Sequence[int],
    noise: LatentNoise | None,
    tau: float | Tensor,
    z: Tensor | None,
    y: Tensor | None,
    *,
    diverge: bool,
) -> Tensor:
    """Write the samples into ``z`` and ``y``; return partial sums (programs, Z + D + C) float32.

    ``noise`` None computes divergences alone; ``diverge`` False samples alone and returns an empty
    tensor.
    """
    mean, logvar, logits = parts
    rows, units, categories = mean.shape[0], mean.shape[1], logits.shape[1]
    blocks = latent_blocks(rows, units, tuple(sizes))
    columns = units + len(sizes) + categories
    partials = mean.new_empty(
        (blocks.programs, columns) if diverge else (0, 0), dtype=torch.float32
    )
    if rows == 0:
        return partials.zero_()
    sample = noise is not None
    seed, normal, uniform = noise or LatentNoise()
    normal, uniform, z, y = (mean if array is None else array for array in (normal, uniform, z, y))
    matrices = (mean, logvar, logits, normal, uniform, z, y)
    with torch.cuda.device_of(mean):  # type: ignore[no-untyped-call]
        latent_forward_kernel[(blocks.programs,)](
            *_strided(mean), *_strided(logvar), *_strided(logits),
            variables_table(tuple(sizes), mean.device),
            mean if seed is None else seed,
            *_strided(normal), *_strided(uniform),
            *_number(tau, mean),
            *_strided(z), *_strided(y),
            partials, rows, units, len(sizes), categories, blocks.rows_per_program,
            SAMPLE=sample, DIVERGE=diverge, SEEDED=seed is not None,
            TAU_ON_DEVICE=isinstance(tau, Tensor),
            ALIGNED=_aligned(sizes, matrices), WIDE=_wide(blocks, matrices),
            EXACT=blocks.tile.exact,
            BLOCK_N=blocks.tile.rows, BLOCK_Z=blocks.tile.units, BLOCK_K=blocks.tile.categories,
            num_warps=warps(blocks.tile.threads, mean.device),
        )  # fmt: skip
    return partials


def latent_backward(
    parts: LatentParts,
    sizes: Sequence[int],
    noise: LatentNoise | None,
    tau: float | Tensor,
    y: Tensor | None,
    grad_z: Tensor | None,
    grad_y: Tensor | None,
    grad_sums: Tensor | None,
    scale: float,
    grads: LatentParts,
) -> None:
    """Write the gradients of the parameters into ``grads``.

    ``grad_sums`` (programs, Z + D + C) times ``scale`` is the upstream gradient of the partials;
    None where there is none. ``noise`` None means that there is none of the samples.
    """
    mean, logvar, logits = parts
    rows, units, categories = mean.shape[0], mean.shape[1], logits.shape[1]
    if rows == 0:
        return
    blocks = latent_blocks(rows, units, tuple(sizes))
    sample, diverge = noise is not None, grad_sums is not None
    seed, normal, _ = noise or LatentNoise()
    normal, y, grad_z, grad_y, grad_sums = (
        mean if array is None else array for array in (normal, y, grad_z, grad_y, grad_sums)
    )
    matrices = (mean, logvar, logits, normal, y, grad_z, grad_y, *grads)
    with torch.cuda.device_of(mean):  # type: ignore[no-untyped-call]
        latent_backward_kernel[(blocks.programs,)](
            *_strided(mean), *_strided(logvar), *_strided(logits),
            variables_table(tuple(sizes), mean.device),
            mean if seed is None else seed,
            *_strided(normal),
            *_number(tau, mean),
            *_strided(y), *_strided(grad_z), *_strided(grad_y),
            *_strided(grad_sums), float(scale),
            *_strided(grads.mean), *_strided(grads.logvar), *_strided(grads.logits),
            rows, units, len(sizes), categories, blocks.rows_per_program,
            SAMPLE=sample, DIVERGE=diverge, SEEDED=seed is not None,
            TAU_ON_DEVICE=isinstance(tau, Tensor),
            ALIGNED=_aligned(sizes, matrices), WIDE=_wide(blocks, matrices),
            BLOCK_N=blocks.tile.rows, BLOCK_Z=blocks.tile.units, BLOCK_K=blocks.tile.categories,
            num_warps=warps(blocks.tile.threads, mean.device),
        )  # fmt: skip


def _strided(matrix: Tensor) -> tuple[Tensor, int, int]:
    return matrix, matrix.stride(0), matrix.stride(1)


def _number(value: float | Tensor, unused: Tensor) -> tuple[Tensor, float]:
    """A number on the device or on the host, as the two arguments that a kernel takes it by."""
    return (value, 1.0) if isinstance(value, Tensor) else (unused, float(value))


def _aligned(sizes: Sequence[int], matrices: Sequence[Tensor]) -> bool:
    """Whether a thread may move 4 neighbours at once; see ``ALIGNED`` in `latent.py`."""
    return all(size % 4 == 0 for size in sizes) and all(
        matrix.stride(0) % 4 == 0 and matrix.shape[1] % 4 == 0 for matrix in matrices
    )


def _wide(blocks: Blocks, matrices: Sequence[Tensor]) -> bool:
    """Whether offsets from a program's first row may leave int32, masked elements included."""
    tile = blocks.tile
    rows, columns = blocks.rows_per_program + tile.rows, tile.units + tile.categories
    return any(
        rows * matrix.stride(0) + (matrix.shape[1] + columns) * matrix.stride(1) >= 2**31
        for matrix in matrices
    )


# --- finalising -----------------------------------------------------------------------------------

# One program reads all partials: 256 threads with 8 elements a thread, two 128-bit loads in flight.
_FINAL_THREADS, _FINAL_TILE = 256, 2048
REPORT_SCALARS: int = REPORT_HEAD.value  # before the vectors of a report


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
        gamma_ptr, gamma = _number(self.gamma, unused)
        lo, hi, iters = float(self.lo), float(self.hi), float(self.iters)
        return gamma_ptr, lo, hi, int(self.start), iters, float(self.maximum), gamma


class Report(NamedTuple):
    """Views of the report of ``joint_objective_kernel``; the divergences are in nats."""

    reconstruction: Tensor  # ()
    capacity_cont: Tensor  # ()
    capacity_disc: Tensor  # ()
    means: Tensor  # (Z + D + C,), per-unit KL, KL per variable, category means

    @classmethod
    def of(cls, report: Tensor) -> Report:
        """Name the parts of a report."""
        return cls(report[0], report[1], report[2], report[REPORT_SCALARS:])


def column_sums(partials: Tensor, scale: float) -> Tensor:
    """(programs, columns) -> (columns,) float32: the sum over programs, in order, times scale."""
    programs, columns = partials.shape
    out = partials.new_empty(columns)
    if columns:
        block = _final_columns(columns)
        with torch.cuda.device_of(partials):  # type: ignore[no-untyped-call]
            column_sums_kernel[(triton.cdiv(columns, block),)](
                partials, out, programs, columns, float(scale),
                ROWS=_FINAL_TILE // block, BLOCK=block,
                num_warps=warps(_FINAL_THREADS, partials.device),
            )  # fmt: skip
    return out


def joint_objective(
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
    """Loss () and report (5 + Z + D + C,), both float32, see ``joint_objective_kernel``.

    ``partials`` (programs, Z + D + C) and ``reconstruction`` (programs,) are sums over rows;
    multiplied with their scales they are batch means.
    """
    partials = partials.contiguous()
    programs, columns = partials.shape
    categories = sum(sizes)
    loss = partials.new_empty((), dtype=torch.float32)
    report = partials.new_empty(REPORT_SCALARS + columns, dtype=torch.float32)
    block = _final_columns(columns)
    with torch.cuda.device_of(partials):  # type: ignore[no-untyped-call]
        joint_objective_kernel[(1,)](
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
            ROWS=_FINAL_TILE // block, BLOCK=block,
            num_warps=warps(_FINAL_THREADS, partials.device),
        )  # fmt: skip
    return loss, report


def _final_columns(columns: int) -> int:
    return min(256, max(16, power_of_2(columns)))


# --- reconstruction -------------------------------------------------------------------------------

# 8 elements a thread: two 128-bit loads of float32, one of half precision.
_BLOCK, _THREADS = 1024, 128


def reconstruction_forward(logits: Tensor, target: Tensor) -> Tensor:
    """(N, C, H, W) logits and target -> partial sums (programs,) float32."""
    elements = logits.numel()
    blocks = triton.cdiv(elements, _BLOCK)
    per_program = triton.cdiv(max(blocks, 1), MANY_PROGRAMS) * _BLOCK
    programs = triton.cdiv(elements, per_program)
    partials = torch.empty(programs, dtype=torch.float32, device=logits.device)
    if not elements:
        return partials
    order = _memory_order(logits)
    with torch.cuda.device_of(logits):  # type: ignore[no-untyped-call]
        reconstruction_forward_kernel[(programs,)](
            logits, *_strides(logits, order), target, *_strides(target, order),
            partials, elements, per_program, *[logits.shape[d] for d in order[1:]],
            FLAT=_flat(order, logits, target), WIDE=_far(logits, target), BLOCK=_BLOCK,
            num_warps=warps(_THREADS, logits.device),
        )  # fmt: skip
    return partials


class DivergenceSlopes(NamedTuple):
    """What the backward launch needs to give the gradient of the latent kernel's partials, too."""

    report: Tensor  # (5 + Z + D + C,)
    sizes: Sequence[int]
    scale: float  # the partials' in the forward pass
    information: bool


def reconstruction_backward(
    logits: Tensor,
    target: Tensor,
    upstream: Tensor,
    scale: float,
    slopes: DivergenceSlopes | None = None,
) -> tuple[Tensor, Tensor]:
    """Gradients of ``scale * sum of the partials`` times ``upstream`` (), in the logits' layout.

    The second one, (Z + D + C,), is that of a row of the latent kernel's partials; empty without
    ``slopes``.
    """
    grad = torch.empty_like(logits)
    elements = logits.numel()
    sizes: Sequence[int] = slopes.sizes if slopes else ()
    columns = slopes.report.numel() - REPORT_SCALARS if slopes else 0
    grad_sums = upstream.new_empty(columns, dtype=torch.float32)
    if elements or columns:
        order = _memory_order(logits)
        with torch.cuda.device_of(logits):  # type: ignore[no-untyped-call]
            reconstruction_backward_kernel[(max(1, triton.cdiv(elements, _BLOCK)),)](
                logits, *_strides(logits, order), target, *_strides(target, order),
                grad, *_strides(grad, order),
                upstream, float(scale),
                slopes.report if slopes else upstream, grad_sums,
                float(slopes.scale) if slopes else 1.0,
                elements, *[logits.shape[d] for d in order[1:]],
                columns - len(sizes) - sum(sizes), len(sizes), sum(sizes),
                FLAT=_flat(order, logits, target, grad), WIDE=_far(logits, target, grad),
                DIVERGE=slopes is not None,
                INFORMATION=slopes.information if slopes else False,
                BLOCK=_BLOCK, num_warps=warps(_THREADS, logits.device),
            )  # fmt: skip
    return grad, grad_sums


def _memory_order(images: Tensor) -> list[int]:
    """The four dimensions from the slowest to the fastest in memory."""
    strides = images.stride()
    return sorted(range(4), key=lambda d: (images.shape[d] > 1, -strides[d]))


def _strides(images: Tensor, order: Sequence[int]) -> list[int]:
    return [images.stride(d) for d in order]


def _flat(order: Sequence[int], *arrays: Tensor) -> bool:
    """Whether an element's place in this order is its offset in every array."""
    expected, strides = 1, {}
    for d in reversed(order):
        strides[d] = expected
        expected *= arrays[0].shape[d]
    return all(
        array.stride(d) == strides[d] for array in arrays for d in order if array.shape[d] > 1
    )


def _far(*arrays: Tensor) -> bool:
    """Whether an index or an offset may leave int32, the last block's masked elements included."""
    return any(
        sum(stride * (size - 1) for size, stride in zip(array.shape, array.stride(), strict=True))
        + array.numel()
        >= 2**31 - _BLOCK
        for array in arrays
    )
