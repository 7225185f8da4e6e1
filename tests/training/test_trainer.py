from __future__ import annotations

import dataclasses
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from runs import stop_at, trainer_of
from tiny_runs import assert_same_state, tiny_config, write_arrays

from fastjvae import BetaObjective, JointVAE
from fastjvae.data import load as load_data
from fastjvae.errors import (
    ArgumentError,
    CheckpointError,
)
from fastjvae.model.checkpoint import read_checkpoint
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.trainer import Trainer


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


def test_a_run_folder_holds_what_is_promised(data: Path, tmp_path: Path):
    trainer = trainer_of(tiny_config(data), tmp_path / "run")
    assert trainer.train()
    records = read_metrics(trainer.run)
    assert [record["step"] for record in records] == [4, 8, 12, 13]
    assert set(records[0]) == {
        "step", "epoch", "loss", "reconstruction", "kl_cont", "kl_disc", "category_mean",
        "information", "capacity_cont", "capacity_disc", "images_per_s",
    }  # fmt: skip
    assert records[0]["capacity_cont"] == pytest.approx(0.2 * (1 + 2 + 3 + 4) / 4)
    loaded = JointVAE.from_pretrained(tmp_path / "run")
    assert_same_state(dict(loaded.state_dict()), dict(trainer.model.state_dict()))
    assert read_checkpoint(tmp_path / "run" / "checkpoint.previous.pt")["step"] == 10


def test_training_lowers_the_loss(data: Path, tmp_path: Path):
    trainer = trainer_of(tiny_config(data, steps=150, log_every=10), tmp_path / "run")
    trainer.train()
    records = read_metrics(trainer.run)
    assert records[-1]["reconstruction"] < 0.8 * records[0]["reconstruction"]


def test_every_image_is_seen_once_an_epoch(data: Path, tmp_path: Path):
    trainer = trainer_of(tiny_config(data, batch_size=7), tmp_path / "run")
    epochs = []
    for _ in range(2):
        indices = []
        for _ in range(6):  # 5 batches of 7 and one of 5
            indices.append(trainer.batches.select(trainer.step))
            trainer.step += 1
        assert [len(batch) for batch in indices] == [7] * 5 + [5]
        epochs.append(torch.cat(indices))
    assert all(torch.equal(order.sort().values, torch.arange(40)) for order in epochs)
    assert not torch.equal(*epochs)


def test_training_begins_with_the_weights_of_another_model(data: Path, tmp_path: Path):
    before = trainer_of(tiny_config(data), tmp_path / "before")
    before.train()
    config = tiny_config(data, start_from=str(tmp_path / "before"), seed=1)
    trainer = trainer_of(config, tmp_path / "run")
    assert_same_state(trainer.model.state_dict(), before.model.state_dict())
    assert trainer.step == 0
    trainer.train()
    assert not torch.equal(trainer.model.encoder.head.bias, before.model.encoder.head.bias)
    # From here on the run has a checkpoint of its own.
    shutil.rmtree(tmp_path / "before")
    resumed = trainer_of(config, tmp_path / "run")
    assert resumed.step == 13
    assert_same_state(resumed.model.state_dict(), trainer.model.state_dict())


def test_training_begins_with_a_model_of_the_published_code(data: Path, tmp_path: Path):
    spec = {"cont": 2, "disc": [4]}
    published = JointVAE((1, 32, 32), spec)
    torch.save(published.published_state_dict(), tmp_path / "model.pt")
    config = tiny_config(data, start_from=str(tmp_path / "model.pt"), image_size=(32, 32))
    trainer = trainer_of(config, tmp_path / "run")
    assert_same_state(trainer.model.state_dict(), published.state_dict())


def test_a_model_to_start_from_has_to_fit(data: Path, tmp_path: Path):
    JointVAE((1, 16, 16), {"cont": 3, "disc": [4]}).save_pretrained(tmp_path / "other")
    config = tiny_config(data, start_from=str(tmp_path / "other"))
    message = r"other has images of \(1, 16, 16\) and .*cont=3.*, this run has .* and .*cont=2"
    with pytest.raises(ArgumentError, match=message):
        trainer_of(config, tmp_path / "run")
    with pytest.raises(CheckpointError, match="none holds no model"):
        trainer_of(dataclasses.replace(config, start_from=str(tmp_path / "none")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


class _Learned:
    """An objective with a weight of its own: beta-VAE whose beta is learned towards 2."""

    def __init__(self) -> None:
        self.beta = torch.nn.Parameter(torch.tensor(1.0))
        self.steps = 0

    def loss(self, model, x, step, noise):
        self.steps += 1
        out = BetaObjective(1.0).loss(model, x, step, noise)
        return out._replace(loss=out.loss + (self.beta - 2) ** 2, extra={"beta": self.beta})

    def parameter_groups(self):
        return [{"params": [self.beta], "lr": 0.1}]

    def state_dict(self):
        return {"beta": self.beta.detach().clone(), "steps": self.steps}

    def load_state_dict(self, state):
        self.beta.data.copy_(state["beta"])
        self.steps = state["steps"]


def test_an_objective_with_state_is_trained_and_resumed_like_the_model(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = tiny_config(data)
    images = load_data(config.source())

    def trainer(folder: str) -> Trainer:
        return Trainer(config, images, RunFolder(tmp_path / folder), objective=_Learned())

    whole = trainer("whole")
    assert whole.train()
    assert whole.objective.steps == 13
    assert whole.objective.beta.item() > 1.5
    first = trainer("parts")
    stop_at(first, 6, lambda: os.kill(os.getpid(), signal.SIGINT), monkeypatch)
    assert not first.train()
    second = trainer("parts")
    assert second.train()
    assert second.objective.steps == 13
    assert torch.equal(second.objective.beta, whole.objective.beta)
    assert_same_state(dict(second.model.state_dict()), dict(whole.model.state_dict()))
    assert read_metrics(second.run)[-1]["beta"] == read_metrics(whole.run)[-1]["beta"]


def test_nothing_in_a_step_waits_for_the_device(data: Path, tmp_path: Path):
    from torch.utils._python_dispatch import TorchDispatchMode

    class Calls(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.names: list[str] = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.names.append(str(func))
            return func(*args, **(kwargs or {}))

    trainer = trainer_of(tiny_config(data), tmp_path / "run")
    trainer.train_step()
    with Calls() as calls:
        trainer.train_step()
        trainer.train_step()
    waiting = ("_local_scalar_dense", "aten.equal", "nonzero")
    assert not [name for name in calls.names if any(wait in name for wait in waiting)]
    # Weight gradients of four convolutions and the input gradient of one, in each step.
    assert sum("convolution_backward" in name for name in calls.names) == 2 * 5
