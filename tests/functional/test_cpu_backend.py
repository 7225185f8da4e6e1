from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fastjvae import (
    Capacity,
    LatentSpec,
    backend,
    functional,
)
from fastjvae.functional import Noise
from fastjvae.functional.backends import cpu, reference

SPECS = st.tuples(st.integers(0, 4), st.lists(st.integers(2, 6), max_size=3).map(tuple)).filter(
    lambda sizes: sizes[0] or sizes[1]
)


def noise_of(spec: LatentSpec, rows: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    normal = torch.randn(rows, spec.cont, generator=generator)
    uniform = torch.rand(rows, spec.num_categories, generator=generator)
    return [normal.to(dtype), uniform.to(dtype)]


def close(ours: Tensor, oracle: Tensor, terms: int = 1, largest: float = 1e-6) -> None:
    """``largest`` is the size of the terms where they may cancel."""
    scale = max(float(oracle.abs().max()), largest) if oracle.numel() else 1.0
    torch.testing.assert_close(ours.double(), oracle, rtol=0.0, atol=4e-6 * terms * scale)


@given(sizes=SPECS, rows=st.integers(0, 40), scale=st.sampled_from([0.0, 1.0, 8.0]))
def test_the_latent_block_is_the_reference(sizes: Any, rows: int, scale: float):
    spec = LatentSpec(*sizes)
    generator = torch.Generator().manual_seed(0)
    params = scale * torch.randn(rows, spec.num_params, generator=generator)
    exact = params.double().requires_grad_()
    params.requires_grad_()
    tau = 0.67
    sample, means = cpu.joint_latent(params, spec, tau, *noise_of(spec, rows))
    oracle = reference.joint_latent(exact, spec, tau, *noise_of(spec, rows, torch.float64))
    exact_means = torch.cat(oracle[1:])
    close(sample, oracle.sample.detach(), 10)
    # log K - H(p) of flat probabilities is the difference of two numbers of the size of log K.
    torch.testing.assert_close(means.double(), exact_means.detach(), rtol=4e-6, atol=1e-6)
    upstream = [torch.randn(t.shape, generator=generator) for t in (sample, means)]
    (ours,) = torch.autograd.grad([sample, means], params, upstream)
    (theirs,) = torch.autograd.grad(
        [oracle.sample, exact_means], exact, [g.double() for g in upstream]
    )
    # y (g - sum g y) of a y near 1 is the difference of two numbers of the size of g.
    close(ours, theirs, 10, largest=max(float(g.abs().max()) for g in upstream if g.numel()))


@given(
    sizes=SPECS,
    rows=st.integers(1, 5),
    step=st.integers(1, 40),
    tensor_step=st.booleans(),
    reduction=st.sampled_from(["mean", "sum"]),
    measure=st.sampled_from(["kl", "information"]),
    parts=st.sampled_from(["both", "cont", "disc", "none"]),
)
def test_the_loss_is_the_reference(
    sizes: Any,
    rows: int,
    step: int,
    tensor_step: bool,
    reduction: Any,
    measure: Any,
    parts: str,
):
    spec = LatentSpec(*sizes)
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(rows, 3, 4, 8, generator=generator)
    target = torch.randint(0, 256, logits.shape, generator=generator, dtype=torch.uint8)
    probabilities = [torch.rand(size, generator=generator).softmax(dim=0) for size in spec.disc]
    kl = torch.rand(spec.cont + len(spec.disc), generator=generator)
    means = torch.cat([kl, *probabilities])
    cont = Capacity(0.1, 2.0, 30, 7.0, start=3) if parts in ("both", "cont") else None
    disc = Capacity(0.0, 1.5, 20, 5.0) if parts in ("both", "disc") and spec.disc else None
    time = torch.tensor(step) if tensor_step else step
    terms = reference.LossTerms(time, spec, cont, disc, reduction, measure)
    inputs = [logits.requires_grad_(), means.requires_grad_()]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    ours = cpu.joint_loss(inputs[0], target, inputs[1], terms)
    oracle = reference.joint_loss(exact[0], target, exact[1], terms)
    for mine, value in zip(ours, oracle, strict=True):
        close(mine.detach(), value.detach())
    assert [value.requires_grad for value in ours] == [True, False, False, False]
    found = torch.autograd.grad(2.5 * ours[0], inputs)
    right = torch.autograd.grad(2.5 * oracle[0], exact, allow_unused=True)
    for mine, value in zip(found, right, strict=True):
        close(mine, torch.zeros_like(mine).double() if value is None else value)


def test_the_slope_where_kl_equals_the_capacity_is_zero():
    spec = LatentSpec(2, ())
    means = torch.tensor([0.5, 0.5], requires_grad=True)
    logits = torch.zeros(1, 1, 4, 4, requires_grad=True)
    capacity = Capacity(1.0, 1.0, 1, 30.0)
    terms = reference.LossTerms(1, spec, capacity, None)
    loss, *_ = cpu.joint_loss(logits, torch.zeros(1, 1, 4, 4), means, terms)
    loss.backward()
    assert means.grad is not None
    assert not means.grad.any()


def test_second_derivatives_are_the_references():
    spec = LatentSpec(2, (3, 2))
    torch.manual_seed(0)
    params = torch.randn(6, spec.num_params, requires_grad=True)
    logits = torch.randn(6, 1, 4, 4, requires_grad=True)
    target = torch.rand(6, 1, 4, 4)
    capacity = Capacity(0.0, 1.0, 10, 30.0)
    noise = Noise(*noise_of(spec, 6))

    def penalties() -> list[Tensor]:
        block = functional.latent_block(params, spec, 0.67, noise)
        loss = functional.joint_loss(
            logits * block.sample.sum(), target, block, spec, 5,
            cont=capacity, disc=capacity, disc_measure="information",
        ).loss  # fmt: skip
        slopes = torch.autograd.grad(loss, [params, logits], create_graph=True)
        total = sum(slope.square().sum() for slope in slopes)
        assert isinstance(total, Tensor)
        return [*slopes, *torch.autograd.grad(total, [params, logits])]

    ours = penalties()
    with backend("reference"):
        theirs = penalties()
    for mine, value in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("column", [0, 2, 4])
def test_a_number_that_is_not_finite_makes_the_loss_so(bad: float, column: int):
    spec = LatentSpec(2, (3,))
    params = torch.zeros(4, spec.num_params)
    params[1, column] = bad
    _, means = cpu.joint_latent(params, spec, 0.67, *noise_of(spec, 4))
    assert not means.isfinite().all()


def test_the_reference_is_taken_where_it_is_asked_for_or_needed():
    spec = LatentSpec(2, (3,))
    params = torch.randn(4, spec.num_params, requires_grad=True)

    def node(tau: Any = 0.67) -> str:
        sample = functional.latent_block(params, spec, tau).sample
        return type(sample.grad_fn).__name__

    assert node() == "_JointLatentBackward"
    assert node(torch.tensor(0.67)) == "_JointLatentBackward"
    assert node(torch.tensor(0.67, requires_grad=True)) == "CatBackward0"
    with backend("reference"):
        assert node() == "CatBackward0"
    with backend("cpu"):
        assert node() == "_JointLatentBackward"
        assert node(torch.tensor(0.67, requires_grad=True)) == "CatBackward0"
