"""The units of an encoder that no image turns on are counted."""

from __future__ import annotations

import pytest
import torch

from benchmarks.experiments.silent_units import silent_shares
from fastjvae import JointVAE


def _model() -> JointVAE:
    torch.manual_seed(0)
    return JointVAE((1, 32, 32), {"cont": 2, "disc": [3]})


def test_a_layer_below_0_is_silent_and_those_behind_it_are_constant():
    model, images = _model(), torch.randint(0, 256, (50, 1, 32, 32), dtype=torch.uint8)
    alive = silent_shares(model, images)
    assert len(alive) == 4  # three convolutions and the hidden layer
    assert all(share < 0.9 for share in alive)
    with torch.no_grad():
        model.encoder.features[2].bias.fill_(-1e6)
    first, second, third, _ = silent_shares(model, images)
    assert (first, second) == (alive[0], 1.0)
    # Behind it there is nothing but the biases.
    assert third == pytest.approx((model.encoder.features[4].bias < 0).float().mean().item())


def test_units_that_a_single_image_turns_on_are_not_silent():
    model = _model()
    with torch.no_grad():
        for parameter in model.encoder.features.parameters():
            parameter.fill_(1.0)
        model.encoder.features[0].bias.fill_(-1.0)
    images = torch.zeros((20, 1, 32, 32), dtype=torch.uint8)
    assert silent_shares(model, images)[0] == 1.0
    images[13, :, :16] = 255  # rows 0 to 15: a window of 4 rows and stride 2 sees them 9 times
    assert silent_shares(model, images)[0] == pytest.approx(1 - 9 / 16)
