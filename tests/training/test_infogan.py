from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from examples import in_ci
from tiny_runs import assert_same_state, flags_of, tiny_settings, write_arrays
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from fastjvae import JointVAE, LatentSpec, load
from fastjvae.cli import main
from fastjvae.data import load as load_data
from fastjvae.errors import ArgumentError, NonFiniteLossError, RunError
from fastjvae.model.checkpoint import read_checkpoint
from fastjvae.training.infogan.losses import InfoGAN
from fastjvae.training.infogan.settings import InfoGANConfig
from fastjvae.training.infogan.trainer import SCALARS, InfoGANTrainer
from fastjvae.training.processes import Processes
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.settings.saved import config_from_dict
from fastjvae.training.settings.train import TrainConfig


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


def config_of(data: Path, **changes: Any) -> InfoGANConfig:
    return InfoGANConfig(**tiny_settings(data, **changes))


def trainer_of(config: InfoGANConfig, folder: Path) -> InfoGANTrainer:
    return InfoGANTrainer(config, load_data(config.source()), RunFolder(folder))


# --- losses ---------------------------------------------------------------------------------------


def problem(codes: LatentSpec, noise: int = 0) -> tuple[JointVAE, InfoGAN, Tensor, Tensor]:
    spec = LatentSpec(codes.cont + noise, codes.disc)
    model = JointVAE((1, 16, 16), spec).double()
    gan = InfoGAN(model, codes, disc_information=0.7, cont_information=0.3).double()
    inputs = model.prior_sample(5)
    return model, gan, inputs, torch.rand(5, 1, 16, 16, dtype=torch.float64)


def _loops(
    model: JointVAE, gan: InfoGAN, images: Tensor, inputs: Tensor
) -> tuple[list[float], float, float]:
    """Log odds of images, and the bounds of the information of both kinds of codes, nats."""
    encoder: Any = model.encoder
    hidden = encoder.hidden(encoder.features(images).flatten(1)).relu()
    odds = gan.odds(hidden).flatten().tolist()
    rows, values = encoder.head(hidden).tolist(), inputs.tolist()
    n, units, spec = len(rows), gan.codes.cont, model.spec
    cont = sum(0.5 * math.log(2 * math.pi * math.e) for _ in range(units))  # H(N(0, 1))
    disc = sum(math.log(size) for size in spec.disc)  # H(uniform)
    for row, value in zip(rows, values, strict=True):
        for d in range(units):
            mean, logvar = row[d], row[spec.cont + d]
            square = (value[d] - mean) ** 2 / math.exp(logvar)
            cont += -0.5 * (math.log(2 * math.pi) + logvar + square) / n
        for columns, logits in zip(spec.categories, spec.logits, strict=True):
            total = sum(math.exp(logit) for logit in row[logits])
            chosen = row[logits][value[columns].index(1.0)]
            disc += (chosen - math.log(total)) / n
    return odds, cont, disc


def _softplus(x: float) -> float:
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(
    ("codes", "noise"),
    [
        (LatentSpec(2, (4,)), 0),
        (LatentSpec(2, (4, 3)), 3),
        (LatentSpec(0, (4,)), 2),
        (LatentSpec(3), 0),
    ],
)
def test_both_losses_are_the_papers(codes: LatentSpec, noise: int):
    model, gan, inputs, real = problem(codes, noise)
    generated = model.decode(inputs)
    real_odds, *_ = _loops(model, gan, real, inputs)
    odds, cont, disc = _loops(model, gan, generated, inputs)
    information = 0.3 * cont + 0.7 * disc
    own, right = gan.discriminator_loss(model, real, generated, inputs)
    expected = sum(_softplus(-o) for o in real_odds) / 5 + sum(_softplus(o) for o in odds) / 5
    assert own.item() == pytest.approx(expected - information)
    correct = sum(o > 0 for o in real_odds) + sum(o < 0 for o in odds)
    assert right.item() == pytest.approx(correct / 10)
    loss, *found = gan.generator_loss(model, generated, inputs)
    assert loss.item() == pytest.approx(sum(_softplus(-o) for o in odds) / 5 - information)
    assert [value.item() for value in found] == pytest.approx([cont, disc])


def test_the_information_is_at_most_that_of_the_codes():
    _, gan, inputs, _ = problem(LatentSpec(0, (4, 3)))
    sure = 60 * (2 * inputs - 1)
    assert gan.information(sure, inputs)[1].item() == pytest.approx(math.log(4) + math.log(3))
    blind = torch.zeros_like(sure)
    assert gan.information(blind, inputs)[1].item() == pytest.approx(0.0, abs=1e-12)


def test_extremes_are_finite():
    model, gan, inputs, _ = problem(LatentSpec(2, (4,)))
    params = torch.randn(5, model.spec.num_params, dtype=torch.float64)
    for logvar in (-80.0, 80.0):
        params[:, model.spec.logvar] = logvar
        params[:, 4:] = 1e4 * torch.randn(5, 4)
        assert all(value.isfinite() for value in gan.information(params, inputs))


def test_noise_has_no_divergence(data: Path, tmp_path: Path):
    trainer = trainer_of(config_of(data, noise_units=3), tmp_path / "run")
    assert trainer.model.spec == LatentSpec(5, (4,))
    trainer.train()
    model = load(tmp_path / "run")
    params = model.encode_params(torch.rand(6, 1, 16, 16))
    for units in (model.spec.mean, model.spec.logvar):
        assert (params[:, units][:, 2:] == 0).all()
        assert (params[:, units][:, :2] != 0).all()
    sample = torch.zeros(2, 9)
    sample[1, 3] = 2.0
    images = model.decode(sample)
    assert not torch.equal(images[0], images[1])  # but the generator uses it


# --- training -------------------------------------------------------------------------------------


def test_a_step_moves_each_network_by_its_own_loss(data: Path, tmp_path: Path):
    config = config_of(data, generator_lr=3e-4)
    trainer = trainer_of(config, tmp_path / "run")
    model, gan = trainer.model, trainer.objective
    copies = [p.detach().clone() for p in model.decoder.parameters()]
    noise = trainer.noise.get_state()
    images = trainer.batches.gather(trainer.batches.select(0)) / 255
    trainer.train_step()
    judges = [p.detach().clone() for p in trainer.judges]

    other = trainer_of(config, tmp_path / "other")
    other.noise.set_state(noise)
    inputs = other.model.prior_sample(8, other.noise)
    generated = other.model.decode(inputs).detach()
    own, _ = other.objective.discriminator_loss(other.model, images, generated, inputs)
    near = {"rtol": 0.0, "atol": 5e-5}  # of updates by 2e-4 and 3e-4, whose sign is Adam's
    adam = torch.optim.Adam(other.judges, lr=2e-4, betas=(0.5, 0.999), fused=True)
    own.backward()
    adam.step()
    for p, expected in zip(other.judges, judges, strict=True):
        torch.testing.assert_close(p.detach(), expected, **near)
    inputs = other.model.prior_sample(8, other.noise)
    loss, *_ = other.objective.generator_loss(other.model, other.model.decode(inputs), inputs)
    decoder = list(other.model.decoder.parameters())
    gradients = torch.autograd.grad(loss, decoder)
    for p, gradient in zip(decoder, gradients, strict=True):
        p.grad = gradient
    torch.optim.Adam(decoder, lr=3e-4, betas=(0.5, 0.999), fused=True).step()
    for p, expected in zip(decoder, model.decoder.parameters(), strict=True):
        torch.testing.assert_close(p, expected, **near)
    assert all(not torch.equal(a, b) for a, b in zip(copies, decoder, strict=True))
    assert all(p.requires_grad for p in (*model.parameters(), *gan.parameters()))


def test_codes_show_in_the_images_from_the_beginning():
    """He et al. (2015): a layer behind a ReLU keeps the mean square of what it gets."""
    model, gan, _, real = problem(LatentSpec(4, (3,)))
    inputs = model.prior_sample(400)
    logits = model.decode_logits(inputs)
    assert 0.3 < logits.std(dim=0).mean() < 3.0
    assert logits.mean(dim=0).abs().mean() < 3.0
    hidden = model.encoder.hidden_features(real)  # type: ignore[operator]
    assert 0.2 < hidden.square().mean() / real.square().mean() < 5.0
    assert gan.judge(model, real).odds.abs().max() < 3.0


@in_ci
def test_training_is_stable_and_raises_the_information(data: Path, tmp_path: Path):
    config = config_of(data, steps=400, log_every=50, checkpoint_every=1000, batch_size=20)
    trainer = trainer_of(config, tmp_path / "run")
    assert trainer.train()
    records = read_metrics(trainer.run)
    assert set(SCALARS) <= records[0].keys()
    # Of 4 codes for 4 kinds of images, which have no continuous factor to keep the other codes for.
    assert records[0]["information_disc"] < 1.1 < 1.2 < records[-1]["information_disc"]
    assert records[-1]["information_disc"] <= math.log(4) + 1e-5
    assert max(record["information_cont"] for record in records) > 0.5
    late = records[4:]
    assert all(0.4 < r["discriminator_accuracy"] < 0.999 for r in late)
    assert all(abs(r[name]) < 10 for r in records for name in SCALARS)


def _stop_at(trainer: InfoGANTrainer, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    take: Callable[[int], None] = trainer.take

    def stopping(number: int) -> None:
        take(number)
        if number + 1 == step:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(trainer, "take", stopping)


@pytest.mark.parametrize("stop", [1, 5, 7])
def test_resume_is_bitwise_as_if_never_stopped(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
):
    config = config_of(data, noise_units=2)
    assert trainer_of(config, tmp_path / "whole").train()
    first = trainer_of(config, tmp_path / "parts")
    _stop_at(first, stop, monkeypatch)
    assert not first.train()
    assert (first.step, first.stop_signal) == (stop, signal.SIGINT)
    torch.manual_seed(123)
    second = trainer_of(config, tmp_path / "parts")
    assert second.step == stop
    assert second.train()
    states = [read_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts")]
    for state in states:
        state["rng"].pop("cpu")  # of the test, not of the trainer
    assert_same_state(*states)
    logs = [read_metrics(RunFolder(tmp_path / name)) for name in ("whole", "parts")]
    for records in logs:
        for record in records:
            assert record.pop("images_per_s") > 0
    assert logs[0] == logs[1]


def test_a_loss_that_is_not_finite_stops_the_run(data: Path, tmp_path: Path):
    trainer = trainer_of(config_of(data), tmp_path / "run")
    trainer.train_step()
    with torch.no_grad():
        trainer.objective.odds.bias[0] = float("nan")
    trainer.train_step()
    with pytest.raises(NonFiniteLossError, match="at step 2: discriminator_loss, generator_loss"):
        trainer.save()


def test_nothing_in_a_step_waits_for_the_device(data: Path, tmp_path: Path):
    class Calls(TorchDispatchMode):
        names: list[str] = []  # noqa: RUF012

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.names.append(str(func))
            return func(*args, **(kwargs or {}))

    trainer = trainer_of(config_of(data), tmp_path / "run")
    trainer.train_step()
    with Calls() as calls:
        trainer.train_step()
    assert len(calls.names) > 50
    waiting = ("_local_scalar_dense", "aten.equal", "nonzero", "is_nonzero")
    assert not [name for name in calls.names if any(wait in name for wait in waiting)]


def test_half_precision_of_the_networks(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("fastjvae.training.device.cpu_has_bfloat16", lambda: True)
    trainer = trainer_of(config_of(data, precision="bf16"), tmp_path / "run")
    assert trainer.train()
    assert trainer.model.dtype == torch.float32


def test_it_trains_in_one_process(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = config_of(data)
    images, run = load_data(config.source()), RunFolder(tmp_path / "run")
    with pytest.raises(ArgumentError, match="InfoGAN trains in one process, got 2"):
        InfoGANTrainer(config, images, run, processes=Processes(0, 2, "cpu"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(flags_of("infogan", data, tmp_path / "run")) == 2


# --- settings and commands ------------------------------------------------------------------------


def test_settings_round_trip(data: Path):
    config = config_of(data, image_size=(16, 16), noise_units=4)
    again = config_from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert isinstance(again, InfoGANConfig)
    assert config.run_folder == "runs/infogan-arrays-seed0"
    assert config.differing(dataclasses.replace(config, generator_lr=1.0)) == "generator_lr"
    assert config.differing(TrainConfig(dataset="arrays", data_root=str(data))) == "method"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise_units": -1}, "--noise-units must be at least 0, got -1"),
        ({"disc_information": -1.0}, "--disc-information"),
        ({"cont_information": math.nan}, "--cont-information"),
        ({"generator_lr": 0.0}, "--generator-lr"),
        ({"discriminator_lr": math.inf}, "--discriminator-lr"),
        ({"cont": 0, "disc": (), "noise_units": 3}, "got neither"),
        ({"batch_size": 0}, "--batch-size"),
    ],
)
def test_impossible_settings(data: Path, change: dict[str, Any], message: str):
    with pytest.raises(ArgumentError, match=message):
        config_of(data, **change)


def test_a_run_is_trained_resumed_evaluated_drawn_and_exported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    assert main(flags_of("infogan", data, run)) == 0
    out = capsys.readouterr().out
    assert "accuracy" in out
    assert (run / "figures" / "traversals.png").exists()
    assert not (run / "figures" / "kl-growth.png").exists()
    assert main(["train", "--resume", str(run), "--steps", "16"]) == 0
    assert [record["step"] for record in read_metrics(RunFolder(run))] == [4, 8, 12, 13, 16]
    assert main(["evaluate", str(run), "--json"]) == 0
    lines = capsys.readouterr().out
    values = json.loads(lines[lines.index("{") :])
    assert values == json.loads((run / "evaluation.json").read_text())
    assert main(["figures", str(run), "--out", str(tmp_path / "drawn")]) == 0
    assert main(["export", str(run), "--to", "published"]) == 0
    capsys.readouterr()
    assert main(["figures", "kl-growth", str(run)]) == 2
    assert "metrics.jsonl has no KL" in capsys.readouterr().err
    model = load(run)
    assert model.latent_spec == {"cont": 2, "disc": [4]}
    assert main(["train", "--resume", str(run), "--timeout", "3"]) == 2


def test_several_seeds(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    flags = flags_of("infogan", data, tmp_path / "seeds", seeds="0,1")
    assert main([*flags, "--no-figures"]) == 0
    assert "seed 1" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "seeds").iterdir()} == {
        "seed0", "seed1", "seeds.json",
    }  # fmt: skip


def test_the_folder_of_another_method_is_refused(data: Path, tmp_path: Path):
    config = config_of(data)
    RunFolder(tmp_path / "run").create(TrainConfig(dataset="arrays", data_root=str(data)), {})
    with pytest.raises(RunError, match="method is None there, 'infogan' here"):
        trainer_of(config, tmp_path / "run")
