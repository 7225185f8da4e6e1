"""The reference is the oracle, so it is tested against other people's formulas and by gradcheck."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from philox_answers import PHILOX_ANSWERS
from scipy import special, stats
from torch.distributions import Categorical, Normal, kl_divergence

from fastjvae import LatentSpec
from fastjvae.functional.backends import philox, reference

F64 = torch.float64
SPEC = LatentSpec(3, (4, 2))


def _params(rows: int = 5, spec: LatentSpec = SPEC) -> torch.Tensor:
    return torch.randn(rows, spec.num_params, dtype=F64)


def _noise(rows: int = 5, spec: LatentSpec = SPEC) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(rows, spec.cont, dtype=F64), torch.rand(rows, spec.num_categories, dtype=F64)


def test_kl_gaussian_is_the_closed_form():
    mean, logvar = torch.randn(7, 3, dtype=F64), torch.randn(7, 3, dtype=F64)
    expected = kl_divergence(Normal(mean, (logvar / 2).exp()), Normal(0.0, 1.0)).mean(dim=0)
    torch.testing.assert_close(reference.kl_gaussian(mean, logvar), expected)


def test_kl_gaussian_keeps_its_digits_near_the_prior():
    logvar = torch.full((1, 1), 1e-4)
    expected = 0.5 * (math.expm1(1e-4) - 1e-4)
    assert float(reference.kl_gaussian(torch.zeros(1, 1), logvar)) == pytest.approx(
        expected, rel=1e-3
    )


def test_kl_categorical_is_the_closed_form():
    logits = 3 * torch.randn(7, 5, dtype=F64)
    uniform = Categorical(probs=torch.full((5,), 0.2, dtype=F64))
    expected = kl_divergence(Categorical(logits=logits), uniform).mean()
    torch.testing.assert_close(reference.kl_categorical(logits), expected)


def test_kl_categorical_at_its_ends():
    assert float(reference.kl_categorical(torch.zeros(2, 8))) == pytest.approx(0.0, abs=1e-6)
    certain = torch.tensor([[1e4, -1e4, 0.0]])
    assert float(reference.kl_categorical(certain)) == pytest.approx(math.log(3), rel=1e-6)


def test_information_and_imbalance_add_up_to_the_divergence():
    probabilities = _params().softmax(dim=1)[:, SPEC.logits[0]]
    probabilities = probabilities / probabilities.sum(dim=1, keepdim=True)
    mean = probabilities.mean(dim=0)
    spec = LatentSpec(0, (4,))
    kl = reference.kl_categorical(probabilities.log())
    information = (
        special.entr(mean.numpy()).sum() - special.entr(probabilities.numpy()).sum(axis=1).mean()
    )
    imbalance = reference.category_imbalance(mean, spec)
    assert float(kl - imbalance) == pytest.approx(information)
    assert float(imbalance) == pytest.approx(stats.entropy(mean.numpy(), [0.25] * 4))


def test_imbalance_of_an_unused_category_is_finite_with_its_gradient():
    mean = torch.tensor([1.0, 0.0], requires_grad=True)
    imbalance = reference.category_imbalance(mean, LatentSpec(0, (2,)))
    imbalance.sum().backward()
    assert float(imbalance.detach()) == pytest.approx(math.log(2))
    assert mean.grad is not None
    assert mean.grad.isfinite().all()


@pytest.mark.parametrize("channels", [1, 3])
def test_reconstruction_is_the_published_cross_entropy(channels: int):
    logits = torch.randn(4, channels, 5, 6, dtype=F64)
    target = torch.randint(0, 256, (4, channels, 5, 6), dtype=torch.uint8)
    pixels = 5 * 6
    published = pixels * torch.nn.functional.binary_cross_entropy(
        logits.sigmoid().reshape(-1, pixels), target.to(F64).reshape(-1, pixels) / 255
    )
    torch.testing.assert_close(reference.bernoulli_reconstruction(logits, target), published)
    summed = reference.bernoulli_reconstruction(logits, target, "sum")
    torch.testing.assert_close(summed, channels * published)


def test_capacity_loss_has_subgradient_zero_where_it_is_met():
    kl = torch.tensor([2.0, 3.0], requires_grad=True)
    reference.capacity_loss(kl, 5.0, 30.0).backward()
    assert kl.grad is not None
    assert kl.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("capacity", "slope"), [(4.0, 30.0), (6.0, -30.0)])
def test_capacity_loss_pulls_towards_the_capacity(capacity: float, slope: float):
    kl = torch.tensor([2.0, 3.0], requires_grad=True)
    loss = reference.capacity_loss(kl, capacity, 30.0)
    loss.backward()
    assert loss.item() == 30.0
    assert kl.grad is not None
    assert kl.grad.tolist() == [slope, slope]


def test_gumbel_is_the_published_transform_and_finite_at_the_ends():
    uniform = torch.rand(1000)
    published = -torch.log(-torch.log(uniform + 1e-12) + 1e-12)
    torch.testing.assert_close(reference.gumbel(uniform), published, rtol=1e-5, atol=1e-5)
    ends = reference.gumbel(torch.tensor([0.0, 1.0 - 2.0**-24]))
    assert ends.isfinite().all()
    assert float(ends[0]) == pytest.approx(-math.log(-math.log(1e-12)))


@pytest.mark.parametrize("tau", [1e-3, 0.67, 100.0])
def test_gumbel_softmax_rows_are_distributions(tau: float):
    logits = 1e4 * torch.randn(50, 7)
    sample = reference.gumbel_softmax(logits, tau, torch.rand(50, 7))
    assert sample.isfinite().all()
    torch.testing.assert_close(sample.sum(dim=1), torch.ones(50))


def test_gradcheck_of_every_operation():
    params, (normal, uniform) = _params().requires_grad_(), _noise()

    def joint(rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return reference.joint_latent(rows, SPEC, 0.67, normal, uniform)

    assert torch.autograd.gradcheck(joint, (params,))
    logits = torch.randn(2, 1, 3, 4, dtype=F64, requires_grad=True)
    target = torch.rand(2, 1, 3, 4, dtype=F64)
    assert torch.autograd.gradcheck(reference.bernoulli_reconstruction, (logits, target))
    mean = torch.rand(6, dtype=F64).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: reference.category_imbalance(m, SPEC), (mean,))


def test_joint_latent_is_its_parts():
    params, (normal, uniform) = _params(), _noise()
    joint = reference.joint_latent(params, SPEC, 0.5, normal, uniform)
    z = reference.gaussian_rsample(params[:, :3], params[:, 3:6], normal)
    first = reference.gumbel_softmax(params[:, 6:10], 0.5, uniform[:, :4])
    second = reference.gumbel_softmax(params[:, 10:], 0.5, uniform[:, 4:])
    torch.testing.assert_close(joint.sample, torch.cat([z, first, second], dim=1))
    torch.testing.assert_close(
        joint.kl_disc,
        torch.stack([reference.kl_categorical(params[:, part]) for part in SPEC.logits]),
    )
    means = [params[:, part].softmax(dim=1).mean(dim=0) for part in SPEC.logits]
    torch.testing.assert_close(joint.category_mean, torch.cat(means))


@pytest.mark.parametrize("spec", [LatentSpec(4), LatentSpec(0, (3,)), LatentSpec(2, (3, 5))])
def test_an_empty_batch_has_divergence_zero(spec: LatentSpec):
    params = torch.zeros(0, spec.num_params, requires_grad=True)
    normal, uniform = torch.zeros(0, spec.cont), torch.zeros(0, spec.num_categories)
    joint = reference.joint_latent(params, spec, 0.67, normal, uniform)
    assert joint.sample.shape == (0, spec.sample_dim)
    assert joint.kl_cont.tolist() == [0.0] * spec.cont
    assert joint.kl_disc.tolist() == [0.0] * len(spec.disc)
    sum(part.sum() for part in joint).backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_inputs_are_computed_in_float32(dtype: torch.dtype):
    params, (normal, uniform) = _params().to(dtype), _noise()
    joint = reference.joint_latent(params, SPEC, 0.67, normal.float(), uniform.float())
    exact = reference.joint_latent(params.double(), SPEC, 0.67, normal, uniform)
    assert joint.sample.dtype == dtype
    assert joint.kl_cont.dtype == joint.kl_disc.dtype == joint.category_mean.dtype == torch.float32
    torch.testing.assert_close(joint.kl_cont.double(), exact.kl_cont, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("column", range(SPEC.num_params))
def test_a_value_that_is_not_finite_is_never_hidden(bad: float, column: int):
    params = _params()
    params[2, column] = bad
    normal, uniform = _noise()
    joint = reference.joint_latent(params, SPEC, 0.67, normal, uniform)
    assert not all(part.isfinite().all() for part in joint)
    if column < SPEC.cont or column >= 2 * SPEC.cont:  # the evaluation sample has no variance
        assert not reference.evaluation_sample(params, SPEC).isfinite().all()


def test_evaluation_sample_takes_means_and_the_first_largest_category():
    params = torch.zeros(1, SPEC.num_params)
    params[0, :3] = torch.tensor([1.0, 2.0, 3.0])
    params[0, 7] = params[0, 9] = 5.0
    sample = reference.evaluation_sample(params, SPEC)
    assert sample.tolist() == [[1.0, 2.0, 3.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]]


@pytest.mark.parametrize(("counter", "key", "expected"), PHILOX_ANSWERS)
def test_philox_known_answers(
    counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]
):
    words = philox.philox_4x32(
        tuple(torch.tensor([word]) for word in counter),  # type: ignore[arg-type]
        tuple(torch.tensor([word]) for word in key),  # type: ignore[arg-type]
    )
    assert tuple(int(word) for word in words) == expected


@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 30), st.integers(1, 30))
def test_noise_of_an_element_depends_on_its_place_alone(seed: int, rows: int, columns: int):
    key = torch.tensor([seed])
    whole = philox.philox_uniform(key, 32, 32, philox.GUMBEL_STREAM)
    part = philox.philox_uniform(key, rows, columns, philox.GUMBEL_STREAM)
    assert torch.equal(part, whole[:rows, :columns])
    assert float(whole.min()) >= 0.0
    assert float(whole.max()) < 1.0
    normals = philox.philox_normal(key, 32, 32)
    assert torch.equal(philox.philox_normal(key, rows, columns), normals[:rows, :columns])


def test_noise_has_its_distribution_and_streams_differ():
    key = torch.tensor([7])
    normals = philox.philox_normal(key, 1000, 100).flatten().numpy()
    uniforms = philox.philox_uniform(key, 1000, 100, 1)
    gumbels = reference.gumbel(uniforms).flatten().numpy()
    assert stats.kstest(normals, "norm").pvalue > 1e-3
    assert stats.kstest(gumbels, "gumbel_r").pvalue > 1e-3
    other = philox.philox_uniform(key, 1000, 100, 0).flatten().numpy()
    assert abs(np.corrcoef(uniforms.flatten().numpy(), other)[0, 1]) < 0.02
