"""The likelihood of a model: its settings, its range, what is saved of it and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fastjvae import (
    BetaObjective,
    BetaTCObjective,
    Capacity,
    CCBetaObjective,
    FactorObjective,
    JointObjective,
    JointVAE,
    SharedObjective,
    functional,
    load,
)
from fastjvae.errors import ArgumentError, CheckpointError
from fastjvae.figures.image_grid import input_images
from fastjvae.model import edit, export
from fastjvae.model.latent_moves import decode
from fastjvae.model.likelihood import ROUNDING

SIZE, SPEC = (1, 16, 16), {"cont": 2, "disc": [3]}


def model(**options: Any) -> JointVAE:
    torch.manual_seed(0)
    options = {"likelihood": "gaussian", "value_range": (-1.0, 3.0), **options}
    return JointVAE(SIZE, SPEC, **options)


def images(rows: int = 4) -> Tensor:
    return 4 * torch.rand(rows, *SIZE, generator=torch.Generator().manual_seed(1)) - 1


def test_a_bernoulli_has_no_parameter_of_it():
    plain = JointVAE(SIZE, SPEC)
    assert (plain.likelihood, plain.gaussian, plain.standard_deviation) == ("bernoulli", None, None)
    assert "log_scale" not in plain.state_dict()
    fixed = model(scale=0.5)
    assert plain.state_dict().keys() == fixed.state_dict().keys()
    assert fixed.standard_deviation == pytest.approx(0.5)
    assert model(scale="learned").state_dict().keys() - plain.state_dict().keys() == {"log_scale"}


def test_images_and_reconstructions_lie_in_the_value_range():
    ours = model().eval()
    found, _ = ours(images())
    assert float(found.detach().mean()) == pytest.approx(
        1.0, abs=0.3
    )  # the middle: logits begin near 0
    assert torch.allclose(found, ours.decode(ours.reparameterize(ours.encode(images()))))
    with torch.no_grad():
        for p in ours.decoder.parameters():
            p.mul_(50)
        extremes = ours.sample(20)
    assert -1 <= extremes.min() < -0.9
    assert 2.9 < extremes.max() <= 3


def test_the_encoder_sees_the_same_of_every_range():
    bytes_ = torch.randint(0, 256, (4, *SIZE), dtype=torch.uint8)
    plain = JointVAE(SIZE, SPEC)
    ours = model()
    ours.load_state_dict(plain.state_dict())
    rows = plain.encode_params(bytes_)
    assert torch.equal(ours.encode_params(bytes_), rows)
    assert torch.allclose(ours.encode_params(4 * (bytes_ / 255) - 1), rows, atol=1e-6)


def test_pictures_are_shown_in_0_to_1():
    ours = model().eval()
    sample = ours.prior_sample(3, torch.Generator().manual_seed(0))
    shown = decode(ours, sample)
    np.testing.assert_allclose(4 * shown - 1, ours.decode(sample).detach(), atol=1e-6)
    np.testing.assert_allclose(4 * input_images(ours, images()) - 1, images(), atol=1e-6)
    assert edit(ours, images()).max() > 1


@pytest.mark.parametrize("scale", [0.5, "learned"])
@pytest.mark.parametrize(
    "objective",
    [
        JointObjective(Capacity(0, 5, 9, 3), Capacity(0, 1, 9, 3)),
        JointObjective(Capacity(0, 5, 9, 3), Capacity(0, 1, 9, 3), drawn_gamma=1.0),
        BetaObjective(),
        CCBetaObjective(Capacity(0, 5, 9, 3)),
        BetaTCObjective(),
        FactorObjective(SPEC, layers=1, width=8),
        SharedObjective(
            SPEC, cont=Capacity(0, 5, 9, 3), disc=Capacity(0, 1, 9, 3), group=2, overclusters=6
        ),
    ],
    ids=lambda o: type(o).__name__,
)
def test_every_objective_has_its_density_as_reconstruction(objective: Any, scale: float | str):
    ours, x = model(scale=scale).eval(), images()
    out = ours.loss(x, 3, objective)
    rows = functional.latent_sample(ours.encode_params(x), ours.spec, 0.67, training=False)
    mean = ours.decode(rows)
    normal = torch.distributions.Normal(mean, ours.standard_deviation)
    right = -normal.log_prob(x).sum() / len(x)
    assert torch.allclose(out.reconstruction, right, rtol=1e-5)
    out.loss.backward()
    assert (ours.log_scale is not None) == (scale == "learned")
    if ours.log_scale is not None:
        assert ours.log_scale.grad is not None
        assert ours.log_scale.grad.isfinite()


def test_bytes_and_floats_have_one_loss():
    ours = model()
    bytes_ = torch.randint(0, 256, (4, *SIZE), dtype=torch.uint8)
    objective = BetaObjective()
    one, other = (ours.loss(x, 1, objective, seed=1).loss for x in (bytes_, 4 * (bytes_ / 255) - 1))
    assert torch.allclose(one, other, rtol=1e-5)


def test_a_learned_scale_has_a_floor():
    ours = model(scale="learned")
    assert ours.log_scale is not None
    assert ours.standard_deviation == pytest.approx(0.4, rel=1e-3)
    for far in (-100.0, -1e30):
        with torch.no_grad():
            ours.log_scale.fill_(far)
        assert ours.standard_deviation == pytest.approx(4 * ROUNDING)
        assert ours.loss(images(), 1, BetaObjective()).loss.isfinite()


def test_a_learned_scale_follows_the_error():
    """With the networks as they are, the best scale is the root of the mean squared error."""
    ours = model(scale="learned").eval()
    assert ours.log_scale is not None
    optimizer = torch.optim.Adam([ours.log_scale], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        ours.loss(images(), 1, BetaObjective()).loss.backward()
        optimizer.step()
    rows = functional.latent_sample(ours.encode_params(images()), ours.spec, 0.67, training=False)
    error = (ours.decode(rows).detach() - images()).square().mean().sqrt()
    assert ours.standard_deviation == pytest.approx(float(error), rel=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"likelihood": "poisson"}, "must be 'bernoulli' or 'gaussian', got 'poisson'"),
        ({"scale": 0.0}, "'learned' or a finite number above 0, got 0.0"),
        ({"scale": math.nan}, "'learned' or a finite number above 0, got nan"),
        ({"scale": "fixed"}, "'learned' or a finite number above 0, got 'fixed'"),
        ({"value_range": (1.0, 1.0)}, "the lower end first"),
        ({"value_range": 3}, "two finite numbers"),
        ({"likelihood": "bernoulli"}, r"for likelihood='gaussian'.*got scale 1.0 .*\(-1.0, 3.0\)"),
        (
            {"likelihood": "bernoulli", "value_range": (0.0, 1.0), "scale": 0.5},
            "a Bernoulli has no scale",
        ),
    ],
)
def test_likelihoods_that_cannot_be(options: dict[str, Any], message: str):
    with pytest.raises(ArgumentError, match=message):
        model(**options)


def test_images_outside_the_range_are_refused():
    with pytest.raises(ArgumentError, match=r"between -1 and 3, got values from .* to 12$"):
        model().loss(3 * images() + 3, 1)
    with pytest.raises(ArgumentError, match=r"value_range=\(lowest, highest\)"):
        JointVAE(SIZE, SPEC).loss(images(), 1)


@pytest.mark.parametrize("scale", [0.5, "learned"])
def test_it_is_saved_and_loaded(scale: float | str, tmp_path: Path):
    ours = model(scale=scale).eval()
    ours.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())["model"]
    assert (config["likelihood"], config["scale"], config["value_range"]) == (
        "gaussian", scale, [-1.0, 3.0],
    )  # fmt: skip
    again = load(tmp_path)
    assert (again.scale, again.value_range) == (scale, (-1.0, 3.0))
    assert torch.equal(again(images())[0], ours(images())[0])


def test_a_configuration_without_it_is_a_bernoulli(tmp_path: Path):
    JointVAE(SIZE, SPEC).save_pretrained(tmp_path)
    assert "likelihood" not in (tmp_path / "config.json").read_text()
    assert load(tmp_path).likelihood == "bernoulli"


def test_a_damaged_configuration_is_one_sentence(tmp_path: Path):
    model().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(file.read_text().replace('"gaussian"', '"normal"'))
    with pytest.raises(CheckpointError, match="describes no JointVAE: likelihood must be"):
        load(tmp_path)


def test_it_has_no_published_form(tmp_path: Path):
    with pytest.raises(ArgumentError, match="Gaussian likelihood has no published form"):
        export.save_published(model(), tmp_path, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # PyTorch 2.11's own
def test_exported_decoders_give_the_value_range(tmp_path: Path):
    ours = model().eval()
    export.save_exported(ours, tmp_path)
    sample = ours.prior_sample(3, torch.Generator().manual_seed(0))
    decoder = torch.export.load(tmp_path / "decoder.pt2").module()
    assert torch.allclose(decoder(sample), ours.decode(sample), atol=1e-6)
