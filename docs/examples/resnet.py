"""A residual encoder and decoder for images of any size whose sides are 2^n or k 2^n pixels.

    fastjvae train sprites --encoder resnet:ResNetEncoder --encoder-args '{"width": 16}' \
        --decoder resnet:ResNetDecoder --decoder-args '{"width": 16}'

in this folder, or anywhere with it on PYTHONPATH. Every stage halves the sides, down to 4 to 7
pixels: 64x64 has four stages and 128x128 five.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn


class Block(nn.Module):
    """Features (N, C, H, W) plus what two convolutions make of them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        added: Tensor = self.layers(features)
        return features + added


class ResNetEncoder(nn.Module):
    """Images (N, C, H, W) in [0, 1] -> parameter rows (N, num_params).

    Args:
        img_size: (C, H, W), which fastjvae gives.
        num_params: which fastjvae gives.
        width: channels of the first stage; the second has twice and the others four times as many.
        blocks: residual blocks of a stage.
        hidden: features that the head reads.
    """

    def __init__(
        self,
        img_size: tuple[int, int, int],
        num_params: int,
        width: int = 32,
        blocks: int = 1,
        hidden: int = 256,
    ) -> None:
        super().__init__()
        channels, height, columns = img_size
        widths = stage_widths(height, columns, width)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([channels, *widths]):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)]
            layers += [Block(outputs) for _ in range(blocks)]
        n = len(widths)
        self.features = nn.Sequential(
            *layers,
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(widths[-1] * (height >> n) * (columns >> n), hidden),
            nn.ReLU(),
        )
        self.head = nn.Linear(hidden, num_params)

    def hidden_features(self, images: Tensor) -> Tensor:
        """What the head reads, (N, hidden): with it recipes that fit heads anew can be trained."""
        features: Tensor = self.features(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        rows: Tensor = self.head(self.hidden_features(images))
        return rows


class ResNetDecoder(nn.Module):
    """Sample rows (N, sample_dim) -> logits of the pixels (N, C, H, W); the encoder's mirror."""

    def __init__(
        self,
        img_size: tuple[int, int, int],
        sample_dim: int,
        width: int = 32,
        blocks: int = 1,
        hidden: int = 256,
    ) -> None:
        super().__init__()
        channels, height, columns = img_size
        widths = stage_widths(height, columns, width)[::-1]
        n = len(widths)
        first = (widths[0], height >> n, columns >> n)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise([*widths, channels]):
            layers += [Block(inputs) for _ in range(blocks)]
            layers += [nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)]
        self.layers = nn.Sequential(
            nn.Linear(sample_dim, hidden),
            nn.ReLU(),
            nn.Linear(hidden, first[0] * first[1] * first[2]),
            nn.Unflatten(1, first),
            *layers,
        )

    def forward(self, sample: Tensor) -> Tensor:
        logits: Tensor = self.layers(sample)
        return logits


def stage_widths(height: int, columns: int, width: int) -> list[int]:
    """Channels of each stage: there are as many as halve both sides to 4 to 7 pixels.

    >>> stage_widths(64, 64, 32), stage_widths(128, 128, 16)
    ([32, 64, 128, 128], [16, 32, 64, 64, 64])
    """
    n = 0
    while height % 2 ** (n + 1) == columns % 2 ** (n + 1) == 0 and min(height, columns) >> n >= 8:
        n += 1
    if not n:
        raise ValueError(f"sides must be even and at least 8 pixels, got {height}x{columns}")
    return [width * min(2**stage, 4) for stage in range(n)]
