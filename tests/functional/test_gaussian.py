"""The Gaussian likelihood of images: its formula, its special cases, what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import fastjvae
from fastjvae import Capacity, LatentSpec, functional
from fastjvae.errors import ArgumentError
from fastjvae.functional import Gaussian
from fastjvae.functional.backends import cpu, reference

ENDS = (-2.0, 3.0)


def problem(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, images in -2..3 and a log scale."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 2, 4, 5, generator=generator).to(dtype).requires_grad_()
    target = ENDS[0] + 5 * torch.rand(3, 2, 4, 5, generator=generator).to(dtype)
    return logits, target, torch.tensor(-0.7, dtype=dtype, requires_grad=True)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_it_is_the_density_of_a_normal_distribution(reduction: str):
    logits, target, log_scale = problem()
    mean = ENDS[0] + 5 * (0.5 + logits / 4)
    density = torch.distributions.Normal(mean, log_scale.exp()).log_prob(target)
    right = -density.sum() / 3 / (2 if reduction == "mean" else 1)
    ours = functional.gaussian_reconstruction(
        logits, target, log_scale, reduction, value_range=ENDS
    )
    assert torch.allclose(ours, right)
    for mine, theirs in zip(
        torch.autograd.grad(ours, (logits, log_scale)),
        torch.autograd.grad(right, (logits, log_scale)),
        strict=True,
    ):
        assert torch.allclose(mine, theirs)


@pytest.mark.parametrize(("scale", "factor"), [(0.5**0.5, 1.0), (1.0, 0.5)])
def test_the_squared_error_is_a_case_of_it(scale: float, factor: float):
    logits, target = problem()[0], torch.rand(3, 2, 4, 5, dtype=torch.float64)
    ours = functional.gaussian_reconstruction(logits, target, math.log(scale), "sum")
    squares = factor * (target - 0.5 - logits / 4).square().sum() / 3
    constant = 40 * 0.5 * math.log(2 * math.pi * scale**2)
    assert torch.allclose(ours, squares + constant)


def test_bytes_stand_for_the_value_range():
    logits = problem()[0]
    bytes_ = torch.arange(120, dtype=torch.uint8).reshape(3, 2, 4, 5) * 2
    floats = ENDS[0] + 5 * (bytes_.double() / 255)
    assert torch.allclose(
        functional.gaussian_reconstruction(logits, bytes_, -1.0, value_range=ENDS),
        functional.gaussian_reconstruction(logits, floats, -1.0, value_range=ENDS),
    )


def test_gradients_are_finite_differences():
    logits, target, log_scale = problem()
    assert torch.autograd.gradcheck(
        lambda *each: functional.gaussian_reconstruction(
            each[0], target, each[1], value_range=ENDS
        ),
        (logits, log_scale),
    )


def test_the_likelihood_chooses_the_reconstruction():
    logits, _, log_scale = problem()
    target = torch.rand(3, 2, 4, 5, dtype=torch.float64)
    assert torch.equal(
        functional.reconstruction(logits, target),
        functional.bernoulli_reconstruction(logits, target),
    )
    assert torch.equal(
        functional.reconstruction(logits, target, Gaussian(log_scale), "sum"),
        functional.gaussian_reconstruction(logits, target, log_scale, "sum"),
    )


@pytest.mark.parametrize(
    ("log_scale", "ends", "message"),
    [
        (math.nan, (0.0, 1.0), "log_scale must be a finite number or a tensor, got nan"),
        (torch.zeros(2), (0.0, 1.0), r"log_scale as a tensor must hold one number .* shape \(2,\)"),
        (0.0, (1.0, 0.0), r"two finite numbers, the lower end first.* got \(1.0, 0.0\)"),
        (0.0, (0.0, math.inf), "two finite numbers"),
    ],
)
def test_scales_and_ranges_that_cannot_be(
    log_scale: float | Tensor, ends: tuple[float, float], message: str
):
    with pytest.raises(ArgumentError, match=message):
        functional.gaussian_reconstruction(
            torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), log_scale, value_range=ends
        )


# --- the joint loss on a CPU ----------------------------------------------------------------------

SPEC = LatentSpec(2, (3,))


def joint_loss(
    logits: Tensor, target: Tensor, means: Tensor, log_scale: float | Tensor, backend: object
) -> Tensor:
    capacity = Capacity(0.0, 5.0, 10, 3.0)
    terms = reference.LossTerms(4, SPEC, capacity, capacity, gaussian=Gaussian(log_scale, *ENDS))
    return backend.joint_loss(logits, target, means, terms)[0]  # type: ignore[attr-defined]


@pytest.mark.parametrize("learned", [False, True])
def test_the_loss_by_hand_is_the_reference(learned: bool):
    logits, target, log_scale = problem(torch.float32)
    means = torch.rand(6, requires_grad=True)
    inputs = [logits, means, *([log_scale] if learned else [])]
    scale = log_scale if learned else -0.7
    ours = joint_loss(logits, target, means, scale, cpu)
    right = joint_loss(logits, target, means, scale, reference)
    assert torch.allclose(ours, right, rtol=1e-6)
    for create_graph in (False, True):
        mine = torch.autograd.grad(-2 * ours, inputs, retain_graph=True, create_graph=create_graph)
        theirs = torch.autograd.grad(-2 * right, inputs, retain_graph=True)
        for a, b in zip(mine, theirs, strict=True):
            assert torch.allclose(a, b, rtol=1e-5, atol=1e-7)


def test_the_second_derivative_of_the_loss_by_hand():
    logits, target, log_scale = problem(torch.float32)
    means = torch.rand(6, requires_grad=True)

    def second(backend: object) -> tuple[Tensor, ...]:
        loss = joint_loss(logits, target, means, log_scale, backend)
        by = torch.autograd.grad(loss, (logits, log_scale), create_graph=True)
        return torch.autograd.grad(by[0].square().sum() + by[1].square(), (logits, log_scale))

    for a, b in zip(second(cpu), second(reference), strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_shows_in_the_loss_by_hand(bad: float):
    logits, target, _ = problem(torch.float32)
    with torch.no_grad():
        logits[0, 0, 0, 0] = bad
    assert not joint_loss(logits, target, torch.rand(6), -0.7, cpu).isfinite()


def test_parts_of_a_batch_add_up_to_the_whole():
    logits, target, log_scale = problem()
    whole = functional.gaussian_reconstruction(logits, target, log_scale, value_range=ENDS)
    shares = []
    for rows in (slice(0, 1), slice(1, 3)):
        with functional.part_of_batch(3) as part:
            shares.append(
                functional.gaussian_reconstruction(
                    logits[rows], target[rows], log_scale, value_range=ENDS, part=part
                )
            )
    assert torch.allclose(sum(shares, start=torch.zeros(())).double(), whole)


def test_the_reference_gives_no_gradient_of_a_fixed_scale():
    logits, target, _ = problem(torch.float32)
    with fastjvae.backend("cpu"):
        loss = joint_loss(logits, target, torch.rand(6), -0.7, cpu)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.shape == logits.shape
