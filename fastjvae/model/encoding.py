"""A whole data set through the encoder: deterministic codes, categories and the KL of each unit."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastjvae import functional
from fastjvae.errors import ArgumentError
from fastjvae.model.evaluating import AT_ONCE, evaluating
from fastjvae.model.given import images_for
from fastjvae.model.jointvae import JointVAE


class Encoding(NamedTuple):
    """The codes of M images and the KL of each unit over them."""

    codes: NDArray[np.float32]  # (M, Z), the means
    discrete: NDArray[np.int64]  # (M, D), the most probable category of each variable, ties: first
    kl: NDArray[np.float64]  # (Z + D,), nats, mean over the images
    category_mean: NDArray[np.float64]  # (sum K,), mean probability of each category


@torch.no_grad()
def encode(
    model: JointVAE, images: Any, each: Callable[[Tensor, Tensor], None] | None = None
) -> Encoding:
    """Encode every image once, in evaluation mode.

    >>> from fastjvae import JointVAE
    >>> model = JointVAE(img_size=(1, 32, 32), latent_spec={"cont": 2, "disc": [10, 3]})
    >>> encoding = encode(model, torch.rand(8, 1, 32, 32))
    >>> encoding.codes.shape, encoding.discrete.shape, encoding.kl.shape
    ((8, 2), (8, 2), (4,))

    Args:
        model: its mode is restored.
        images: at least one, in any form that :func:`fastjvae.fit` takes: (M, C, H, W), (M, H, W,
            C) or, grey, (M, H, W), uint8 0..255 or floats 0..1, torch on any device or numpy; or
            PIL images.
        each: called for every batch with its images, on the model's device, and its evaluation
            sample (N, L), such as to decode it.

    Raises:
        ArgumentError: there is no image, or the model takes others.
        DataError: the images have another form.
    """
    images = images_for(model, images)
    if not len(images):
        raise ArgumentError(f"there must be at least 1 image, got shape {tuple(images.shape)}")
    spec = model.spec
    # Room for the results is taken once: what is kept batch by batch lies between the blocks that
    # a batch frees, and the next batch would find none of them large enough.
    codes = np.empty((len(images), spec.cont), np.float32)
    discrete = np.empty((len(images), len(spec.disc)), np.int64)
    kl = np.zeros(spec.cont + len(spec.disc))
    category_mean = np.zeros(spec.num_categories)
    begin = 0
    for batch, params in encoded_batches(model, images):
        latent = functional.joint_latent(params, spec, model.temperature, training=False)
        if each is not None:
            each(batch, latent.sample)
        weight, end = len(batch) / len(images), begin + len(batch)
        kl += weight * torch.cat([latent.kl_cont, latent.kl_disc]).cpu().numpy().astype(kl.dtype)
        category_mean += weight * latent.category_mean.cpu().numpy().astype(kl.dtype)
        codes[begin:end] = params[:, spec.mean].float().cpu().numpy()
        for d, logits in enumerate(spec.logits):
            discrete[begin:end, d] = params[:, logits].argmax(dim=1).cpu().numpy()
        begin = end
    return Encoding(codes, discrete, kl, category_mean)


def evenly_spread(number: int, most: int) -> Tensor:
    """Indices of at most ``most`` of ``number`` items, at even distances: int64, ascending."""
    count = min(number, most)
    return torch.arange(count) * number // count


@torch.no_grad()  # a generator: between two batches its caller has its own mode
def encoded_batches(model: JointVAE, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of the images and their parameter rows (N, P), both on the model's device."""
    with evaluating(model):
        for batch in torch.split(images, AT_ONCE):
            batch = batch.to(model.device)
            yield batch, model.encode_params(batch)
