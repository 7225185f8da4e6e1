"""The embedded default: scikit-learn's 1,797 handwritten digits, there without any download."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from fastjvae.data.prepare import fit_images
from fastjvae.data.source import SIZES, DataSource, ImageData


def find(source: DataSource) -> list[Path]:
    """No files: the digits are part of scikit-learn."""
    return []


def prepare(source: DataSource, files: Sequence[Path]) -> ImageData:
    """8 x 8 digits with values 0..16, as 0..255 and resized to 32 x 32 by PIL bilinear.

    Every sixth image (300 of them) is the test split, the other 1,497 are the train split.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    in_test = np.arange(len(digits.target)) % 6 == 0
    chosen = in_test if source.split == "test" else ~in_test
    pixels = np.rint(digits.images[chosen] * (255 / 16)).astype(np.uint8)
    size = source.image_size or SIZES[source.name]
    return ImageData(
        name=f"digits/{source.split}",
        images=torch.from_numpy(fit_images(pixels[:, None], size)),
        labels=torch.from_numpy(digits.target[chosen].astype(np.int64)),
        label_names=tuple("0123456789"),
    )
