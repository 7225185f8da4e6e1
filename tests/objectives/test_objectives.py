from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from fastjvae import (
    BetaObjective,
    Capacity,
    CCBetaObjective,
    JointObjective,
    JointVAE,
    LatentSpec,
    functional,
)
from fastjvae.errors import ArgumentError

SPEC = {"cont": 3, "disc": [4, 2]}
CONT, DISC = Capacity(0.5, 5.0, 100, 30.0), Capacity(0.25, 9.0, 100, 20.0)


def _model(spec: dict = SPEC, channels: int = 1) -> JointVAE:
    return JointVAE((channels, 16, 16), spec).double()


def _batch(model: JointVAE, rows: int = 6) -> dict[str, torch.Tensor]:
    return {
        "x": torch.rand(rows, *model.img_size, dtype=torch.float64),
        "normal": torch.randn(rows, model.spec.cont, dtype=torch.float64),
        "uniform": torch.rand(rows, model.spec.num_categories, dtype=torch.float64),
    }


def _terms(model: JointVAE, x: torch.Tensor, normal: torch.Tensor, uniform: torch.Tensor):
    latent = functional.joint_latent(
        model.encode_params(x), model.spec, model.temperature, normal=normal, uniform=uniform
    )
    reconstruction = functional.bernoulli_reconstruction(model.decode_logits(latent.sample), x)
    return reconstruction, latent


@pytest.mark.parametrize("step", [1, 40, 1000])
def test_joint_objective_is_equation_8(step: int):
    model = _model()
    batch = _batch(model)
    out = model.loss(**batch, step=step, objective=JointObjective(CONT, DISC))
    reconstruction, latent = _terms(model, **batch)
    c_z = 0.5 + 4.5 * min(step / 100, 1)
    c_c = min(0.25 + 8.75 * min(step / 100, 1), math.log(4) + math.log(2))
    total = (
        reconstruction
        + 30 * (latent.kl_cont.sum() - c_z).abs()
        + 20 * (latent.kl_disc.sum() - c_c).abs()
    )
    torch.testing.assert_close(out.loss, total / 256)
    torch.testing.assert_close(out.reconstruction, reconstruction)
    assert out.capacity_cont.item() == pytest.approx(c_z)
    assert out.capacity_disc.item() == pytest.approx(c_c)
    assert (out.kl_cont.shape, out.kl_disc.shape, out.category_mean.shape) == ((3,), (2,), (6,))
    assert out.extra == {}
    assert out.loss.requires_grad
    assert not any(part.requires_grad for part in out[1:-1])


def test_information_measure_bounds_information():
    model = _model()
    batch = _batch(model)
    kl = model.loss(**batch, step=50, objective=JointObjective(CONT, DISC))
    information = model.loss(
        **batch, step=50, objective=JointObjective(CONT, DISC, disc_measure="information")
    )
    imbalance = functional.category_imbalance(kl.category_mean, model.spec).sum()
    below = kl.kl_disc.sum() < kl.capacity_disc  # untrained: so is the information
    assert below
    torch.testing.assert_close((information.loss - kl.loss) * 256, 20 * imbalance)


def test_beta_objective_is_the_weighted_bound():
    model = _model()
    batch = _batch(model)
    out = model.loss(**batch, step=1, objective=BetaObjective(beta=3.0))
    reconstruction, latent = _terms(model, **batch)
    total = reconstruction + 3 * (latent.kl_cont.sum() + latent.kl_disc.sum())
    torch.testing.assert_close(out.loss, total / 256)
    assert out.capacity_cont.item() == out.capacity_disc.item() == 0.0


def test_cc_beta_objective_has_one_capacity():
    model = _model()
    batch = _batch(model)
    out = model.loss(**batch, step=50, objective=CCBetaObjective(CONT))
    reconstruction, latent = _terms(model, **batch)
    kl = latent.kl_cont.sum() + latent.kl_disc.sum()
    torch.testing.assert_close(out.loss, (reconstruction + 30 * (kl - 2.75).abs()) / 256)
    assert out.extra["capacity_total"].item() == 2.75


@pytest.mark.parametrize("objective", [JointObjective(CONT, DISC), BetaObjective(), None])
@pytest.mark.parametrize("spec", [{"cont": 3}, {"disc": [4]}, SPEC])
def test_every_objective_takes_every_kind_of_latents(objective: object, spec: dict):
    model = _model(spec)
    out = model.loss(**_batch(model), step=1, objective=objective)  # type: ignore[arg-type]
    out.loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert out.kl_cont.shape == (spec.get("cont", 0),)
    assert out.kl_disc.shape == (len(spec.get("disc", ())),)


def test_channel_reduction_sum_is_channels_times_mean():
    model = _model(channels=3)
    batch = _batch(model)
    free = Capacity(0.0, 0.0, 1, gamma=0.0)
    mean = model.loss(**batch, step=1, objective=JointObjective(free, free))
    total = model.loss(**batch, step=1, objective=JointObjective(free, free, "sum"))
    torch.testing.assert_close(total.loss, 3 * mean.loss)


def test_a_missing_capacity_is_an_error_that_says_how_to_do_without():
    model = _model()
    with pytest.raises(ArgumentError, match=r"3 continuous units .* gamma=0.0"):
        model.loss(**_batch(model), step=1, objective=JointObjective(disc=DISC))
    with pytest.raises(ArgumentError, match=r"discrete variables \[4, 2\]"):
        model.loss(**_batch(model), step=1, objective=JointObjective(cont=CONT))


def test_bad_objectives():
    with pytest.raises(ArgumentError, match="'mutual'"):
        JointObjective(CONT, DISC, disc_measure="mutual")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="got -1"):
        BetaObjective(beta=-1.0)
    for make in (JointObjective, BetaObjective, lambda **k: CCBetaObjective(CONT, **k)):
        with pytest.raises(ArgumentError, match="'max'"):
            make(channel_reduction="max")


def test_step_as_a_tensor_and_as_an_int_agree():
    model = _model()
    batch = _batch(model)
    objective = JointObjective(CONT, DISC)
    by_int = model.loss(**batch, step=33, objective=objective)
    by_tensor = model.loss(**batch, step=torch.tensor(33), objective=objective)
    torch.testing.assert_close(by_int.loss, by_tensor.loss)


def test_an_objective_of_ones_own_needs_only_loss():
    class Twice:
        def loss(self, model, x, step, noise):
            out = JointObjective(CONT, DISC).loss(model, x, step, noise)
            return out._replace(loss=2 * out.loss)

    model = _model()
    batch = _batch(model)
    once = model.loss(**batch, step=3, objective=JointObjective(CONT, DISC))
    torch.testing.assert_close(model.loss(**batch, step=3, objective=Twice()).loss, 2 * once.loss)


def test_gamma_as_a_tensor_can_be_annealed():
    model = _model()
    batch = _batch(model)
    gamma = torch.tensor(30.0, dtype=torch.float64)
    objective = JointObjective(Capacity(0.5, 5.0, 100, gamma), DISC)
    before = model.loss(**batch, step=3, objective=objective)
    gamma.zero_()
    after = model.loss(**batch, step=3, objective=objective)
    penalty = 30 * (before.kl_cont.sum() - before.capacity_cont).abs() / 256
    torch.testing.assert_close(before.loss - after.loss, penalty)


class _Identity(nn.Module):
    """Encoder and decoder that pass a (N, 1, 1, W) image through as latent rows."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) if x.dim() == 4 else x[:, None, None, :]


def test_terms_of_a_model_one_can_compute_by_hand():
    spec = LatentSpec(1, (2,))
    decoder = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Unflatten(1, (1, 1, 4)))
    model = JointVAE((1, 1, 4), spec, encoder=_Identity(), decoder=decoder)
    model.decoder[0].weight.data.zero_()  # logits 0: every pixel costs log 2
    x = torch.tensor([[[[1.0, 0.0, 0.5, 0.5]]]])  # mean 1, logvar 0, logits equal
    free = Capacity(0.0, 0.0, 1, 1.0)
    out = model.loss(x, 1, JointObjective(free, free), seed=0)
    assert out.reconstruction.item() == pytest.approx(4 * math.log(2))
    assert out.kl_cont.tolist() == pytest.approx([0.5])
    assert out.kl_disc.tolist() == pytest.approx([0.0], abs=1e-6)
    assert out.loss.item() == pytest.approx((4 * math.log(2) + 0.5) / 4)
