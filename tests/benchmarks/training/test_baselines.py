"""Both baselines compute what the reference computes, and learn."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import fastjvae
from benchmarks.training.baselines import PublishedTraining, TunedTraining, published_loader
from benchmarks.training.problems import batch_of, flops_per_image, mnist_like, pictures, problem_of
from fastjvae.model import published
from fastjvae.training.settings.objective import build_objective
from fastjvae.training.settings.train import build_model


def _rounded(dtype: torch.dtype) -> dict[str, float]:
    return {"rtol": 1e-8, "atol": 1e-10} if dtype == torch.float64 else {"rtol": 2e-5, "atol": 2e-5}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", ["32x32x1", "64x64x3"])
@pytest.mark.parametrize("way", [PublishedTraining, TunedTraining])
def test_a_baseline_has_the_losses_and_gradients_of_the_reference(
    way: Any, size: str, dtype: torch.dtype
):
    config, img_size = problem_of(size, batch_size=3)
    config = dataclasses.replace(config, cont=4, disc=(3, 5))
    images = batch_of(problem_of(size, batch_size=3))
    normal = torch.randn(3, 4, dtype=dtype)
    uniform = torch.rand(3, 8, dtype=dtype).clamp_min(1e-3)
    model = build_model(config, img_size).to(dtype).train()
    training = way(config, img_size, "cpu", dtype)
    training.load(model)

    losses = training.step(training.prepare(images), normal, uniform)
    with fastjvae.backend("reference"):
        exact = model.loss(images, 1, build_objective(config), normal=normal, uniform=uniform)
    exact.loss.backward()
    for ours, theirs in zip(losses, exact, strict=False):  # loss, reconstruction, KL of the units
        ours = torch.as_tensor(ours, dtype=dtype)
        torch.testing.assert_close(ours, theirs.detach(), **_rounded(dtype))

    gradients: dict[str, Tensor] = {n: p.grad for n, p in model.named_parameters()}
    if way is PublishedTraining:
        gradients = published.to_published(gradients, model.spec)
    own = {name: p.grad for name, p in training.model.named_parameters()}
    assert own.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(own[name], gradient, **_rounded(dtype), msg=name)


@pytest.mark.parametrize("way", [PublishedTraining, TunedTraining])
def test_a_baseline_draws_its_noise_and_learns(way: Any):
    config, img_size = problem_of("32x32x1", batch_size=8)
    training = way(config, img_size, "cpu")
    images = training.prepare(batch_of(problem_of("32x32x1", batch_size=8)))
    losses = [float(training.step(images).reconstruction) for _ in range(30)]
    assert all(map(math.isfinite, losses))
    assert losses[-1] < 0.95 * losses[0]


def test_the_published_loader_gives_the_images_that_fastjvae_prepares():
    given, _ = next(iter(published_loader(pictures(12), 12)))
    prepared = mnist_like(12) / 255

    def in_order(images: Tensor) -> list[list[float]]:
        return sorted(images.flatten(1).tolist())

    assert given.shape == (12, 1, 32, 32)
    assert in_order(given) == in_order(prepared)


@pytest.mark.parametrize(("size", "million"), [("32x32x1", 32.8), ("64x64x3", 107.1)])
def test_operations_are_those_of_the_architecture(size: str, million: float):
    assert flops_per_image(problem_of(size, 2)) == pytest.approx(1e6 * million, rel=2e-3)
