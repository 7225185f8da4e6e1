"""The information about an image that c holds and that the other images of its group hold too."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fastjvae.errors import ArgumentError
from fastjvae.latents import LatentSpec

_FLOOR = 1e-8  # of a joint probability; float32 does not tell smaller ones from 0 beside 1


class SharedInformation(NamedTuple):
    """Sums over the categorical variables, nats, differentiable."""

    information: Tensor  # (), I(c; c')
    imbalance: Tensor  # (), KL(category mean || uniform)


def shared_information(params: Tensor, spec: LatentSpec, group: int) -> SharedInformation:
    """Mutual information of the categories of two images of one group (Ji et al. 2019, eq. 3).

    c and c' are drawn from the category probabilities of two different images of a group, for all
    such pairs of the batch:

        P(c, c') = mean over pairs of p(c | x) p(c' | x'),  I = sum P log (P / P(c) P(c'))

    It is at most log K, where every group has a category of its own kind and none of its images
    another. What tells the images of a group apart adds nothing to it.

    >>> import torch
    >>> spec = LatentSpec(cont=0, disc=(2,))
    >>> sure = torch.tensor([[9.0, -9.0], [9.0, -9.0], [-9.0, 9.0], [-9.0, 9.0]])
    >>> round(float(shared_information(sure, spec, 2).information), 3)  # log 2
    0.693
    >>> round(float(shared_information(sure[[0, 2, 1, 3]], spec, 2).imbalance), 3)
    0.0

    Args:
        params: parameter rows (N, P); the images of a group follow one another.
        spec: sizes of the latent variables.
        group: images of a group, at least 2.

    Raises:
        ArgumentError: the rows are not a number of whole groups.
    """
    if group < 2 or len(params) % group:
        raise ArgumentError(
            f"the images of a batch must be groups of {group}, at least 2 each, one after the"
            f" other, got {len(params)} images"
        )
    parts = [_of_variable(params[:, logits].softmax(dim=1), group) for logits in spec.logits]
    zero = params.new_zeros(())
    return SharedInformation(
        sum((part.information for part in parts), start=zero),
        sum((part.imbalance for part in parts), start=zero),
    )


def _of_variable(p: Tensor, group: int) -> SharedInformation:
    """Of one variable's probabilities (N, K)."""
    totals = p.view(-1, group, p.shape[1]).sum(dim=1)  # (N / group, K)
    with torch.autocast(p.device.type, enabled=False):
        # Pairs of an image with itself do not count.
        pairs = totals.t() @ totals - p.t() @ p
    joint = (pairs / (max(len(p), 1) * (group - 1))).clamp_min(_FLOOR)
    log_mean = joint.sum(dim=0).log()
    information = (joint * (joint.log() - log_mean[:, None] - log_mean[None])).sum()
    imbalance = math.log(p.shape[1]) + (joint.sum(dim=0) * log_mean).sum()
    return SharedInformation(information, imbalance)
