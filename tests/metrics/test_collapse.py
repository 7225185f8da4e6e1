"""A model that shows the mean image is told from one that has learned something."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import tiny_config, write_arrays
from torch.nn.functional import binary_cross_entropy

from fastjvae.data import load
from fastjvae.metrics.collapse import mean_image_loss
from fastjvae.metrics.evaluation import evaluate
from fastjvae.model import JointVAE


@pytest.mark.parametrize("images", [1, 7, 600])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_the_cross_entropy_of_the_mean_image(images: int, channels: int):
    generator = torch.Generator().manual_seed(images)
    x = torch.randint(0, 256, (images, channels, 4, 5), dtype=torch.uint8, generator=generator)
    pixels = x.double() / 255
    mean = pixels.mean(dim=0, keepdim=True).expand_as(pixels)
    summed = binary_cross_entropy(mean, pixels, reduction="sum").item() / images
    assert mean_image_loss(x, "sum") == pytest.approx(summed)
    assert mean_image_loss(x) == pytest.approx(summed / channels)
    assert mean_image_loss(pixels, "sum") == pytest.approx(summed)


def test_the_mean_of_transformed_images_tells_less():
    x = torch.zeros(200, 1, 16, 16, dtype=torch.uint8)
    x[:, :, 4:12, 6:10] = 255  # a bar, the same everywhere
    assert mean_image_loss(x) == 0
    losses = [mean_image_loss(x, augment=strength) for strength in (0.3, 1.0)]
    assert 5 < losses[0] < losses[1]


def test_pixels_that_never_change_cost_nothing():
    black_and_white = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 1, 2)
    assert mean_image_loss(black_and_white.expand(3, -1, -1, -1)) == 0


def test_a_model_that_reconstructs_has_not_collapsed(tmp_path: Path):
    config = tiny_config(write_arrays(tmp_path))
    data = load(config.source())
    evaluation = evaluate(JointVAE(data.img_size, config.spec), data)
    assert evaluation.collapsed  # nothing is learned yet
    learned = type(evaluation)(**{**vars(evaluation), "reconstruction": 1.0})
    assert not learned.collapsed
    assert "collapsed" not in learned.table()
