"""Callbacks are told of records and checkpoints, and may end a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tiny_runs import tiny_config, write_arrays

from fastjvae.data import load
from fastjvae.training import Callback, RunFolder, Trainer
from fastjvae.training.run_folder import read_metrics


class Written(Callback):
    def __init__(self, stop_at: int | None = None) -> None:
        self.told: list[Any] = []
        self.stop_at = stop_at

    def on_log(self, record: dict[str, Any]) -> None:
        self.told.append(record)

    def on_checkpoint(self, path: Path) -> None:
        self.told.append(path)

    def should_stop(self, record: dict[str, Any]) -> bool:
        return record["step"] == self.stop_at


class OnlyLogs:
    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_log(self, record: dict[str, Any]) -> None:
        self.steps.append(record["step"])


def test_records_and_checkpoints_come_in_their_order(tmp_path: Path) -> None:
    config = tiny_config(write_arrays(tmp_path), steps=4, log_every=2, checkpoint_every=4)
    written, logs = Written(), OnlyLogs()
    trainer = Trainer(
        config, load(config.source()), RunFolder(tmp_path / "run"), callbacks=[written, logs]
    )
    assert trainer.train()
    records = read_metrics(RunFolder(tmp_path / "run"))
    assert written.told[:2] == records == trainer.history
    assert set(written.told[2:]) == {tmp_path / "run"}
    assert logs.steps == [2, 4]


def test_a_callback_ends_a_training_that_can_go_on(tmp_path: Path) -> None:
    config = tiny_config(write_arrays(tmp_path), steps=6, log_every=2, checkpoint_every=100)
    data, run = load(config.source()), RunFolder(tmp_path / "run")
    trainer = Trainer(config, data, run, callbacks=[Written(stop_at=2)])
    assert not trainer.train()
    assert (trainer.step, trainer.stop_signal) == (2, None)
    again = Trainer(config, data, run)
    assert again.step == 2
    assert again.train()
