from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from examples import in_ci, some
from latent_rows import correlated_gaussians, images_of, model_of_rows
from torch import Tensor, nn

from fastjvae import (
    BetaObjective,
    FactorObjective,
    JointVAE,
    LatentSpec,
)
from fastjvae.errors import ArgumentError
from fastjvae.functional import Noise
from fastjvae.functional.backends import reference
from fastjvae.objectives.factor import permute

SPECS = [{"cont": 3}, {"disc": [4]}, {"disc": [4, 2]}, {"cont": 2, "disc": [3, 2]}]


def _problem(spec: dict, gamma: float = 7.0) -> tuple[JointVAE, FactorObjective, dict[str, Tensor]]:
    model = JointVAE((1, 16, 16), spec).double()
    objective = FactorObjective(model.spec, gamma, layers=2, width=8, seed=3).double()
    with torch.no_grad():
        model.encoder.head.weight.mul_(30)  # posteriors that differ
        nn.init.normal_(objective.discriminator.head.weight)  # and odds that do
    batch = {
        "x": torch.rand(6, 1, 16, 16, dtype=torch.float64),
        "normal": torch.randn(6, model.spec.cont, dtype=torch.float64),
        "uniform": torch.rand(6, model.spec.num_categories, dtype=torch.float64),
    }
    return model, objective, batch


def _logits(objective: FactorObjective, rows: Tensor) -> Tensor:
    """The discriminator in plain modules: (N, 2)."""
    layers: list[nn.Module] = []
    for layer in objective.discriminator.hidden:
        layers += [layer, nn.LeakyReLU(0.2)]
    logits: Tensor = nn.Sequential(*layers, objective.discriminator.head)(rows)
    return logits


def _permuted(rows: Tensor, orders: Tensor, spec: LatentSpec) -> Tensor:
    """One variable of one image at a time."""
    permuted = torch.empty_like(rows)
    columns = [*(slice(d, d + 1) for d in range(spec.cont)), *spec.categories]
    for variable, where in enumerate(columns):
        for image in range(len(rows)):
            permuted[image, where] = rows[orders[image, variable], where]
    return permuted


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_loss_and_gradients_are_those_of_the_papers_two_updates(spec: dict):
    model, objective, batch = _problem(spec)
    out = model.loss(**batch, step=5, objective=objective)
    out.loss.backward()
    params = model.encode_params(batch["x"])
    z = reference.latent_sample(
        params, model.spec, model.temperature, batch["normal"], batch["uniform"]
    )
    logits = _logits(objective, z)
    tc = (logits[:, 0] - logits[:, 1]).mean()
    bound = model.loss(**batch, step=5, objective=BetaObjective(beta=1.0)).loss
    total = bound + 7.0 * tc / 256
    assert out.loss.item() == pytest.approx(total.item(), abs=1e-12)
    assert out.extra["tc"].item() == pytest.approx(tc.item())
    for parameter, expected in zip(
        model.parameters(), torch.autograd.grad(total, list(model.parameters())), strict=True
    ):
        torch.testing.assert_close(parameter.grad, expected)

    rows = z.detach()
    permuted = _permuted(rows, objective._orders(rows, 5), model.spec)
    zeros = torch.zeros(6, dtype=torch.int64)
    own = 0.5 * (
        F.cross_entropy(_logits(objective, rows), zeros)
        + F.cross_entropy(_logits(objective, permuted), zeros + 1)
    )
    assert out.extra["discriminator_loss"].item() == pytest.approx(own.item())
    for parameter, expected in zip(
        objective.parameters(),
        torch.autograd.grad(own, list(objective.parameters())),
        strict=True,
    ):
        torch.testing.assert_close(parameter.grad, expected)
    right = (_logits(objective, rows).argmax(dim=1) == 0).sum() + (
        _logits(objective, permuted).argmax(dim=1) == 1
    ).sum()
    assert out.extra["discriminator_accuracy"].item() == pytest.approx(right.item() / 12)
    assert not any(value.requires_grad for value in out.extra.values())


def test_neither_loss_moves_the_other_ones_parameters():
    model, objective, batch = _problem({"cont": 2, "disc": [3, 2]}, gamma=0.0)
    model.loss(**batch, step=1, objective=objective).loss.backward()
    ours = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    own = [p.grad.clone() for p in objective.parameters() if p.grad is not None]
    model.zero_grad()
    model.loss(**batch, step=1, objective=BetaObjective(beta=1.0)).loss.backward()
    for a, p in zip(ours, model.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad)
    objective.zero_grad()
    objective.gamma = 1e6  # what the model pays is nothing to the discriminator
    model.loss(**batch, step=1, objective=objective).loss.backward()
    for a, p in zip(own, objective.parameters(), strict=True):
        assert torch.equal(a, p.grad)  # type: ignore[arg-type]


def test_before_its_first_step_the_discriminator_penalises_nothing():
    model = JointVAE((1, 16, 16), {"cont": 2, "disc": [3]})
    out = model.loss(torch.rand(6, 1, 16, 16), 1, FactorObjective(model.spec, layers=3, width=20))
    assert out.extra["tc"].item() == 0.0
    assert out.extra["discriminator_loss"].item() == pytest.approx(math.log(2))


def test_the_default_discriminator_is_the_papers():
    objective = FactorObjective({"cont": 10})
    sizes = [(layer.in_features, layer.out_features) for layer in objective.discriminator.hidden]
    assert sizes == [(10, 1000), *[(1000, 1000)] * 5]
    assert objective.discriminator.head.out_features == 2
    (group,) = objective.parameter_groups()
    assert (group["lr"], group["betas"]) == (1e-4, (0.5, 0.9))
    assert len(group["params"]) == 14


# --- permutations ---------------------------------------------------------------------------------


def test_every_variable_is_permuted_by_itself_and_whole():
    spec = LatentSpec(2, (3, 2))
    rows = torch.rand(50, 7)
    orders = FactorObjective(spec, layers=1, width=2)._orders(rows, 1)
    assert orders.shape == (50, 4)
    permuted = permute(rows, orders, spec)
    torch.testing.assert_close(permuted, _permuted(rows, orders, spec), rtol=0, atol=0)
    blocks = [*([d] for d in range(2)), range(2, 5), range(5, 7)]
    for columns in blocks:
        ours = {tuple(row) for row in permuted[:, columns].tolist()}
        assert ours == {tuple(row) for row in rows[:, columns].tolist()}
    for a, b in itertools.combinations(range(4), 2):
        assert not torch.equal(orders[:, a], orders[:, b])


def test_permutations_depend_on_seed_and_step_alone():
    rows = torch.rand(20, 3)

    def orders(seed: int, step: int | Tensor) -> Tensor:
        torch.manual_seed(step if isinstance(step, int) else 77)
        return FactorObjective({"cont": 3}, layers=1, width=2, seed=seed)._orders(rows, step)

    first = orders(0, 1)
    assert torch.equal(first, orders(0, torch.tensor(1)))
    assert not torch.equal(first, orders(0, 2))
    assert not torch.equal(first, orders(1, 1))


def test_permutations_are_uniform():
    """The first of 4 rows comes from every place alike: 250 of 1,000 steps, deviation 14."""
    rows, objective = torch.rand(4, 1), FactorObjective({"cont": 1}, layers=1, width=2)
    places = torch.stack([objective._orders(rows, step)[0, 0] for step in range(1, 1001)])
    counts = torch.bincount(places, minlength=4)
    assert (counts - 250).abs().max() < 60


def test_initialisation_depends_on_the_seed_alone():
    def weights(seed: int) -> Tensor:
        torch.rand(seed + 1)
        return (
            FactorObjective({"cont": 3}, layers=2, width=4, seed=seed)
            .discriminator.hidden[1]
            .weight
        )

    before = torch.get_rng_state()
    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))
    torch.set_rng_state(before)
    FactorObjective({"cont": 3}, layers=2, width=4)
    assert torch.equal(torch.get_rng_state(), before)


# --- known total correlations ---------------------------------------------------------------------


def _trained_tc(params: Tensor, spec: LatentSpec, steps: int) -> tuple[float, float]:
    """TC and accuracy of a discriminator that is trained on fixed posteriors, last 100 steps."""
    model = model_of_rows(spec)
    objective = FactorObjective(spec, layers=2, width=64, lr=1e-3).double()
    adam = torch.optim.Adam(objective.parameter_groups())
    found = []
    for step in range(1, steps + 1):
        batch = params[torch.randint(len(params), (256,))]
        out = objective.loss(model, images_of(batch), step, Noise())
        adam.zero_grad()
        out.loss.backward()
        adam.step()
        extra = out.extra
        found.append(torch.stack([extra["tc"], extra["discriminator_accuracy"]]))
    tc, accuracy = torch.stack(found[-100:]).mean(dim=0).tolist()
    return tc, accuracy


@pytest.mark.parametrize("correlation", some([0.8, 0.0]))
def test_the_odds_learn_the_total_correlation_of_gaussians(correlation: float):
    params = correlated_gaussians(20_000, correlation, variance=0.1)
    tc, accuracy = _trained_tc(params, LatentSpec(2), steps=500)
    assert tc == pytest.approx(-0.5 * math.log(1 - correlation**2), abs=0.08)
    if correlation == 0.0:
        assert accuracy == pytest.approx(0.5, abs=0.05)
    else:
        assert 0.6 < accuracy < 0.9


@in_ci
def test_the_odds_learn_the_total_correlation_of_categories():
    """Two variables of two categories, the same in both: TC = log 2."""
    side = torch.tensor([[9.0, -9.0], [-9.0, 9.0]], dtype=torch.float64)
    params = torch.cat([side, side], dim=1).repeat(500, 1)
    tc, accuracy = _trained_tc(params, LatentSpec(0, (2, 2)), steps=300)
    assert tc == pytest.approx(math.log(2), abs=0.1)
    assert accuracy == pytest.approx(0.75, abs=0.05)  # half of the permuted rows agree


# --- extremes and errors --------------------------------------------------------------------------


def test_extremes_are_finite():
    spec = LatentSpec(2, (3, 2))
    params = torch.randn(8, spec.num_params, dtype=torch.float64)
    params[:, spec.logvar] = torch.tensor([-80.0, 20.0])
    params[::2, 4:] *= 1e4
    objective = FactorObjective(spec, layers=2, width=8)
    with torch.no_grad():
        nn.init.normal_(objective.discriminator.head.weight)
    out = objective.loss(model_of_rows(spec), images_of(params), 1, Noise())
    out.loss.backward()
    assert out.extra["tc"].isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective.parameters())


def test_what_is_not_finite_shows():
    model, objective, batch = _problem({"cont": 2})
    with torch.no_grad():
        objective.discriminator.hidden[0].weight[0, 0] = math.nan
    assert model.loss(**batch, step=1, objective=objective).loss.isnan()


def test_bad_settings():
    for settings, message in (
        ({"gamma": -1.0}, "gamma must be a finite number of at least 0, got -1"),
        ({"layers": 0}, "layers must be an integer of at least 1, got 0"),
        ({"width": 0}, "width must be an integer of at least 1, got 0"),
        ({"lr": 0.0}, "lr must be a finite number above 0, got 0"),
        ({"seed": -1}, "seed must be between 0 and 2147483647, got -1"),
        ({"channel_reduction": "max"}, "'max'"),
    ):
        with pytest.raises(ArgumentError, match=message):
            FactorObjective({"cont": 2}, **settings)  # type: ignore[arg-type]


def test_an_objective_of_another_models_variables():
    model = JointVAE((1, 16, 16), {"cont": 2})
    with pytest.raises(ArgumentError, match=r"\{'cont': 3\}, the model has \{'cont': 2\}"):
        model.loss(torch.rand(2, 1, 16, 16), 1, FactorObjective({"cont": 3}, layers=1, width=2))
