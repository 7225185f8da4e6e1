"""The cross-entropy of categories that are known for some images."""

import torch.nn.functional as F
from torch import Tensor

from fastjvae import functional
from fastjvae.objectives.base import LatentModel, LossOutput, with_addend


def label_cross_entropy(
    model: LatentModel, x: Tensor, categories: Tensor, variable: int = 0
) -> Tensor:
    """Cross-entropy of the known categories of images, mean over them, nats, (), differentiable.

    Labels as in Kingma et al. 2014 (arXiv:1406.5298, eq. 9): -log q(c | x) of what the encoder says
    of a labelled image, beside the loss of all images.

    >>> import torch
    >>> from fastjvae import JointVAE
    >>> model = JointVAE((1, 32, 32), {"cont": 4, "disc": [3]})
    >>> label_cross_entropy(model, torch.rand(5, 1, 32, 32), torch.tensor([0, 2, 1, 1, 0])).shape
    torch.Size([])

    Args:
        model: with discrete variables.
        x: (N, C, H, W) images whose categories are known, uint8 0..255 or floats 0..1.
        categories: (N,) int64, from 0.
        variable: number of the discrete variable that they are of.
    """
    rows = functional.joined_rows(model.encode_params(x))
    return F.cross_entropy(rows[:, model.spec.logits[variable]], categories)


def with_label_loss(
    out: LossOutput,
    model: LatentModel,
    x: Tensor,
    categories: Tensor,
    variable: int,
    weight: float,
) -> LossOutput:
    """The loss of a batch with ``weight`` times :func:`label_cross_entropy` added to it.

    ``extra`` has ``label_cross_entropy``, undivided as every number beside ``loss``.
    """
    nats = label_cross_entropy(model, x, categories, variable)
    return with_addend(out, weight * nats / model.num_pixels, "label_cross_entropy", nats)
