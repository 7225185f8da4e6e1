"""Matrices and numbers as the launchers pass them to the kernels."""

import triton
from torch import Tensor

from fastjvae_kernels.math import gumbel

# With TRITON_INTERPRET=1 set before the import the kernels run on CPU tensors.
INTERPRETED = not isinstance(gumbel, triton.JITFunction)


def strided(matrix: Tensor) -> tuple[Tensor, int, int]:
    """A matrix with its strides."""
    return matrix, matrix.stride(0), matrix.stride(1)


def number(value: float | Tensor, unused: Tensor) -> tuple[Tensor, float]:
    """A number on the device or on the host, as the two arguments that a kernel takes it by."""
    return (value, 1.0) if isinstance(value, Tensor) else (unused, float(value))
