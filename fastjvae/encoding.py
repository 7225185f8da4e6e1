"""A whole data set through the encoder: deterministic codes, categories and the KL of each unit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastjvae import functional
from fastjvae.model import JointVAE

_BATCH = 512


class Encoding(NamedTuple):
    """What a model makes of M images."""

    codes: NDArray[np.float32]  # (M, Z), the means
    discrete: NDArray[np.int64]  # (M, D), the most probable category of each variable, ties: first
    kl: NDArray[np.float64]  # (Z + D,), nats, mean over the images
    category_mean: NDArray[np.float64]  # (sum K,), mean probability of each category


@torch.no_grad()
def encode(
    model: JointVAE, images: Tensor, each: Callable[[Tensor, Tensor], None] | None = None
) -> Encoding:
    """Encode every image once, in evaluation mode.

    >>> from fastjvae import JointVAE
    >>> model = JointVAE(img_size=(1, 32, 32), latent_spec={"cont": 2, "disc": [10, 3]})
    >>> encoding = encode(model, torch.rand(8, 1, 32, 32))
    >>> encoding.codes.shape, encoding.discrete.shape, encoding.kl.shape
    ((8, 2), (8, 2), (4,))

    Args:
        model: its mode is restored.
        images: (M, C, H, W) with M >= 1, uint8 0..255 or floats 0..1, on any device.
        each: called for every batch with its images, on the model's device, and its evaluation
            sample (N, L), such as to decode it.
    """
    codes, discrete, kl, category_mean = [], [], [], []
    for batch, params in encoded_batches(model, images):
        latent = functional.joint_latent(params, model.spec, model.temperature, training=False)
        if each is not None:
            each(batch, latent.sample)
        weight = len(batch) / len(images)
        kl.append(weight * torch.cat([latent.kl_cont, latent.kl_disc]).double())
        category_mean.append(weight * latent.category_mean.double())
        codes.append(params[:, model.spec.mean].float())
        discrete.append(
            torch.stack([params[:, logits].argmax(dim=1) for logits in model.spec.logits], dim=1)
            if model.spec.disc
            else torch.zeros(len(batch), 0, dtype=torch.int64)
        )
    return Encoding(
        codes=torch.cat(codes).cpu().numpy(),
        discrete=torch.cat(discrete).cpu().numpy(),
        kl=torch.stack(kl).sum(dim=0).cpu().numpy(),
        category_mean=torch.stack(category_mean).sum(dim=0).cpu().numpy(),
    )


@torch.no_grad()
def encoded_batches(model: JointVAE, images: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of the images and their parameter rows (N, P), both on the model's device."""
    with _evaluating(model):
        for batch in torch.split(images, _BATCH):
            batch = batch.to(model.device)
            yield batch, model.encode_params(batch)


@contextmanager
def _evaluating(model: JointVAE) -> Iterator[None]:
    """Evaluation mode; afterwards every module is in its own mode again."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
