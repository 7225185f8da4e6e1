"""The standard encoder and decoder, and the sizes of images that they take."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from fastjvae._numbers import is_integer, shown
from fastjvae.errors import ArgumentError
from fastjvae.functional.latents import LatentSpec
from fastjvae.functional.weights import he_normal_
from fastjvae.model.chain import Networks, run_chain
from fastjvae.model.cpu_convolutions import channels_last

HIDDEN_DIM = 256
_MOST_WEIGHTS = 2**30  # 4 GiB of them
_FLATTEN, _RELU = nn.Flatten(), nn.ReLU()


class Encoder(nn.Module):
    """Images (N, C, H, W) in [0, 1] -> parameter rows (N, P) (paper appendix B).

    n convolutions of 4x4 and stride 2 (see :func:`num_convolutions`): 32 channels, the last two
    64; a hidden layer of 256; one linear head for all latent parameters.
    """

    networks: Networks = "modules"  # see JointVAE.use_networks

    def __init__(self, img_size: tuple[int, int, int], num_params: int) -> None:
        super().__init__()
        channels, height, width = img_size
        n = num_convolutions(height, width)
        self.features = _stack(nn.Conv2d, [channels, *[32] * (n - 2), 64, 64])
        self.features.append(nn.ReLU())
        self.hidden = nn.Linear(64 * (height >> n) * (width >> n), HIDDEN_DIM)
        self.head = nn.Linear(HIDDEN_DIM, num_params)

    def forward(self, images: Tensor) -> Tensor:
        return run_chain(self.chain(), channels_last(images), self.networks)

    def hidden_features(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] -> what the head reads, (N, 256)."""
        return run_chain(self.chain()[:-1], channels_last(images), self.networks)

    def chain(self) -> list[nn.Module]:
        """The layers and containers in their order; the last one is the head."""
        return [self.features, _FLATTEN, self.hidden, _RELU, self.head]


class Decoder(nn.Module):
    """Sample rows (N, L) -> logits of the pixels (N, C, H, W) (paper appendix B).

    The encoder's mirror: 32 channels in its hidden layers, 64 in the first one from n = 4 on.
    """

    networks: Networks = "modules"  # see JointVAE.use_networks

    def __init__(self, img_size: tuple[int, int, int], sample_dim: int) -> None:
        super().__init__()
        channels, height, width = img_size
        n = num_convolutions(height, width)
        self.shape = (64, height >> n, width >> n)
        hidden = [64 if n >= 4 else 32, *[32] * (n - 2)]
        self.latent_to_features = nn.Sequential(
            nn.Linear(sample_dim, HIDDEN_DIM),
            nn.ReLU(),
            nn.Linear(HIDDEN_DIM, 64 * (height >> n) * (width >> n)),
            nn.ReLU(),
        )
        self.features_to_image = _stack(nn.ConvTranspose2d, [64, *hidden, channels])
        self.to_images = nn.Unflatten(1, self.shape)

    def forward(self, sample: Tensor) -> Tensor:
        return run_chain(self.chain(), sample, self.networks)

    def chain(self) -> list[nn.Module]:
        """The layers and containers in their order."""
        return [self.latent_to_features, self.to_images, self.features_to_image]


def _stack(layer: type[nn.Conv2d] | type[nn.ConvTranspose2d], widths: list[int]) -> nn.Sequential:
    """4x4 layers of stride 2 with a ReLU between them."""
    modules: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        modules += [layer(inputs, outputs, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*modules[:-1])


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


@torch.no_grad()
def initialise_he(encoder: Encoder, spec: LatentSpec) -> None:
    """Draw the encoder's weights by :func:`he_normal_`, in place.

    They keep the size of the activations from layer to layer, where torch's own make them smaller:
    the categories then differ from image to image at once, and a few large steps do not push every
    ReLU of a layer below 0. The rows of the head for means and log variances stay as they are, near
    the prior.
    """
    kept = encoder.head.weight[: 2 * spec.cont].clone()
    for module in encoder.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            he_normal_(module)
    encoder.head.weight[: 2 * spec.cont] = kept
