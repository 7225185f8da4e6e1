"""Groups of images that are likely to show the same thing: an image and some of its neighbours."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fastjvae.errors import ArgumentError

_SIDE = 16  # pixels that images are averaged to; finer ones are found no nearer, at a higher price
_DISTANCES = 2**24  # that are held at once


class Groups(NamedTuple):
    """Groups that batches are made of; their images follow one another."""

    size: int  # images of a group, at least 2
    # (N, k) int64, the nearest neighbours of each image, of which k >= size - 1; with k = 0 a group
    # is the same image again and again, to be transformed each in its own way.
    neighbours: Tensor


def nearest_neighbours(images: Tensor, number: int, device: torch.device | str = "cpu") -> Tensor:
    """The other images that are nearest to each, by the squared distance of their pixels.

    Images are averaged to at most 16 pixels a side first. Takes N^2 distances.

    Args:
        images: (N, C, H, W) uint8.
        number: of neighbours, 0 to N - 1.
        device: where to compare.

    Returns:
        (N, number) int64 on the CPU, the nearest first.

    Raises:
        ArgumentError: there are not as many other images.
    """
    count = len(images)
    if not 0 <= number < count:
        raise ArgumentError(
            f"{number} nearest neighbours need at least {number + 1} images, there are {count}"
        )
    if number == 0:
        return torch.empty(count, 0, dtype=torch.int64)
    rows = _rows(images).to(device)
    squares = rows.square().sum(dim=1)
    at_once = max(1, _DISTANCES // count)
    found = []
    for first in range(0, count, at_once):
        some = rows[first : first + at_once]
        # Less the square of the row itself, which changes no order.
        distances = torch.addmm(squares, some, rows.t(), alpha=-2)
        own = torch.arange(len(some), device=rows.device)
        distances[own, first + own] = torch.inf
        found.append(distances.topk(number, largest=False).indices.cpu())
    return torch.cat(found)


def _rows(images: Tensor) -> Tensor:
    """(N, D) float32, 0..1."""
    height, width = images.shape[2:]
    size = (min(height, _SIDE), min(width, _SIDE))
    parts = [
        F.adaptive_avg_pool2d(part.float() / 255, size).flatten(1)
        for part in torch.split(images, 4096)
    ]
    return torch.cat(parts)
