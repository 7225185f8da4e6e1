"""Launchers of the latent kernels: tensors in, tensors out."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from fastjvae_kernels.arguments import number, strided
from fastjvae_kernels.blocks import Blocks, latent_blocks, starts, warps
from fastjvae_kernels.latent import latent_backward_kernel, latent_forward_kernel


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


class LatentParams(NamedTuple):
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
    params: LatentParams,
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
    mean, logvar, logits = params
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
    with torch.cuda.device_of(mean):
        latent_forward_kernel[(blocks.programs,)](
            *strided(mean), *strided(logvar), *strided(logits),
            variables_table(tuple(sizes), mean.device),
            mean if seed is None else seed,
            *strided(normal), *strided(uniform),
            *number(tau, mean),
            *strided(z), *strided(y),
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
    params: LatentParams,
    sizes: Sequence[int],
    noise: LatentNoise | None,
    tau: float | Tensor,
    y: Tensor | None,
    grad_z: Tensor | None,
    grad_y: Tensor | None,
    grad_sums: Tensor | None,
    scale: float,
    grads: LatentParams,
) -> None:
    """Write the gradients of the parameters into ``grads``.

    ``grad_sums`` (programs, Z + D + C) times ``scale`` is the upstream gradient of the partials;
    None where there is none. ``noise`` None means that there is none of the samples.
    """
    mean, logvar, logits = params
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
    with torch.cuda.device_of(mean):
        latent_backward_kernel[(blocks.programs,)](
            *strided(mean), *strided(logvar), *strided(logits),
            variables_table(tuple(sizes), mean.device),
            mean if seed is None else seed,
            *strided(normal),
            *number(tau, mean),
            *strided(y), *strided(grad_z), *strided(grad_y),
            *strided(grad_sums), float(scale),
            *strided(grads.mean), *strided(grads.logvar), *strided(grads.logits),
            rows, units, len(sizes), categories, blocks.rows_per_program,
            SAMPLE=sample, DIVERGE=diverge, SEEDED=seed is not None,
            TAU_ON_DEVICE=isinstance(tau, Tensor),
            ALIGNED=_aligned(sizes, matrices), WIDE=_wide(blocks, matrices),
            BLOCK_N=blocks.tile.rows, BLOCK_Z=blocks.tile.units, BLOCK_K=blocks.tile.categories,
            num_warps=warps(blocks.tile.threads, mean.device),
        )  # fmt: skip


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
