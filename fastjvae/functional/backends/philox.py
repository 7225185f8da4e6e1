"""Random numbers from a key: Philox-4x32-10 (Salmon et al. 2011), the same on every device."""

import math

import torch
from torch import Tensor

GAUSSIAN_STREAM, GUMBEL_STREAM = 0, 1

_PHILOX_M0, _PHILOX_M1 = 0xD2511F53, 0xCD9E8D57
_PHILOX_W0, _PHILOX_W1 = 0x9E3779B9, 0xBB67AE85
_MASK32 = 0xFFFFFFFF


def philox_uniform(seed: Tensor, rows: int, columns: int, stream: int) -> Tensor:
    """Uniform numbers in [0, 1) for the elements of a (rows, columns) matrix, float32.

    ``seed`` is a (1,) int64 tensor; the result lies on its device. Element (r, c) is word c % 4 of
    the block with counter (r low, r high, c // 4, stream), as (word >> 8) * 2^-24.
    """
    words = _philox_words(seed, rows, columns, stream)
    return (words >> 8).to(torch.float32)[:, :columns] * 2.0**-24


def philox_normal(seed: Tensor, rows: int, columns: int, stream: int = GAUSSIAN_STREAM) -> Tensor:
    """Standard normals for a (rows, columns) matrix, float32: Box-Muller on word pairs."""
    words = _philox_words(seed, rows, columns, stream)
    pairs = ((words >> 8).to(torch.float32) * 2.0**-24).reshape(rows, words.shape[1] // 2, 2)
    radius = (-2.0 * torch.log1p(-pairs[..., 0])).sqrt()  # u < 1, so 1 - u > 0
    angle = (2.0 * math.pi) * pairs[..., 1]
    normals = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1)
    return normals.flatten(1)[:, :columns]


def _philox_words(seed: Tensor, rows: int, columns: int, stream: int) -> Tensor:
    """32-bit words as int64, (rows, columns rounded up to a multiple of 4)."""
    row = torch.arange(rows, device=seed.device, dtype=torch.int64)[:, None]
    block = torch.arange((columns + 3) // 4, device=seed.device, dtype=torch.int64)[None, :]
    zero = torch.zeros_like(row) + torch.zeros_like(block)
    counter = ((row & _MASK32) + zero, (row >> 32) + zero, block + zero, zero + stream)
    words = philox_4x32(counter, (seed & _MASK32, (seed >> 32) & _MASK32))
    return torch.stack(words, dim=-1).flatten(1)


def philox_4x32(
    counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor], rounds: int = 10
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox-4x32 on 32-bit words held in int64 tensors."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        high0, low0 = _multiply_32(c0, _PHILOX_M0)
        high1, low1 = _multiply_32(c2, _PHILOX_M1)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _PHILOX_W0) & _MASK32, (k1 + _PHILOX_W1) & _MASK32
    return c0, c1, c2, c3


def _multiply_32(a: Tensor, b: int) -> tuple[Tensor, Tensor]:
    # int64 wraps modulo 2^64, so both halves of the product are right once masked.
    product = a * b
    return (product >> 32) & _MASK32, product & _MASK32
