"""The sizes of images that the standard networks take."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fastjvae import Capacity, JointObjective, JointVAE
from fastjvae.errors import ArgumentError
from fastjvae.model.networks import num_convolutions

SPEC = {"cont": 5, "disc": [10, 4]}


def _widths(stack: nn.Sequential) -> list[int]:
    return [layer.out_channels for layer in stack if hasattr(layer, "out_channels")]


@pytest.mark.parametrize(
    ("size", "n"),
    [
        ((32, 32), 3),
        ((64, 64), 4),
        ((28, 28), 2),
        ((48, 48), 3),
        ((96, 96), 4),
        ((128, 128), 5),
        ((32, 64), 3),
        ((16, 16), 2),
        ((36, 20), 2),
    ],
)
def test_depth_follows_the_size(size: tuple[int, int], n: int):
    assert num_convolutions(*size) == n


@pytest.mark.parametrize(
    "size", [(1, 28, 28), (3, 48, 48), (1, 96, 96), (3, 128, 128), (2, 32, 64), (4, 20, 36)]
)
def test_every_size_that_fits_trains(size: tuple[int, int, int]):
    model = JointVAE(size, SPEC)
    x = torch.rand(2, *size)
    reconstruction, latent_dist = model(x)
    assert reconstruction.shape == x.shape
    assert reconstruction.is_contiguous()
    assert 0 <= float(reconstruction.detach().min()) <= float(reconstruction.detach().max()) <= 1
    assert [tuple(p.shape) for p in latent_dist["cont"]] == [(2, 5), (2, 5)]
    assert [tuple(p.shape) for p in latent_dist["disc"]] == [(2, 10), (2, 4)]
    model.loss(x, step=1).loss.backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    ("side", "encoder", "decoder"),
    [
        (28, [64, 64], [32, 1]),
        (32, [32, 64, 64], [32, 32, 1]),
        (64, [32, 32, 64, 64], [64, 32, 32, 1]),
        (128, [32, 32, 32, 64, 64], [64, 32, 32, 32, 1]),
    ],
)
def test_channels_of_appendix_b_and_their_extension(
    side: int, encoder: list[int], decoder: list[int]
):
    model = JointVAE((1, side, side), SPEC)
    assert _widths(model.encoder.features) == encoder
    assert _widths(model.decoder.features_to_image) == decoder


@pytest.mark.parametrize(
    ("size", "nearest"),
    [((30, 30), "28x28 and 32x32"), ((8, 8), "16x16"), ((33, 64), "32x64 and 36x64")],
)
def test_sizes_that_do_not_fit_name_those_that_do(size: tuple[int, int], nearest: str):
    with pytest.raises(ArgumentError, match=f"{size[0]}x{size[1]} do not fit .*{nearest}$"):
        JointVAE((1, *size), SPEC)


@pytest.mark.parametrize("img_size", [(32, 32), (1, 32, 0), "132", 32, (1.0, 32, 32)])
def test_img_size_must_be_three_sizes(img_size: object):
    with pytest.raises(ArgumentError, match="channels, height, width"):
        JointVAE(img_size, SPEC)  # type: ignore[arg-type]


def test_numpy_sizes_are_sizes():
    spec = {"cont": np.int64(3), "disc": [np.int32(4)]}
    model = JointVAE((np.int64(1), 16, 16), spec)
    out = model.loss(torch.rand(2, 1, 16, 16), np.int64(1), JointObjective(
        Capacity(np.float32(0), 5, np.int64(10), 1.0), Capacity(0, 5, 10, np.float64(1.0))
    ))  # fmt: skip
    assert out.kl_cont.shape == (3,)
    assert json.dumps(model.spec.to_dict()) == '{"cont": 3, "disc": [4]}'


@pytest.mark.parametrize(
    ("size", "spec"),
    [
        ((1, 100_000, 100_000), {"cont": 2}),
        ((1, 4100, 4100), {"cont": 2}),
        ((1, 32, 32), {"cont": 10**9}),
        ((1, 32, 32), {"disc": [10**400]}),
        ((10**9, 32, 32), {"cont": 2}),
    ],
)
def test_networks_that_no_memory_holds_are_refused_before_they_take_it(size: Any, spec: Any):
    with pytest.raises(ArgumentError, match=r"would have .* weights, at most 1073741824") as error:
        JointVAE(size, spec)
    assert len(str(error.value)) < 400
