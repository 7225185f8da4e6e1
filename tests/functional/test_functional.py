"""The operations as users call them: arguments, and what is not finite."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fastjvae import Capacity, LatentSpec, functional
from fastjvae.errors import ArgumentError
from fastjvae.functional import Noise

SPEC = LatentSpec(3, (4, 2))


def _params(rows: int = 6) -> torch.Tensor:
    return torch.randn(rows, SPEC.num_params)


def test_latent_sample_is_the_sample_of_joint_latent():
    params = _params()
    for training in (True, False):
        joint = functional.joint_latent(params, SPEC, 0.67, seed=2, training=training)
        sample = functional.latent_sample(params, SPEC, 0.67, Noise(seed=2), training=training)
        assert torch.equal(joint.sample, sample)


def test_tau_may_be_a_tensor():
    logits = torch.randn(5, 4)
    by_float = functional.gumbel_softmax(logits, 0.5, seed=1)
    assert torch.equal(by_float, functional.gumbel_softmax(logits, torch.tensor(0.5), seed=1))


def test_a_spec_may_be_a_dict():
    params = _params()
    by_dict = functional.joint_latent(params, {"cont": 3, "disc": [4, 2]}, 0.67, seed=1)
    assert torch.equal(by_dict.sample, functional.joint_latent(params, SPEC, 0.67, seed=1).sample)


def test_capacity_loss_is_computed_in_float32():
    loss = functional.capacity_loss(torch.ones(3, dtype=torch.float16), 1.0, 1e5)
    assert (loss.dtype, loss.item()) == (torch.float32, 2e5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_single_operations_never_hide_what_is_not_finite(bad: float):
    fine, one_bad = torch.zeros(2, 3), torch.zeros(2, 3)
    one_bad[1, 1] = bad
    assert not functional.gumbel_softmax(one_bad, 0.67, seed=1).isfinite().all()
    assert not functional.gaussian_rsample(fine, one_bad, seed=1).isfinite().all()
    assert not functional.gaussian_rsample(one_bad, fine, seed=1).isfinite().all()
    assert not functional.kl_gaussian(fine, one_bad).isfinite().all()
    assert not functional.kl_categorical(one_bad).isfinite().all()
    images = one_bad.reshape(1, 1, 2, 3)
    target = torch.full((1, 1, 2, 3), 0.5)
    assert not functional.bernoulli_reconstruction(images, target).isfinite().all()


def test_capacity_loss_sums_any_shape():
    kl = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert float(functional.capacity_loss(kl, 4.0, 2.0)) == 12.0
    assert float(functional.capacity_loss(torch.tensor(4.0), torch.tensor(4.0), 2.0)) == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: functional.joint_latent(torch.randn(2, 5), SPEC, 0.67), "12 columns"),
        (lambda: functional.joint_latent(_params(), SPEC, 0.0), "above 0, got 0.0"),
        (
            lambda: functional.joint_latent(_params(), SPEC, 0.67, normal=torch.randn(6, 3)),
            r"uniform of shape \(6, 6\) is missing",
        ),
        (
            lambda: functional.joint_latent(
                _params(), SPEC, 0.67, normal=torch.randn(6, 3), uniform=torch.rand(6, 5)
            ),
            r"uniform must have shape \(6, 6\)",
        ),
        (
            lambda: functional.joint_latent(
                _params(), SPEC, 0.67, seed=1, normal=torch.randn(6, 3), uniform=torch.rand(6, 6)
            ),
            "got both",
        ),
        (
            lambda: functional.gumbel_softmax(
                torch.randn(2, 3), 0.67, seed=1, generator=torch.Generator()
            ),
            "got both",
        ),
        (
            lambda: functional.gumbel_softmax(torch.randn(2, 3), 0.67, seed=torch.tensor(1)),
            r"int64 of shape \(1,\)",
        ),
        (lambda: functional.gumbel_softmax(torch.randn(2, 3), 0.67, seed=2**64), "64-bit"),
        (lambda: functional.gumbel_softmax(torch.randn(3), 0.67), r"matrix \(N, K\)"),
        (
            lambda: functional.gaussian_rsample(torch.randn(2, 3), torch.randn(2, 4)),
            r"\(2, 3\) and \(2, 4\)",
        ),
        (
            lambda: functional.bernoulli_reconstruction(
                torch.randn(2, 1, 4, 4), torch.rand(2, 1, 4, 5)
            ),
            r"\(2, 1, 4, 5\)",
        ),
        (
            lambda: functional.bernoulli_reconstruction(
                torch.randn(2, 1, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.int64)
            ),
            "torch.int64",
        ),
        (
            lambda: functional.bernoulli_reconstruction(
                torch.randn(2, 1, 4, 4), torch.rand(2, 1, 4, 4), "max"
            ),
            "'max'",
        ),
    ],
)
def test_bad_arguments_say_what_was_passed(call: object, message: str):
    with pytest.raises(ArgumentError, match=message):
        call()  # type: ignore[operator]


@pytest.mark.parametrize(
    "call",
    [
        lambda: functional.kl_categorical(torch.zeros(3, 0)),
        lambda: functional.gumbel_softmax(torch.zeros(3, 0), 1.0),
        lambda: functional.gumbel_softmax(torch.zeros(3, 2), float("inf")),
        lambda: functional.capacity_loss(torch.zeros(2), float("nan"), 1.0),
        lambda: functional.capacity_loss(torch.zeros(2), 1.0, float("inf")),
        lambda: functional.capacity_loss(torch.zeros(2), 10**400, 1.0),
        lambda: functional.kl_capacity_loss(
            torch.zeros(2, 3), {"disc": [3]}, 2**63, disc=Capacity(0, 1, 1, 1.0)
        ),
    ],
)
def test_numbers_that_no_operation_can_take(call: Any):
    with pytest.raises(ArgumentError, match=r"(must be|got) .*"):
        call()
