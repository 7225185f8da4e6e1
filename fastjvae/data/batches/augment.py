"""Random rotations, shears, scales and shifts of a batch, on its device."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fastjvae.functional import random_affine

NUMBERS = 6  # random numbers that an image takes
LARGEST = (
    0.35,  # radians of rotation, 20 degrees
    0.35,  # horizontal shear, columns a row
    0.2,  # of the width, by which it grows or shrinks
    0.2,  # of the height
    0.1,  # of the width, by which the image moves
    0.1,  # of the height
)


class RandomAffine:
    """Transforms every image in its own way; pixels are interpolated, the border goes on outwards.

    Args:
        strength: 1 for up to 20 degrees, a shear of 0.35, 20 % of the size and moves by 10 % of it;
            0 changes nothing.
        device, dtype: of the result. What the transformation needs there is copied once, here:
            no CUDA graph can hold a copy from the host.
        largest: of a strength of 1: rotation in radians, shear, and shares of width and height by
            which the image grows or shrinks and by which it moves.
    """

    def __init__(
        self,
        strength: float,
        device: torch.device,
        dtype: torch.dtype,
        largest: Sequence[float] = LARGEST,
    ) -> None:
        self._largest = strength * torch.tensor(largest, dtype=dtype, device=device)

    def __call__(self, images: Tensor, uniform: Tensor) -> Tensor:
        """Transform a batch.

        Args:
            images: (N, C, H, W) uint8 0..255 or floats.
            uniform: (N, 6) in [0, 1): rotation, shear, width, height, and moves along both.

        Returns:
            (N, C, H, W), dtype of the transformation; uint8 becomes 0..1.
        """
        return random_affine(images, uniform, self._largest)
