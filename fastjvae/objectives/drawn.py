"""The information about c that pictures drawn with it hold, as the encoder reads it again.

What the encoder's categories tell of an image can be what the continuous units tell as well; the
decoder then need not look at c, and no capacity of c makes it do so. Here it draws images with the
units that the encoder found and with categories that have nothing to do with them. Whoever sees
such a picture should be able to tell its categories: InfoGAN's bound on their information (Chen et
al. 2016, arXiv:1606.03657, eq. 5), with the encoder as the reader,

    I(c; x') >= H(c) + E[log q(c | x')],   x' = decode(z, c),   c uniform.

z comes from the images, not from the prior, so that the pictures are near the data.
"""

import torch
from torch import Tensor

from fastjvae import functional
from fastjvae.functional.checks import check_step
from fastjvae.functional.latents import LatentSpec, largest_kl
from fastjvae.objectives.base import LatentModel, LossOutput, with_addend


def drawn_information(model: LatentModel, sample: Tensor, step: int | Tensor) -> Tensor:
    """The bound of a batch in nats, (), differentiable: at most sum log K, negative where the
    encoder is sure of other categories.

    It is differentiable by the decoder and by the encoder as the reader; ``sample`` is given.

    Args:
        model: with discrete variables.
        sample: (N, L) sample rows of the images, of which the units are taken.
        step: training step, counted from 1. The categories depend on it and on the row alone:
            every combination of the variables is drawn as often as every other.
    """
    spec = model.spec
    hot = drawn_categories(spec, len(sample), step, sample)
    rows = torch.cat([sample[:, : spec.cont].detach(), hot], dim=1)
    drawn = model.in_value_range(model.pictures(model.decode_logits(rows)))
    read = functional.joined_rows(model.encode_params(drawn))
    told = read.new_zeros(len(read))  # log q(c | x') of each image
    for categories, logits in zip(spec.categories, spec.logits, strict=True):
        told = told + (rows[:, categories] * read[:, logits].log_softmax(dim=1)).sum(dim=1)
    return largest_kl(spec.disc) + functional.batch_mean(told)


def with_drawn_information(
    out: LossOutput, model: LatentModel, sample: Tensor, step: int | Tensor, gamma: float
) -> LossOutput:
    """The loss of a batch with gamma (sum log K - I), I :func:`drawn_information`, added to it."""
    if not gamma or not model.spec.disc:
        return out
    information = drawn_information(model, sample, step)
    missing = largest_kl(model.spec.disc) - information
    addend = gamma * missing / model.num_pixels
    return with_addend(out, addend, "drawn_information", information)


def drawn_categories(spec: LatentSpec, rows: int, step: int | Tensor, like: Tensor) -> Tensor:
    """One-hot categories (rows, sum K) of all variables, in turn over the rows and the steps.

    Batches are shuffled, so that they have nothing to do with the images; and nothing is drawn, so
    that no generator differs for it.
    """
    check_step(step, like)
    first, images = functional.batch_places(rows)
    count = torch.arange(first, first + rows, device=like.device) + step * images
    hot = []
    for size in spec.disc:
        category = count % size
        hot.append(category[:, None] == torch.arange(size, device=like.device))
        count = count // size
    return torch.cat(hot, dim=1).to(like.dtype)
