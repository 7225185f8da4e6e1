"""A model whose images are its own parameter rows, so that a test chooses the posteriors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fastjvae import JointVAE, LatentSpec


class _AsRows(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


class _Zeros(nn.Module):
    """Logits of 0 whatever the sample: a reconstruction that says nothing."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, sample: Tensor) -> Tensor:
        return sample.new_zeros(len(sample), 1, 1, self.width) + 0 * sample.sum()


def model_of_rows(spec: LatentSpec) -> JointVAE:
    """Takes :func:`images_of` parameter rows."""
    size = (1, 1, spec.num_params)
    return JointVAE(size, spec, encoder=_AsRows(), decoder=_Zeros(spec.num_params)).double()


def images_of(params: Tensor) -> Tensor:
    """(N, P) -> (N, 1, 1, P)."""
    return params[:, None, None, :]


def correlated_gaussians(rows: int, correlation: float, variance: float) -> Tensor:
    """Parameter rows of two units whose aggregate posterior is Gaussian with variances 1.

    Each posterior has this variance and the means the rest, so that the aggregate's correlation is
    ``correlation`` and its total correlation -log(1 - correlation^2) / 2.
    """
    off = torch.tensor([[1 - variance, correlation], [correlation, 1 - variance]])
    means = torch.randn(rows, 2, dtype=torch.float64) @ torch.linalg.cholesky(off.double()).T
    return torch.cat([means, torch.full_like(means, variance).log()], dim=1)
