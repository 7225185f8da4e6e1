"""Editing images by their latent variables: encode, change some, decode (paper fig. 8b)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastjvae.data.pictures import channels_first, open_picture
from fastjvae.data.prepare import fit
from fastjvae.errors import ArgumentError
from fastjvae.model.evaluating import evaluating
from fastjvae.model.jointvae import JointVAE
from fastjvae.model.latent_moves import change, encode_row


def read_picture(path: str | Path, img_size: tuple[int, int, int]) -> Tensor:
    """Read one picture file in the form that a model takes.

    It is cropped around its centre to the model's aspect, resized by PIL bilinear and made grey or
    RGB, as training on a folder of pictures does.

    Args:
        path: BMP, GIF, JPEG, PNG, PPM, TIFF or WEBP, of at most 2^26 pixels.
        img_size: (C, H, W) of the model, C 1 or 3.

    Returns:
        (1, C, H, W) uint8.

    Raises:
        DataError: the file is missing or no picture, or a larger one.
        ArgumentError: the model is of images that are neither grey nor RGB.
    """
    channels, height, width = img_size
    if channels not in (1, 3):
        raise ArgumentError(
            f"a model of pictures has images of 1 channel (grey) or 3 (RGB), these have {channels}"
        )
    picture = open_picture(Path(path), str(path), hint=": make it smaller")
    picture = picture.convert("L" if channels == 1 else "RGB")
    return torch.from_numpy(channels_first(fit(picture, (height, width))).copy())[None]


def edit(
    model: JointVAE,
    images: Any,
    *,
    units: Mapping[int, float] | None = None,
    categories: Mapping[int, int] | None = None,
) -> Tensor:
    """Encode images, set some latent variables, and decode.

    >>> from fastjvae import JointVAE
    >>> model = JointVAE(img_size=(1, 32, 32), latent_spec={"cont": 10, "disc": [10]})
    >>> edit(model, torch.rand(8, 1, 32, 32), units={3: 1.5}, categories={0: 2}).shape
    torch.Size([8, 1, 32, 32])

    Args:
        model: used in evaluation mode; its own mode is restored.
        images: in any form that :func:`fastjvae.fit` takes: (N, C, H, W), (N, H, W, C) or, grey,
            (N, H, W), uint8 0..255 or floats 0..1, torch or numpy; or PIL images.
        units: new values of continuous units, in standard deviations of their prior.
        categories: new categories of discrete variables.

    Returns:
        (N, C, H, W) in [0, 1], on the model's device. With nothing set, the reconstruction.

    Raises:
        ArgumentError: the model has no such unit, variable or category, or takes other images.
        DataError: the images have another form.
    """
    rows = change(encode_row(model, images), model.spec, units, categories)
    with evaluating(model):
        return model.decode(rows.to(model.device, model.dtype))
