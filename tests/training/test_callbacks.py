"""Callbacks are told of records and checkpoints, and may end a training."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from multiprocess import run_processes
from tiny_runs import tiny_config, write_arrays

from fastjvae.data import load
from fastjvae.errors import ArgumentError
from fastjvae.training import Callback, RunFolder, Trainer
from fastjvae.training.processes import Processes
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


@pytest.mark.parametrize(
    ("callbacks", "sentence"),
    [
        (
            [print],
            "on_checkpoint or should_stop, got a value of type builtin_function_or_method",
        ),
        ([Written(), object()], "got a value of type object without any of them"),
        (
            print,
            r"a list of them, such as \[callback\], got a value of type builtin_function",
        ),
        (Written(), "must be a list of them, .* got a value of type Written"),
        ([OnlyLogs], r"a callback is an instance, OnlyLogs\(...\), got the class OnlyLogs itself"),
    ],
)
def test_what_can_never_be_called_is_refused(callbacks: Any, sentence: str, tmp_path: Path) -> None:
    config = tiny_config(write_arrays(tmp_path))
    with pytest.raises(ArgumentError, match=sentence):
        Trainer(config, load(config.source()), None, callbacks=callbacks)


def _train_in_part(folder: Path, rank: int, world: int) -> None:
    config = tiny_config(folder / "squares0.npz", steps=6, log_every=2, checkpoint_every=100)
    processes = Processes(rank, world, "cpu", dist.new_group(backend="gloo"))
    written = Written(stop_at=2)
    trainer = Trainer(
        config,
        load(config.source()),
        RunFolder(folder / "run"),
        processes=processes,
        callbacks=[written],
    )
    assert not trainer.train()
    assert trainer.step == 2  # on every process
    told = [each if isinstance(each, Path) else each["step"] for each in written.told]
    assert told == ([2, folder / "run"] if rank == 0 else [])


def test_of_several_processes_rank_0_calls_and_all_stop(tmp_path: Path) -> None:
    write_arrays(tmp_path)
    run_processes(partial(_train_in_part, tmp_path), 2)
