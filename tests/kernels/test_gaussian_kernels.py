"""The kernels of a Gaussian likelihood, alone and in the joint loss, against the reference."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import (
    DEVICE,
    compare,
    dtypes,
    images_in,
    kernels,
    many_examples,
    memory_formats,
    random_params,
    seeds,
    specs,
)
from kernel_models import FIXED, LEARNED, OBJECTIVE, gradients, images, small_model
from torch import Tensor

import fastjvae
from fastjvae import BetaObjective, Capacity, LatentSpec, functional
from fastjvae.functional import Gaussian, Noise
from fastjvae.functional.backends import reference

RANGES = [(0.0, 1.0), (-2.0, 3.0), (10.0, 10.5)]


def sharpness(log_scale: float, ends: tuple[float, float]) -> float:
    """The square of the width over the scale, and room for how exactly float32 has it."""
    low, high = ends
    exactness = (1 + abs(log_scale)) * (1 + max(map(abs, ends)) / (high - low))
    return ((high - low) * math.exp(-log_scale)) ** 2 * exactness


@given(
    rows=st.sampled_from([0, 1, 2, 9]), channels=st.sampled_from([1, 2, 3]),
    sides=st.tuples(st.sampled_from([1, 4, 7, 16]), st.sampled_from([1, 8, 17])),
    dtype=dtypes, seed=seeds, uint8=st.booleans(),
    memory=memory_formats, target_memory=memory_formats,
    spread=st.sampled_from([0.0, 1.0, 30.0, 1e4]), reduction=st.sampled_from(["mean", "sum"]),
    log_scale=st.sampled_from([-20.0, -3.0, -0.5, 0.0, 2.0, 20.0]), learned=st.booleans(),
    ends=st.sampled_from(RANGES), factor=st.sampled_from([1.0, -3.0, 0.0]),
)  # fmt: skip
@many_examples
def test_gaussian_reconstruction(
    rows: int,
    channels: int,
    sides: tuple[int, int],
    dtype: torch.dtype,
    seed: int,
    uint8: bool,
    memory: str,
    target_memory: str,
    spread: float,
    reduction: str,
    log_scale: float,
    learned: bool,
    ends: tuple[float, float],
    factor: float,
):
    generator = torch.Generator().manual_seed(seed % 2**63)
    shape = (rows, channels, *sides)
    values = (spread * torch.randn(shape, generator=generator)).clamp(-1e4, 1e4)
    logits = images_in(values.to(DEVICE, dtype), memory)
    bytes_ = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8).to(DEVICE)
    floats = (ends[0] + (ends[1] - ends[0]) * (bytes_ / 255)).to(dtype)
    target = images_in(bytes_ if uint8 else floats, target_memory)

    def loss(logits: Tensor, *scale: Tensor) -> tuple[Tensor]:
        value = functional.gaussian_reconstruction(
            logits, target, scale[0] if scale else log_scale, reduction, value_range=ends
        )
        return (factor * value,)

    inputs = (logits, torch.tensor(log_scale, device=DEVICE)) if learned else (logits,)
    case = compare(loss, loss, inputs, "random", generator)
    per_image = max(rows, 1) * (channels if reduction == "mean" else 1)
    each = sharpness(log_scale, ends)
    count = logits.numel() / per_image
    constant = abs(log_scale) + 1
    case.check_output(0, abs(factor) * count * (each + constant))
    # A random upstream is below 5.
    case.check_gradient(0, 5 * abs(factor) * each / per_image)
    if memory != "every second":
        assert case.ours.gradients[0].stride() == logits.stride()
    if learned:
        case.check_gradient(1, 5 * abs(factor) * count * 2 * (each + constant))


@given(
    rows=st.sampled_from([1, 2, 5, 33]), spec=specs(), dtype=dtypes, seed=seeds,
    measure=st.sampled_from(["kl", "information"]), learned=st.booleans(),
    log_scale=st.sampled_from([-3.0, -0.5, 1.0]), ends=st.sampled_from(RANGES),
)  # fmt: skip
@many_examples
def test_joint_loss(
    rows: int,
    spec: LatentSpec,
    dtype: torch.dtype,
    seed: int,
    measure: str,
    learned: bool,
    log_scale: float,
    ends: tuple[float, float],
):
    generator = torch.Generator().manual_seed(seed % 2**63)
    params = random_params(spec, rows, generator, "normal").to(DEVICE, dtype)
    shape = (rows, 2, 4, 6)
    logits = torch.randn(shape, generator=generator).to(DEVICE, dtype)
    image = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8).to(DEVICE)
    key = torch.tensor([seed], device=DEVICE)
    # Far from any divergence, so that both sides agree about the sign.
    cont = Capacity(50.0, 1e4, 100, 7.0) if spec.cont else None
    disc = Capacity(50.0, 1e4, 90, 3.0) if spec.disc else None

    def loss(params: Tensor, logits: Tensor, *scale: Tensor) -> tuple[Tensor]:
        block = functional.latent_block(params, spec, 0.67, Noise(seed=key))
        terms = functional.joint_loss(
            logits, image, block, spec, 5, cont=cont, disc=disc, disc_measure=measure,
            gaussian=Gaussian(scale[0] if scale else log_scale, *ends),
        )  # fmt: skip
        return (terms.loss,)

    scale = (torch.tensor(log_scale, device=DEVICE),) if learned else ()
    case = compare(loss, loss, (params, logits, *scale), "random", generator)
    each = sharpness(log_scale, ends) + 4
    pixels, elements = 24, 48
    case.check_output(0, (elements / 2 * each + 1e4) / pixels)
    case.check_gradient(0, 500.0 / (pixels * rows))
    case.check_gradient(1, 5 * each / (pixels * 2 * rows))
    if learned:
        case.check_gradient(2, 10 * elements * each / (pixels * 2))


def test_more_programs_than_blocks_of_images(monkeypatch: pytest.MonkeyPatch):
    from fastjvae_kernels import reconstruction

    monkeypatch.setattr(reconstruction, "MANY_PROGRAMS", 2)  # two blocks of the images to a program
    logits, image = (torch.rand(3, 1, 32, 40, device=DEVICE) for _ in range(2))

    def loss(logits: Tensor, log_scale: Tensor) -> tuple[Tensor]:
        target = image.to(logits.dtype)
        return (functional.gaussian_reconstruction(logits, target, log_scale),)

    generator = torch.Generator().manual_seed(1)
    case = compare(loss, loss, (logits, torch.tensor(-2.0, device=DEVICE)), "random", generator)
    case.check_output(0, 1280 * 60.0)
    case.check_gradient(0, 60.0)
    case.check_gradient(1, 1280 * 300.0)


def test_what_is_not_finite_shows():
    for bad in (float("nan"), float("inf"), -float("inf")):
        logits = torch.zeros(2, 1, 4, 4, device=DEVICE)
        logits[1, 0, 2, 3] = bad
        target = torch.full_like(logits, 0.5)
        with kernels():
            assert not functional.gaussian_reconstruction(logits, target).isfinite()
        assert not reference.gaussian_reconstruction(logits, target, Gaussian()).isfinite()


def test_results_repeat_bitwise():
    logits = torch.randn(700, 1, 8, 8, device=DEVICE, requires_grad=True)
    target, log_scale = torch.rand(700, 1, 8, 8, device=DEVICE), torch.tensor(-2.0, device=DEVICE)
    log_scale.requires_grad_()

    def step() -> tuple[Tensor, ...]:
        loss = functional.gaussian_reconstruction(logits, target, log_scale)
        return loss, *torch.autograd.grad(loss, (logits, log_scale))

    with kernels():
        for first, second in zip(step(), step(), strict=True):
            assert torch.equal(first, second)


@pytest.mark.parametrize("objective", [OBJECTIVE, BetaObjective(4.0)])
@pytest.mark.parametrize("likelihood", [FIXED, LEARNED], ids=["fixed", "learned"])
@pytest.mark.parametrize("floats", [False, True])
def test_the_loss_is_the_same_on_both_backends(
    objective: fastjvae.objectives.Objective, likelihood: dict[str, Any], floats: bool
):
    model, seed = small_model(**likelihood), torch.tensor([3], device=DEVICE)
    x = images()
    x = 2 * (x / 255) - 1 if floats else x
    with kernels():
        ours = model.loss(x, 7, objective, seed=seed)
        ours_gradients = gradients(model, ours.loss)
    with fastjvae.backend("reference"):
        theirs = model.loss(x, 7, objective, seed=seed)
    assert torch.allclose(ours.reconstruction, theirs.reconstruction, rtol=1e-5)
    assert torch.allclose(ours.loss, theirs.loss, rtol=1e-5)
    for mine, right in zip(ours_gradients, gradients(model, theirs.loss), strict=True):
        assert torch.allclose(mine, right, atol=1e-5, rtol=1e-4)


def test_a_gaussian_takes_as_many_launches_as_a_bernoulli(launches: Counter[str]):
    model, x, step = small_model(**LEARNED), images(), torch.tensor(5, device=DEVICE)
    with kernels():
        model.loss(x, step, OBJECTIVE).loss.backward()
        launches.clear()
        model.loss(x, step, OBJECTIVE).loss.backward()
    of_loss = ("reconstruction_forward", "joint_loss", "reconstruction_backward", "latent_backward")
    assert [launches[name] for name in of_loss] == [1, 1, 1, 1]
    assert "column_sums" not in launches


def test_no_second_derivative():
    logits = torch.zeros(1, 1, 4, 4, device=DEVICE, requires_grad=True)
    with kernels():
        loss = functional.gaussian_reconstruction(logits, torch.ones_like(logits).detach())
        (grad,) = torch.autograd.grad(loss, logits, create_graph=True)
        with pytest.raises(fastjvae.errors.BackendError, match="no second derivative"):
            grad.sum().backward()
