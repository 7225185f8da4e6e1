"""Networks of one's own, as a user's module has them; tests import them by this module's name."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Encoder(nn.Module):
    """Has a buffer that training changes, and convolutions."""

    def __init__(self, img_size: tuple[int, int, int], num_params: int, width: int = 4) -> None:
        super().__init__()
        channels, height, columns = img_size
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 4, stride=4), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten()
        )
        self.last = nn.Linear(width * (height // 4) * (columns // 4), num_params)

    def forward(self, images: Tensor) -> Tensor:
        rows: Tensor = self.last(self.features(images))
        return rows


class HeadedEncoder(Encoder):
    """Tells what its head reads."""

    def __init__(self, img_size: tuple[int, int, int], num_params: int, width: int = 4) -> None:
        super().__init__(img_size, 12, width)
        self.head = nn.Linear(12, num_params)

    def hidden_features(self, images: Tensor) -> Tensor:
        return super().forward(images).relu()

    def forward(self, images: Tensor) -> Tensor:
        rows: Tensor = self.head(self.hidden_features(images))
        return rows


class Decoder(nn.Module):
    def __init__(self, img_size: tuple[int, int, int], sample_dim: int, width: int = 8) -> None:
        super().__init__()
        channels, height, columns = img_size
        self.layers = nn.Sequential(
            nn.Linear(sample_dim, width * (height // 4) * (columns // 4)),
            nn.ReLU(),
            nn.Unflatten(1, (width, height // 4, columns // 4)),
            nn.ConvTranspose2d(width, channels, 4, stride=4),
        )

    def forward(self, sample: Tensor) -> Tensor:
        logits: Tensor = self.layers(sample)
        return logits


class ByViews(nn.Module):
    """An encoder that takes its features for contiguous."""

    def __init__(self, img_size: tuple[int, int, int], num_params: int) -> None:
        super().__init__()
        channels, height, columns = img_size
        self.features = nn.Conv2d(channels, 3, 4, stride=4)
        self.last = nn.Linear(3 * (height // 4) * (columns // 4), num_params)

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)
        rows: Tensor = self.last(features.view(len(features), self.last.in_features))
        return rows


class Fixed(nn.Module):
    """Knows its sizes itself, and takes none."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(256, 8)

    def forward(self, images: Tensor) -> Tensor:
        rows: Tensor = self.last(images.flatten(1))
        return rows


class Narrow(Fixed):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images)[:, :-1]


class Pair(Fixed):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        rows = super().forward(images)
        return rows, rows


class HeadOfNothing(Encoder):
    def hidden_features(self, images: Tensor) -> Tensor:
        return self.features(images)  # type: ignore[no-any-return]


class Fails(Fixed):
    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError("no luck. Not today")


def not_a_class() -> nn.Module:
    return Fixed()


NUMBER = torch.zeros(())
