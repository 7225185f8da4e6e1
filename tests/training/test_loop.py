from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from runs import stop_at, trainer_of
from tiny_runs import assert_same_state, tiny_config, write_arrays

from fastjvae import load
from fastjvae.data import load as load_data
from fastjvae.errors import (
    ArgumentError,
    CheckpointError,
    RunError,
)
from fastjvae.model.checkpoint import read_checkpoint
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.trainer import Trainer


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_finishes_the_step_and_restores_the_handler(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    number = getattr(signal, name)
    outside = signal.signal(number, signal.SIG_DFL)  # nohup has SIGHUP ignored
    try:
        trainer = trainer_of(tiny_config(data), tmp_path / "run")
        stop_at(trainer, 3, lambda: os.kill(os.getpid(), number), monkeypatch)
        assert not trainer.train()
        assert trainer.stop_signal == number
        assert read_checkpoint(tmp_path / "run" / "checkpoint.pt")["step"] == 3
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, outside)


def test_a_finished_run_trains_no_further(data: Path, tmp_path: Path):
    config = tiny_config(data)
    trainer_of(config, tmp_path / "run").train()
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    again = trainer_of(config, tmp_path / "run")
    assert again.finished
    assert again.train()
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before


def test_a_model_without_its_checkpoint_is_not_trained_over(data: Path, tmp_path: Path):
    config = tiny_config(data)
    trainer_of(config, tmp_path / "run").train()
    model = (tmp_path / "run" / "model.safetensors").read_bytes()
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        (tmp_path / "run" / name).unlink()
    longer, images = dataclasses.replace(config, steps=20), load_data(config.source())
    with pytest.raises(CheckpointError, match=r"no checkpoint\.pt to go on from; .*--start-from"):
        Trainer(longer, images, RunFolder(tmp_path / "run"), resuming=True)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == model
    assert read_metrics(RunFolder(tmp_path / "run"))[-1]["step"] == 13


def test_a_run_killed_before_its_model_was_written_gets_it(data: Path, tmp_path: Path):
    config = tiny_config(data)
    trainer_of(config, tmp_path / "run").train()
    model = (tmp_path / "run" / "model.safetensors").read_bytes()
    (tmp_path / "run" / "model.safetensors").unlink()
    assert trainer_of(config, tmp_path / "run").train()
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == model


def test_a_run_that_goes_on_is_not_loaded_from_its_old_end(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trainer_of(tiny_config(data), tmp_path / "run").train()
    longer = Trainer(
        tiny_config(data, steps=40),
        load_data(tiny_config(data).source()),
        RunFolder(tmp_path / "run"),
        resuming=True,
    )
    stop_at(longer, 20, lambda: os.kill(os.getpid(), signal.SIGINT), monkeypatch)
    assert not longer.train()
    assert_same_state(dict(load(tmp_path / "run").state_dict()), dict(longer.model.state_dict()))
    assert RunFolder(tmp_path / "run").read_config().steps == 40


def test_a_run_that_cannot_go_on_keeps_its_end(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = tiny_config(data, animate_every=4)
    folder = tmp_path / "run"
    trainer_of(config, folder).train()
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    def longer(**changes: Any) -> Trainer:
        wanted = dataclasses.replace(config, steps=40, **changes)
        return Trainer(wanted, load_data(config.source()), RunFolder(folder), resuming=True)

    def fail(_: int) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
        with pytest.raises(ArgumentError, match="tensorboard"):
            longer(tensorboard=True).train()
    trainer = longer()
    monkeypatch.setattr(trainer, "take", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        trainer.train()
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    trainer = longer()
    stop_at(trainer, 14, lambda: os.kill(os.getpid(), signal.SIGINT), monkeypatch)
    assert not trainer.train()
    assert RunFolder(folder).read_config() == trainer.config
    assert not (folder / "model.safetensors").exists()


@pytest.mark.parametrize("written", ["checkpoint_every", "log_every", "animate_every"])
def test_a_folder_deleted_while_it_trains_is_not_made_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
):
    rare = {"checkpoint_every": 1000, "log_every": 1000}
    trainer = trainer_of(tiny_config(data, **{**rare, written: 5}), tmp_path / "run")
    stop_at(trainer, 3, lambda: shutil.rmtree(tmp_path / "run"), monkeypatch)
    with pytest.raises(RunError, match=f"{tmp_path / 'run'} was deleted, moved or emptied"):
        trainer.train()
    assert trainer.step == 5
    assert not (tmp_path / "run").exists()


def test_a_run_cannot_end_before_where_it_is(data: Path, tmp_path: Path):
    config = tiny_config(data)
    trainer_of(config, tmp_path / "run").train()
    run = RunFolder(tmp_path / "run")
    shorter = dataclasses.replace(config, steps=7)
    with pytest.raises(ArgumentError, match="13 steps already, so it cannot end at step 7"):
        Trainer(shorter, load_data(config.source()), run, resuming=True)
    assert run.read_config() == config
