"""The codes of trained models that UDR compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import tiny_config, write_arrays

from fastjvae import JointVAE
from fastjvae.data import load as load_data
from fastjvae.metrics.evaluation import evaluate
from fastjvae.metrics.udr_of_models import comparable_units


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


def _untrained(spec: dict[str, Any], scale: float = 1.0) -> JointVAE:
    model = JointVAE((1, 16, 16), spec)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.mul_(scale)
    return model.eval()


def test_units_are_means_and_category_probabilities(data: Path):
    images = load_data(tiny_config(data).source())
    model = _untrained({"cont": 2, "disc": [4, 3]}, scale=3.0)
    codes, nats = comparable_units(model, images.images)
    with torch.no_grad():
        latents = model.encode(images.images)
    expected = torch.cat([latents["cont"][0], *latents["disc"]], dim=1)
    np.testing.assert_allclose(codes, expected.numpy(), rtol=1e-5, atol=1e-6)
    evaluation = evaluate(model, images)
    assert nats[:2] == pytest.approx(evaluation.kl_cont, rel=1e-5)
    for variable, shares in zip(evaluation.variables, (nats[2:6], nats[6:]), strict=True):
        assert (shares > -1e-12).all()
        assert shares.sum() == pytest.approx(variable.information, abs=1e-5)


def test_a_variable_that_says_the_same_of_every_image_carries_nothing(data: Path):
    images = load_data(tiny_config(data).source()).images
    model = _untrained({"disc": [4]}, scale=0.0)  # the same logits for all
    _, nats = comparable_units(model, images)
    assert np.abs(nats).max() < 1e-12
