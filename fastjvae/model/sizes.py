"""The sizes of images that the standard networks take, and of the networks that they make."""

from __future__ import annotations

from collections.abc import Sequence

from fastjvae._numbers import is_integer, shown
from fastjvae.errors import ArgumentError
from fastjvae.functional.latents import LatentSpec

HIDDEN_DIM = 256
_MOST_WEIGHTS = 2**30  # 4 GiB of them


def checked_img_size(img_size: Sequence[int]) -> tuple[int, int, int]:
    """(C, H, W) as integers; ArgumentError unless it can be the size of an image."""
    sizes = tuple(img_size) if isinstance(img_size, Sequence) else ()
    if len(sizes) != 3 or not all(is_integer(size) and 1 <= size < 2**31 for size in sizes):
        raise ArgumentError(
            f"img_size is (channels, height, width) in pixels such as (1, 32, 32),"
            f" got {shown(img_size)}"
        )
    channels, height, width = map(int, sizes)
    return channels, height, width


def check_networks(
    img_size: tuple[int, int, int], spec: LatentSpec, has_encoder: bool, has_decoder: bool
) -> None:
    """Refuse standard networks that no machine has the memory for, before they take it.

    Raises:
        ArgumentError: the networks do not fit the images, or are too large.
    """
    channels, height, width = img_size
    if not (has_encoder or has_decoder):
        return
    n = num_convolutions(height, width)
    features = 64 * (height >> n) * (width >> n)
    rows = has_encoder * spec.num_params + has_decoder * spec.sample_dim
    weights = HIDDEN_DIM * (features * (has_encoder + has_decoder) + rows) + 512 * channels
    if weights > _MOST_WEIGHTS:
        raise ArgumentError(
            f"the networks for images of {height}x{width} and {shown(spec.to_dict())} would have"
            f" {shown(weights)} weights, at most {_MOST_WEIGHTS} are possible: sides that are"
            f" divisible by a larger power of 2 need fewer"
        )


def num_convolutions(height: int, width: int) -> int:
    """Return n, the largest integer with both sides divisible by 2^n and at least 4 * 2^n long.

    >>> num_convolutions(32, 32), num_convolutions(64, 64), num_convolutions(28, 28)
    (3, 4, 2)

    Raises:
        ArgumentError: n would be below 2; the message names the nearest sizes that fit.
    """
    n = 0
    while height % 2 ** (n + 1) == width % 2 ** (n + 1) == 0 and min(height, width) >= 8 * 2**n:
        n += 1
    if n < 2:
        below = [max(16, side // 4 * 4) for side in (height, width)]
        above = [max(16, -(-side // 4) * 4) for side in (height, width)]
        nearest = " and ".join(dict.fromkeys(f"{h}x{w}" for h, w in (below, above)))
        raise ArgumentError(
            f"images of {height}x{width} do not fit the standard networks, whose sides must be"
            f" divisible by 4 and at least 16 pixels; the nearest that fit: {nearest}"
        )
    return n
