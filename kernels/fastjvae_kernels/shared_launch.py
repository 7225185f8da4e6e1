"""The launchers of the kernels of shared information, see :mod:`fastjvae_kernels.shared`."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from fastjvae_kernels.arguments import strided
from fastjvae_kernels.blocks import power_of_2, warps
from fastjvae_kernels.joint_loss import Ramp
from fastjvae_kernels.latent_launch import variables_table
from fastjvae_kernels.shared import (
    REPORT_HEAD,
    shared_backward_kernel,
    shared_joint_kernel,
    shared_loss_kernel,
)

# 1,024 elements of a tile are 4 a thread, in five tiles at once. 16 rows of J to a program: p and q
# of a tile of images serve all of them, and there are still programs for a whole GPU.
_TILE, _THREADS, _ROWS_OF_J = 512, 256, 16
_BACKWARD_TILE = 256  # with 512 elements the assembler spills for some targets
_MOST_PARTIALS = 2**19  # elements, 2 MiB: what one program adds up
_SCALARS: int = REPORT_HEAD.value


class Heads(NamedTuple):
    """Logits of the heads and their categories."""

    params: Tensor  # (N, 2 Z + sum K)
    sizes: tuple[int, ...]  # of the model's variables
    further: Tensor | None  # (N, K')
    group: int

    @property
    def all_sizes(self) -> tuple[int, ...]:
        """With the further head's."""
        return self.sizes if self.further is None else (*self.sizes, self.further.shape[1])

    @property
    def logits(self) -> Tensor:
        """Those of the model's variables, (N, sum K)."""
        return self.params[:, self.params.shape[1] - sum(self.sizes) :]

    @property
    def scale(self) -> float:
        """From a sum over ordered pairs of one group to their mean."""
        return 1 / (max(len(self.params), 1) * (self.group - 1))


class SharedReport(NamedTuple):
    """Views of the report of ``shared_loss_kernel``, nats."""

    capacity: Tensor  # ()
    information: Tensor  # (), of the model's variables
    imbalance: Tensor  # ()
    further_information: Tensor  # (), 0 without a further head

    @classmethod
    def of(cls, report: Tensor) -> "SharedReport":
        """Name the parts of a report."""
        return cls(report[0], report[1], report[2], report[3])


def report_size(heads: Heads) -> int:
    """Elements of the report."""
    return _SCALARS + sum(heads.all_sizes)


def joint_size(heads: Heads) -> int:
    """Elements of J of all heads."""
    return sum(size * size for size in heads.all_sizes)


def shared_loss(
    base: Tensor,
    heads: Heads,
    step: int | Tensor,
    disc: Ramp,
    *,
    balance: float,
    pixels: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss (), report (8 + sum K,) and J of all heads (sum K K,), all float32."""
    images, sizes = len(heads.params), heads.all_sizes
    logits, further = heads.logits, heads.params if heads.further is None else heads.further
    elements = joint_size(heads)
    block_n, block_k = _blocks(sizes)
    most = max(1, _MOST_PARTIALS // elements)
    tiles = max(1, triton.cdiv(images, block_n))
    per_program = triton.cdiv(tiles, min(tiles, most)) * block_n
    programs = max(1, triton.cdiv(images, per_program))
    partials = logits.new_empty((programs, elements), dtype=torch.float32)
    loss = base.new_empty((), dtype=torch.float32)
    report = base.new_empty(report_size(heads), dtype=torch.float32)
    joint = base.new_empty(elements, dtype=torch.float32)
    table = variables_table(sizes, logits.device)
    on_device = isinstance(step, Tensor)
    with torch.cuda.device_of(logits):
        shared_joint_kernel[(programs, triton.cdiv(max(sizes), _ROWS_OF_J), len(sizes))](
            *strided(logits), *strided(further), table, partials,
            images, len(heads.sizes), heads.group, per_program, elements,
            FURTHER=heads.further is not None, ROWS=_ROWS_OF_J, BLOCK_N=block_n, BLOCK_K=block_k,
            num_warps=warps(_THREADS, logits.device),
        )  # fmt: skip
        shared_loss_kernel[(1,)](
            partials, base, table, step if on_device else base, 0 if on_device else step,
            *disc.arguments(base), loss, report, joint,
            programs, len(sizes), len(heads.sizes), elements,
            heads.scale, float(balance), float(pixels),
            STEP_ON_DEVICE=on_device, GAMMA_ON_DEVICE=isinstance(disc.gamma, Tensor),
            ROWS=max(1, _TILE // block_k), BLOCK_K=block_k,
            num_warps=warps(_THREADS, logits.device),
        )  # fmt: skip
    return loss, report, joint


def shared_backward(
    heads: Heads, report: Tensor, joint: Tensor, upstream: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Gradients of the parameter rows (N, 2 Z + sum K) and of the further head's logits."""
    params, sizes = heads.params, heads.all_sizes
    grad = torch.empty_like(params)
    grad_further = None if heads.further is None else torch.empty_like(heads.further)
    if not len(params):
        return grad, grad_further
    logits, further = heads.logits, params if heads.further is None else heads.further
    block_n, block_k = _blocks(sizes, _BACKWARD_TILE)
    with torch.cuda.device_of(params):
        shared_backward_kernel[(triton.cdiv(len(params), block_n), len(sizes))](
            *strided(logits), *strided(further), variables_table(sizes, params.device),
            report, joint, upstream,
            *strided(grad), *strided(grad if grad_further is None else grad_further),
            len(params), params.shape[1] - sum(heads.sizes), len(heads.sizes), heads.group,
            heads.scale, FURTHER=grad_further is not None, BLOCK_N=block_n, BLOCK_K=block_k,
            num_warps=warps(_THREADS, params.device),
        )  # fmt: skip
    return grad, grad_further


def _blocks(sizes: Sequence[int], elements: int = _TILE) -> tuple[int, int]:
    """Images and categories of a tile, which holds a whole head, because its softmax does."""
    categories = power_of_2(max(*sizes, 4))
    return max(1, min(64, elements // categories)), categories
