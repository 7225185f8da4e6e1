"""The share of a picture that depends on each latent variable: total effects of the decoder."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fastjvae.errors import ArgumentError
from fastjvae.functional.checks import check_seed
from fastjvae.model.given import images_for
from fastjvae.model.latent_moves import Images, all_latents, decode, encode_row, prior_sample

if TYPE_CHECKING:
    from fastjvae.model import JointVAE

# For about two digits, in less time than the data set takes to be encoded.
_ROWS = 256
# What a variable tells that is worth a sentence where the decoder shows next to none of it: squares
# of 2 % are pixels that change a seventh as much as when everything is redrawn.
TELLING_NATS = 0.1
LEAST_EFFECT = 0.02
_AT_ONCE = 64


class Effects(NamedTuple):
    """The effect of each variable on the decoded image, from 0 for none; NaN of no number."""

    cont: list[float]  # (Z,)
    disc: list[float]  # (D,)


def effect_on_images(model: JointVAE, images: Any, *, seed: int = 0) -> Effects:
    """The share of the decoded image that depends on each variable.

    It is the mean squared change of the pixels when the variable alone is redrawn from its prior,
    as a share of that when all variables are:

        effect_i = E |f(s with s_i redrawn) - f(s)|^2 / E |f(redrawn) - f(s)|^2

    f decodes a sample row s of an image, its means and most probable categories. The others stay
    at what the encoder says of real images, among which are no combinations that the model never
    meets; the variable is redrawn from the prior, as where pictures are made or traversed. Where
    the codes of the images are distributed as the prior this is the total effect of Sobol's
    indices, by the estimator of Jansen (1999).

    Squares add up: the effects of a decoder that adds up what its variables draw sum to 1. They
    sum to more where variables act together, such as the size and the place of a figure.
    A variable that the decoder ignores has 0, whatever its KL says of the encoder.

    >>> from fastjvae import JointVAE
    >>> model = JointVAE(img_size=(1, 32, 32), latent_spec={"cont": 2, "disc": [10, 3]})
    >>> effects = effect_on_images(model, torch.rand(8, 1, 32, 32))
    >>> len(effects.cont), len(effects.disc)
    (2, 2)

    Args:
        model: used in evaluation mode; its own mode is restored.
        images: at least one, as :func:`fastjvae.metrics.encode` takes them. 256 rows are made of
            them: of images at even distances, of each several times where there are fewer.
        seed: of what is redrawn, from 0 to 2^31 - 1; the same on every device.

    Returns:
        :class:`Effects`; NaN where no variable changes the image or an image is not finite.

    Raises:
        ArgumentError: there is no image, or the model takes others.
        DataError: the images have another form.
    """
    check_seed(seed)
    images = images_for(model, images)
    if not len(images):
        raise ArgumentError(f"there must be at least 1 image, got shape {tuple(images.shape)}")
    chosen = (torch.arange(_ROWS) * len(images) // _ROWS).to(images.device)
    rows = [encode_row(model, images[some]) for some in torch.split(chosen, _AT_ONCE)]
    return _effects(model, torch.cat(rows), prior_sample(model.spec, _ROWS, seed))


def effect_on_samples(model: JointVAE, *, seed: int = 0) -> Effects:
    """The share of the decoded image that depends on each variable, without any image.

    It is :func:`effect_on_images` with the rows s drawn from the prior too: Sobol's total effects.

    >>> from fastjvae import JointVAE
    >>> model = JointVAE(img_size=(1, 32, 32), latent_spec={"cont": 2, "disc": [10, 3]})
    >>> effects = effect_on_samples(model)
    >>> len(effects.cont), len(effects.disc)
    (2, 2)

    Args:
        model: used in evaluation mode; its own mode is restored.
        seed: of the draws, from 0 to 2^31 - 1; the same on every device.

    Returns:
        :class:`Effects`; NaN where no variable changes the image or an image is not finite.
    """
    check_seed(seed)
    drawn = prior_sample(model.spec, 2 * _ROWS, seed)
    return _effects(model, drawn[:_ROWS], drawn[_ROWS:])


def _effects(model: JointVAE, samples: Tensor, redrawn: Tensor) -> Effects:
    """The effects from sample rows (n, L) and those that their variables are redrawn from."""
    spec = model.spec
    latents = all_latents(spec)
    changes = [0.0] * len(latents)
    change_of_all = 0.0
    pairs = zip(torch.split(samples, _AT_ONCE), torch.split(redrawn, _AT_ONCE), strict=True)
    for sample, other in pairs:
        base = decode(model, sample)
        change_of_all += _squared_change(decode(model, other), base)
        for number, latent in enumerate(latents):
            place = latent.place(spec)
            moved = sample.clone()
            moved[:, place] = other[:, place]
            changes[number] += _squared_change(decode(model, moved), base)
    effects = [change / change_of_all if change_of_all else math.nan for change in changes]
    return Effects(effects[: spec.cont], effects[spec.cont :])


def is_without_effect(kl: float, effect: float | None) -> bool:
    """Whether a variable of so many nats tells of an image and the decoder shows none of it."""
    return effect is not None and kl > TELLING_NATS and effect < LEAST_EFFECT


def percent(effect: float) -> str:
    """An effect as text.

    >>> percent(0.1234), percent(float("nan"))
    ('12.3%', 'n/a')
    """
    return "n/a" if math.isnan(effect) else f"{100 * effect:.1f}%"


def _squared_change(images: Images, base: Images) -> float:
    return float(np.square(images.astype(np.float64) - base).sum())
