from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from latent_rows import correlated_gaussians
from torch import Tensor

from fastjvae import (
    BetaObjective,
    BetaTCObjective,
    JointVAE,
    LatentSpec,
)
from fastjvae.errors import ArgumentError
from fastjvae.functional.backends import reference
from fastjvae.objectives.beta_tc import decompose

SPECS = [
    {"cont": 3},
    {"cont": 1},
    {"disc": [4]},
    {"disc": [4, 2]},
    {"cont": 2, "disc": [3]},
    {"cont": 2, "disc": [3, 2, 4]},
]


def _rows(spec: LatentSpec, rows: int) -> tuple[Tensor, Tensor]:
    """Parameter and sample rows of posteriors that differ, in float64."""
    params = 1.5 * torch.randn(rows, spec.num_params, dtype=torch.float64)
    normal = torch.randn(rows, spec.cont, dtype=torch.float64)
    uniform = torch.rand(rows, spec.num_categories, dtype=torch.float64)
    return params, reference.latent_sample(params, spec, 0.5, normal, uniform)


def _log_normal(z: float, mean: float, logvar: float) -> float:
    return -0.5 * (math.log(2 * math.pi) + logvar + (z - mean) ** 2 / math.exp(logvar))


def _loops(params: Tensor, sample: Tensor, spec: LatentSpec, images: int) -> tuple[float, float]:
    """TC and dimension-wise KL as the paper writes them: minibatch weights 1 / (images M).

    Expectations over categories are sums; with several variables the mean over which one is summed.
    """
    rows, z = params.numpy(), sample.numpy()
    m, units = len(rows), spec.cont
    weight = 1 / (images * m)
    p = []
    for logits in spec.logits:
        e = np.exp(rows[:, logits] - rows[:, logits].max(axis=1, keepdims=True))
        p.append(e / e.sum(axis=1, keepdims=True))
    drawn = [z[:, columns].argmax(axis=1) for columns in spec.categories]

    def q_units(i: int, j: int) -> float:
        logs = [_log_normal(z[i, d], rows[j, d], rows[j, units + d]) for d in range(units)]
        return math.exp(sum(logs))

    joint = prior = marginals = 0.0
    for i in range(m):
        for d in range(units):
            logs = [_log_normal(z[i, d], rows[j, d], rows[j, units + d]) for j in range(m)]
            marginals += math.log(weight * sum(map(math.exp, logs))) / m
            # E[log p(z)] over the posterior
            square = rows[i, d] ** 2 + math.exp(rows[i, units + d])
            prior += -0.5 * (math.log(2 * math.pi) + square) / m
        for v, p_v in enumerate(p):
            for k in range(p_v.shape[1]):
                mixture = math.log(weight * sum(p_v[j, k] for j in range(m)))
                marginals += p_v[i, k] * mixture / m
                prior += p_v[i, k] * -math.log(p_v.shape[1]) / m
                total = 0.0
                for j in range(m):
                    others = [p[u][j, drawn[u][i]] for u in range(len(p)) if u != v]
                    total += q_units(i, j) * p_v[j, k] * math.prod(others)
                joint += p_v[i, k] * math.log(weight * total) / m / len(p)
        if not p:
            joint += math.log(weight * sum(q_units(i, j) for j in range(m))) / m
    return joint - marginals, marginals - prior


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("images", [7, 1000])
def test_the_parts_are_the_papers_sums(spec: dict, images: int):
    latent = LatentSpec.from_dict(spec)
    params, sample = _rows(latent, 7)
    found = decompose(params, sample, latent)
    tc, dimension_kl = _loops(params, sample, latent, images)
    variables = latent.cont + len(latent.disc)
    log_n = math.log(images)  # of the paper's weights, which ours are without
    assert found.tc.item() == pytest.approx(tc - (variables - 1) * log_n, abs=1e-9)
    assert found.dimension_kl.item() == pytest.approx(dimension_kl + variables * log_n, abs=1e-9)


def _exact_log_joint(params: Tensor, z: Tensor, spec: LatentSpec) -> Tensor:
    """mean_i E[log 1/M sum_j q(z_i, c | n_j)] with every combination of categories summed over."""
    mean, std = params[:, spec.mean], (0.5 * params[:, spec.logvar]).exp()
    density = torch.distributions.Normal(mean[None], std[None]).log_prob(z[:, None]).sum(dim=2)
    p = [params[:, logits].softmax(dim=1) for logits in spec.logits]
    total = params.new_zeros(())
    for combination in itertools.product(*(range(size) for size in spec.disc)):
        of_each = torch.stack([p_v[:, k] for p_v, k in zip(p, combination, strict=True)]).prod(0)
        log_q = (density + of_each.log()[None]).logsumexp(dim=1) - math.log(len(params))
        total = total + (of_each * log_q).mean()
    return total


def test_several_variables_are_unbiased_in_value_and_gradient():
    """Over every draw of two images' categories, weighed by its probability."""
    spec = LatentSpec(1, (2, 3))
    params, _ = _rows(spec, 2)
    params.requires_grad_()
    normal = torch.randn(2, 1, dtype=torch.float64)
    z = params[:, spec.mean] + (0.5 * params[:, spec.logvar]).exp() * normal
    exact = _exact_log_joint(params, z, spec) - _exact_marginals(params, z, spec)
    (exact_gradient,) = torch.autograd.grad(exact, params, retain_graph=True)
    p = [params[:, logits].detach().softmax(dim=1) for logits in spec.logits]
    value, gradient = 0.0, torch.zeros_like(params)
    combinations = list(itertools.product(range(2), range(3)))
    for draw in itertools.product(combinations, combinations):
        probability = math.prod(float(p[0][i, a] * p[1][i, b]) for i, (a, b) in enumerate(draw))
        hot = torch.zeros(2, 5, dtype=torch.float64)
        for i, (a, b) in enumerate(draw):
            hot[i, a] = hot[i, 2 + b] = 1.0
        tc = decompose(params, torch.cat([z, hot], dim=1), spec).tc
        value += probability * tc.item()
        gradient += probability * torch.autograd.grad(tc, params, retain_graph=True)[0]
    assert value == pytest.approx(exact.item(), abs=1e-9)
    torch.testing.assert_close(gradient, exact_gradient)


def _exact_marginals(params: Tensor, z: Tensor, spec: LatentSpec) -> Tensor:
    """sum_d E[log q(z_d)] + sum_v E[log q(c_v)]."""
    mean, std = params[:, spec.mean], (0.5 * params[:, spec.logvar]).exp()
    density = torch.distributions.Normal(mean[None], std[None]).log_prob(z[:, None])
    total = (density.logsumexp(dim=1) - math.log(len(params))).mean(dim=0).sum()
    for logits in spec.logits:
        p = params[:, logits].softmax(dim=1).mean(dim=0)
        total = total + (p * p.log()).sum()
    return total


@pytest.mark.parametrize("spec", [s for s in SPECS if len(s.get("disc", ())) < 2], ids=str)
def test_gradients(spec: dict):
    latent = LatentSpec.from_dict(spec)
    params, _ = _rows(latent, 4)
    normal = torch.randn(4, latent.cont, dtype=torch.float64)
    uniform = torch.rand(4, latent.num_categories, dtype=torch.float64)

    def parts(rows: Tensor) -> tuple[Tensor, Tensor]:
        sample = reference.latent_sample(rows, latent, 0.5, normal, uniform)
        return decompose(rows, sample, latent)

    torch.autograd.gradcheck(parts, params.requires_grad_())


def _batch(spec: dict, rows: int = 6) -> tuple[JointVAE, dict[str, Tensor]]:
    model = JointVAE((1, 16, 16), spec).double()
    with torch.no_grad():
        model.encoder.head.weight.mul_(30)  # posteriors that differ
    return model, {
        "x": torch.rand(rows, 1, 16, 16, dtype=torch.float64),
        "normal": torch.randn(rows, model.spec.cont, dtype=torch.float64),
        "uniform": torch.rand(rows, model.spec.num_categories, dtype=torch.float64),
    }


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_the_loss_weighs_the_three_parts_of_the_kl(spec: dict):
    model, batch = _batch(spec)
    out = model.loss(**batch, step=1, objective=BetaTCObjective(beta=5.0))
    plain = model.loss(**batch, step=1, objective=BetaObjective(beta=1.0))
    params = model.encode_params(batch["x"])
    sample = reference.latent_sample(
        params, model.spec, model.temperature, batch["normal"], batch["uniform"]
    )
    tc, dimension_kl = _loops(params.detach(), sample.detach(), model.spec, 1)
    kl = out.kl_cont.sum() + out.kl_disc.sum()
    information = kl.item() - tc - dimension_kl
    total = out.reconstruction.item() + information + 5.0 * tc + dimension_kl
    assert out.loss.item() * 256 == pytest.approx(total, abs=1e-8)
    assert out.extra["tc"].item() == pytest.approx(tc, abs=1e-9)
    assert out.extra["mutual_information"].item() == pytest.approx(information, abs=1e-9)
    assert out.extra["dimension_kl"].item() == pytest.approx(dimension_kl, abs=1e-9)
    assert not any(value.requires_grad for value in out.extra.values())
    torch.testing.assert_close(
        (out.loss - plain.loss).detach() * 256, 4.0 * out.extra["tc"], rtol=1e-9, atol=1e-9
    )
    out.loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_beta_1_is_the_plain_vae():
    model, batch = _batch({"cont": 3, "disc": [4, 2]})
    ours = model.loss(**batch, step=1, objective=BetaTCObjective(beta=1.0)).loss
    plain = model.loss(**batch, step=1, objective=BetaObjective(beta=1.0)).loss
    assert ours.item() == plain.item()
    for one, other in zip(
        torch.autograd.grad(ours, list(model.parameters())),
        torch.autograd.grad(plain, list(model.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("spec", [{"cont": 1}, {"disc": [4]}], ids=str)
def test_one_variable_has_no_total_correlation(spec: dict):
    latent = LatentSpec.from_dict(spec)
    params, sample = _rows(latent, 9)
    assert decompose(params, sample, latent).tc.item() == pytest.approx(0.0, abs=1e-12)


# --- known total correlations ---------------------------------------------------------------------


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_of_correlated_gaussians(correlation: float):
    params = correlated_gaussians(1500, correlation, variance=0.3)
    spec = LatentSpec(2)
    sample = reference.gaussian_rsample(
        params[:, :2], params[:, 2:], torch.randn(1500, 2, dtype=torch.float64)
    )
    tc = -0.5 * math.log(1 - correlation**2)
    assert decompose(params, sample, spec).tc.item() == pytest.approx(tc, abs=0.05)


def test_of_variables_that_say_the_same():
    """Half of the images in either category of both variables: TC = log 2, all of it."""
    spec = LatentSpec(0, (2, 2))
    side = torch.tensor([[30.0, -30.0], [-30.0, 30.0]], dtype=torch.float64)
    params = torch.cat([side, side], dim=1).repeat(10, 1)
    sample = reference.evaluation_sample(params, spec)
    found = decompose(params, sample, spec)
    assert found.tc.item() == pytest.approx(math.log(2))
    assert found.dimension_kl.item() == pytest.approx(0.0, abs=1e-9)


def test_of_a_unit_that_says_the_category():
    spec = LatentSpec(1, (2,))
    side = torch.tensor([[20.0, 0.0, 30.0, -30.0], [-20.0, 0.0, -30.0, 30.0]], dtype=torch.float64)
    params = side.repeat(10, 1)
    sample = reference.evaluation_sample(params, spec)
    sample[:, :1] += torch.randn(20, 1, dtype=torch.float64)
    assert decompose(params, sample, spec).tc.item() == pytest.approx(math.log(2))


# --- extremes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("logvar", [-80.0, 80.0])
@pytest.mark.parametrize("logit", [0.0, 80.0, 1e4])
def test_extremes_are_finite(logvar: float, logit: float):
    spec = LatentSpec(2, (3, 2))
    params = torch.randn(8, spec.num_params)
    params[:, spec.logvar] = logvar
    params[::2, 4:] *= logit
    params.requires_grad_()
    sample = reference.latent_sample(params, spec, 0.5, torch.randn(8, 2), torch.rand(8, 5))
    found = decompose(params, sample, spec)
    (gradient,) = torch.autograd.grad(found.tc, params)
    assert found.tc.isfinite()
    assert gradient.isfinite().all()


def test_what_is_not_finite_shows():
    spec = LatentSpec(2, (3,))
    for column in (0, 2, 4):
        params, sample = _rows(spec, 5)
        params[1, column] = math.nan
        assert not decompose(params, sample, spec).tc.isfinite()


def test_bad_settings():
    with pytest.raises(ArgumentError, match="beta must be a finite number of at least 0, got -1"):
        BetaTCObjective(beta=-1.0)
    with pytest.raises(ArgumentError, match="'max'"):
        BetaTCObjective(channel_reduction="max")  # type: ignore[arg-type]
