"""Images above their reconstructions (paper fig. 4)."""

import math
from typing import Any

from torch import Tensor

from fastjvae.errors import ArgumentError
from fastjvae.figures.image_grid import Block, image_grid, in_rows, input_images
from fastjvae.figures.labels import check_counts, full_title, shown_of
from fastjvae.figures.page import Figure
from fastjvae.model import JointVAE
from fastjvae.model.encoding import evenly_spread
from fastjvae.model.given import images_for
from fastjvae.model.latent_moves import decode, encode_row

_LONGEST_ROW = 10


def reconstructions(
    model: JointVAE,
    images: Any,
    *,
    title: str | None = None,
    max_images: int = 32,
) -> Figure:
    """Images above their reconstructions from means and one-hot categories.

    Args:
        model: used in evaluation mode, as in every figure here; its own mode is restored.
        images: in any form that :func:`fastjvae.fit` takes: (N, C, H, W), (N, H, W, C) or, grey,
            (N, H, W), uint8 0..255 or floats 0..1, torch or numpy; or PIL images.
            Of more than ``max_images`` those at equal distances are shown: a data set may be
            sorted.
        title: above the figure; remarks such as "32 of 100 images" are added to it.
        max_images: at least 1.

    Raises:
        ArgumentError: there are no images, or they are not of the model's size.
        DataError: the images have another form.
    """
    check_counts(max_images=max_images)
    images = images_for(model, images)
    if len(images) == 0:
        raise ArgumentError("reconstructions need at least one image, got none")
    shown = spread(images, max_images)
    columns = math.ceil(len(shown) / math.ceil(len(shown) / _LONGEST_ROW))
    blocks = pairs_of_rows(model, shown, columns, "input")
    return image_grid(blocks, full_title(title, shown_of(len(shown), len(images), "images")))


def spread(images: Tensor, count: int) -> Tensor:
    """At most so many of the images (N, ...), at equal distances from the first on."""
    return images[evenly_spread(len(images), count)]


def pairs_of_rows(model: JointVAE, images: Tensor, columns: int, name: str) -> list[Block]:
    """Rows of images, by that name, above rows of their reconstructions."""
    above = in_rows(input_images(model, images), columns)
    below = in_rows(decode(model, encode_row(model, images)), columns)
    return [Block(pair, [name, "reconstruction"]) for pair in zip(above, below, strict=True)]
