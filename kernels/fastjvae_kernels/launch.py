"""Launchers: tensors in, tensors out. Block shapes are plain functions of sizes and dtypes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from fastjvae_kernels.finalise import column_sums_kernel
from fastjvae_kernels.latent import latent_backward_kernel, latent_forward_kernel
from fastjvae_kernels.reconstruction import (
    reconstruction_backward_kernel,
    reconstruction_forward_kernel,
)

# With TRITON_INTERPRET=1 set before the import the kernels run on CPU tensors.
INTERPRETED = not isinstance(latent_forward_kernel, triton.JITFunction)

# Elements of a tile that one thread holds. A kernel keeps about eight tiles alive at once, so 4
# leaves room for them in 64 registers.
_PER_THREAD = 4
# More programs than any GPU runs at once, few enough that adding up their partials costs little.
_MAX_PROGRAMS = 1024


class Blocks(NamedTuple):
    """Launch configuration of the latent kernels."""

    rows: int
    units: int
    categories: int
    warps: int
    programs: int
    rows_per_program: int


def latent_blocks(rows: int, units: int, sizes: Sequence[int]) -> Blocks:
    """Blocks for N rows, Z units and categorical variables of the given sizes.

    A variable's tile starts at the multiple of 4 below its first column and must hold the whole
    variable, because its softmax does; continuous columns are cut at 1,024.
    """
    starts, at = [], 0
    for size in sizes:
        starts.append(at)
        at += size
    widest = max((start % 4 + size for start, size in zip(starts, sizes, strict=True)), default=4)
    categories = max(4, triton.next_power_of_2(widest))
    columns = max(4, min(1024, triton.next_power_of_2(max(units, 1))))
    width = max(columns if units else 4, categories if sizes else 4)
    warps = min(32, max(4, width // (32 * _PER_THREAD)))
    block_rows = max(1, min(64, warps * 32 * _PER_THREAD // width))
    tiles = triton.cdiv(max(rows, 1), block_rows)
    tiles_per_program = triton.cdiv(tiles, _MAX_PROGRAMS)
    return Blocks(
        block_rows,
        columns,
        categories,
        warps,
        triton.cdiv(tiles, tiles_per_program),
        tiles_per_program * block_rows,
    )


@lru_cache(maxsize=64)
def _variables(sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """(D, 2) int32 on the device: first column within the categorical part, size."""
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    table = [[start, size] for start, size in zip(starts, sizes, strict=True)] or [[0, 0]]
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
    sizes: tuple[int, ...],
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
    blocks = latent_blocks(rows, units, sizes)
    columns = units + len(sizes) + categories
    partials = mean.new_empty(
        (blocks.programs, columns) if diverge else (0, 0), dtype=torch.float32
    )
    if rows == 0:
        return partials.zero_()
    sample = noise is not None
    noise = noise or LatentNoise()
    unused = mean
    normal = unused if noise.normal is None else noise.normal
    uniform = unused if noise.uniform is None else noise.uniform
    z = unused if z is None else z
    y = unused if y is None else y
    on_device = isinstance(tau, Tensor)
    with torch.cuda.device_of(mean):  # type: ignore[no-untyped-call]
        latent_forward_kernel[(blocks.programs,)](
            *_strided(mean), *_strided(logvar), *_strided(logits),
            _variables(sizes, mean.device),
            unused if noise.seed is None else noise.seed,
            *_strided(normal), *_strided(uniform),
            tau if on_device else unused, 1.0 if on_device else float(tau),
            *_strided(z), *_strided(y),
            partials, rows, units, len(sizes), categories, blocks.rows_per_program,
            SAMPLE=sample, DIVERGE=diverge, SEEDED=noise.seed is not None, TAU_ON_DEVICE=on_device,
            BLOCK_N=blocks.rows, BLOCK_Z=blocks.units, BLOCK_K=blocks.categories,
            num_warps=blocks.warps,
        )  # fmt: skip
    return partials


def latent_backward(
    parts: LatentParts,
    sizes: tuple[int, ...],
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

    ``grad_sums`` (Z + D + C,) times ``scale`` is the upstream gradient of the sums over all rows;
    None where there is none.
    """
    mean, logvar, logits = parts
    rows, units, categories = mean.shape[0], mean.shape[1], logits.shape[1]
    if rows == 0:
        return
    blocks = latent_blocks(rows, units, sizes)
    unused = mean
    sample = noise is not None
    noise = noise or LatentNoise()
    on_device = isinstance(tau, Tensor)
    with torch.cuda.device_of(mean):  # type: ignore[no-untyped-call]
        latent_backward_kernel[(blocks.programs,)](
            *_strided(mean), *_strided(logvar), *_strided(logits),
            _variables(sizes, mean.device),
            unused if noise.seed is None else noise.seed,
            *_strided(unused if noise.normal is None else noise.normal),
            tau if on_device else unused, 1.0 if on_device else float(tau),
            *_strided(unused if y is None else y),
            *_strided(unused if grad_z is None else grad_z),
            *_strided(unused if grad_y is None else grad_y),
            unused if grad_sums is None else grad_sums,
            1 if grad_sums is None else grad_sums.stride(0),
            scale,
            *_strided(grads.mean), *_strided(grads.logvar), *_strided(grads.logits),
            rows, units, len(sizes), categories, blocks.rows_per_program,
            SAMPLE=sample, DIVERGE=grad_sums is not None, SEEDED=noise.seed is not None,
            TAU_ON_DEVICE=on_device,
            BLOCK_N=blocks.rows, BLOCK_Z=blocks.units, BLOCK_K=blocks.categories,
            num_warps=blocks.warps,
        )  # fmt: skip


def column_sums(partials: Tensor, scale: float) -> Tensor:
    """(programs, columns) -> (columns,) float32: the sum over programs, in order, times scale."""
    programs, columns = partials.shape
    out = partials.new_empty(columns)
    if columns:
        with torch.cuda.device_of(partials):  # type: ignore[no-untyped-call]
            column_sums_kernel[(triton.cdiv(columns, 128),)](
                partials, out, programs, columns, scale, BLOCK=128, num_warps=4
            )
    return out


def _strided(matrix: Tensor) -> tuple[Tensor, int, int]:
    return matrix, matrix.stride(0), matrix.stride(1)


# --- reconstruction -----------------------------------------------------------------------------

_BLOCK = 1024  # 8 elements a thread with 4 warps: two 128-bit loads of float32


def reconstruction_forward(logits: Tensor, target: Tensor) -> Tensor:
    """(N, C, H, W) logits and target -> partial sums (programs,) float32."""
    elements = logits.numel()
    blocks = triton.cdiv(max(elements, 1), _BLOCK)
    per_program = triton.cdiv(blocks, _MAX_PROGRAMS) * _BLOCK
    programs = triton.cdiv(max(elements, 1), per_program)
    partials = torch.empty(programs, dtype=torch.float32, device=logits.device)
    order = _memory_order(logits)
    with torch.cuda.device_of(logits):  # type: ignore[no-untyped-call]
        reconstruction_forward_kernel[(programs,)](
            logits, *_strides(logits, order), target, *_strides(target, order),
            partials, elements, per_program, *[logits.shape[d] for d in order[1:]],
            FLAT=_flat(order, logits, target), BLOCK=_BLOCK, num_warps=4,
        )  # fmt: skip
    return partials


def reconstruction_backward(
    logits: Tensor, target: Tensor, upstream: Tensor, scale: float
) -> Tensor:
    """Gradient of ``scale * sum of the partials`` times ``upstream`` (), in the logits' layout."""
    grad = torch.empty_like(logits)
    elements = logits.numel()
    if elements:
        order = _memory_order(logits)
        with torch.cuda.device_of(logits):  # type: ignore[no-untyped-call]
            reconstruction_backward_kernel[(triton.cdiv(elements, _BLOCK),)](
                logits, *_strides(logits, order), target, *_strides(target, order),
                grad, *_strides(grad, order),
                upstream, scale, elements, *[logits.shape[d] for d in order[1:]],
                FLAT=_flat(order, logits, target, grad), BLOCK=_BLOCK, num_warps=4,
            )  # fmt: skip
    return grad


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
