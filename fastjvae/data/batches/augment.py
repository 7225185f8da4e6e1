"""Random rotations, shears, scales and shifts of a batch, on its device."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

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
        device, dtype: of the images. What the transformation needs there is copied once, here:
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
            images: (N, C, H, W) floats.
            uniform: (N, 6) in [0, 1): rotation, shear, width, height, and moves along both.

        Returns:
            (N, C, H, W), dtype and range of the images.
        """
        turn, shear, width, height, right, down = (
            (2 * uniform.to(images.dtype) - 1) * self._largest
        ).unbind(dim=1)
        cos, sin = turn.cos(), turn.sin()
        # What a pixel of the result takes its value from, in units of half a side.
        across = [(1 + width) * cos, (1 + width) * (shear * cos - sin), 2 * right]
        along = [(1 + height) * sin, (1 + height) * (cos + shear * sin), 2 * down]
        matrix = torch.stack([torch.stack(across, dim=1), torch.stack(along, dim=1)], dim=1)
        grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
