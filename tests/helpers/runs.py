"""Training runs for tests: one of a folder, one that ends early, what one has left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import assert_same_state

from fastjvae.data import load as load_data
from fastjvae.model.checkpoint import read_checkpoint
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.settings.train import TrainConfig
from fastjvae.training.trainer import Trainer


def trainer_of(config: TrainConfig, folder: Path) -> Trainer:
    return Trainer(config, load_data(config.source()), RunFolder(folder))


def comparable(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Everything a run leaves behind but its times."""
    return read_checkpoint(folder / "checkpoint.pt"), losses(folder)


def losses(folder: Path) -> list[dict[str, Any]]:
    """The records of a run but for its times."""
    records = read_metrics(RunFolder(folder))
    for record in records:
        assert record.pop("images_per_s") > 0
        record.pop("beside_steps_s", None)
    return records


def assert_same_losses(ours: Path, theirs: Path, tolerance: float = 1e-5) -> None:
    """Both runs recorded the same numbers at the same steps but for rounding."""
    mine, right = losses(ours), losses(theirs)
    assert [record["step"] for record in mine] == [record["step"] for record in right]
    for one, other in zip(mine, right, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert value == pytest.approx(other[name], rel=tolerance, abs=2 * tolerance), name


def stop_at(
    trainer: Trainer, step: int, how: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    take = trainer.train_step

    def train_step() -> None:
        take()
        if trainer.step == step:
            how()

    monkeypatch.setattr(trainer, "train_step", train_step)


def assert_resume_changes_nothing(
    config: TrainConfig, folder: Path, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that a signal stops after a step, and that goes on, is bitwise one that does not."""
    assert trainer_of(config, folder / "whole").train()
    first = trainer_of(config, folder / "parts")
    stop_at(first, stop, lambda: os.kill(os.getpid(), signal.SIGINT), monkeypatch)
    assert not first.train()
    assert (first.step, first.stop_signal) == (stop, signal.SIGINT)
    torch.manual_seed(123)  # the resumed process has another state of the default generator
    second = trainer_of(config, folder / "parts")
    assert second.step == stop
    assert second.train()
    whole, parts = comparable(folder / "whole"), comparable(folder / "parts")
    for state, _ in (whole, parts):
        state["rng"].pop("cpu")  # of the test, not of the trainer
    assert_same_state(whole, parts)
