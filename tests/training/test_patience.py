"""Early stopping: when a run ends, which weights it keeps, and that a stop changes nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import comparable, losses
from tiny_runs import assert_same_state, tiny_config, write_arrays

from fastjvae import load
from fastjvae.data import load as load_data
from fastjvae.errors import ArgumentError
from fastjvae.model.checkpoint import read_checkpoint
from fastjvae.training import RunFolder, Trainer, fit
from fastjvae.training import held_out as held_out_watch
from fastjvae.training.patience import Patience
from fastjvae.training.settings.phases import Phase

ERRORS = [9.0, 5.0, 6.0, 5.0, 7.0, 1.0, 1.0]  # the best of the first four is the second


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


@pytest.fixture(autouse=True)
def looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at every record, and what it finds there: by the step, so that it does not matter in
    which process."""
    monkeypatch.setattr(held_out_watch.HeldOutWatch, "is_due", lambda *_: True)
    monkeypatch.setattr(
        held_out_watch, "reconstruction_error", lambda model, *_: error_of(model.steps_taken)
    )
    log = Trainer._read_record

    def noted(self: Trainer, since_s: float) -> Any:
        self.model.steps_taken = self.step
        return log(self, since_s)

    monkeypatch.setattr(Trainer, "_read_record", noted)


def error_of(step: Any) -> float:
    return ERRORS[int(step) // 2 - 1]


def trainer_of(config: Any, folder: Path | None, **more: Any) -> Trainer:
    train, test = (load_data(config.source(split)) for split in ("train", "test"))
    run = None if folder is None else RunFolder(folder)
    return Trainer(config, train, run, held_out=test, **more)


def config_of(data: Path, **changes: Any) -> Any:
    settings = {"steps": 12, "log_every": 2, "checkpoint_every": 100, "held_out": 0.1}
    return tiny_config(data, **{**settings, "patience": 3, **changes})


class Weights:
    """The weights at each record."""

    def __init__(self) -> None:
        self.trainer: Any = None
        self.at: dict[int, dict[str, torch.Tensor]] = {}

    def on_log(self, record: dict[str, Any]) -> None:
        state = self.trainer.model.state_dict()
        self.at[record["step"]] = {name: each.clone() for name, each in state.items()}


def test_a_run_ends_with_the_weights_of_its_best_evaluation(
    data: Path, tmp_path: Path, capsys: Any
) -> None:
    weights = Weights()
    trainer = weights.trainer = trainer_of(config_of(data), tmp_path / "run", callbacks=[weights])
    assert trainer.train()
    assert (trainer.step, trainer.stop_signal) == (10, None)
    assert [r["reconstruction_held_out"] for r in trainer.history] == ERRORS[:5]
    assert_same_state(trainer.model.state_dict(), weights.at[4])
    assert_same_state(load(tmp_path / "run").state_dict(), weights.at[4])
    last = read_checkpoint(tmp_path / "run" / "checkpoint.pt")["model"]
    assert_same_state(last, weights.at[10])  # from which a longer run would go on
    said = capsys.readouterr().err
    assert "after step 10: the held-out images have not been reconstructed better in 3" in said
    assert "the model is that of step 4" in said


def test_in_memory_too(data: Path) -> None:
    weights = Weights()
    trainer = weights.trainer = trainer_of(config_of(data), None, callbacks=[weights])
    assert trainer.train()
    assert trainer.step == 10
    assert_same_state(trainer.model.state_dict(), weights.at[4])


def test_a_run_that_gets_to_its_end_has_its_best_weights(data: Path, tmp_path: Path) -> None:
    weights = Weights()
    config = config_of(data, patience=4, steps=10)
    trainer = weights.trainer = trainer_of(config, tmp_path / "run", callbacks=[weights])
    assert trainer.train()
    assert trainer.step == 10
    assert_same_state(trainer.model.state_dict(), weights.at[4])
    again = trainer_of(config, tmp_path / "run")
    assert again.train()  # has ended before
    assert_same_state(again.model.state_dict(), weights.at[4])


def test_it_does_not_end_without_patience(data: Path, tmp_path: Path) -> None:
    plain = trainer_of(config_of(data, patience=None), tmp_path / "plain")
    assert plain.train()
    assert plain.step == 12
    assert "patience" not in read_checkpoint(tmp_path / "plain" / "checkpoint.pt")
    assert trainer_of(config_of(data, patience=100), tmp_path / "run").train()
    assert losses(tmp_path / "plain") == losses(tmp_path / "run")


class StopAt:
    def __init__(self, step: int) -> None:
        self.step = step

    def should_stop(self, record: dict[str, Any]) -> bool:
        return bool(record["step"] == self.step)


@pytest.mark.parametrize("stop", [2, 4, 8])
def test_a_resumed_run_counts_on(data: Path, tmp_path: Path, stop: int) -> None:
    config = config_of(data)
    assert trainer_of(config, tmp_path / "whole").train()
    first = trainer_of(config, tmp_path / "parts", callbacks=[StopAt(stop)])
    assert not first.train()
    second = trainer_of(config, tmp_path / "parts")
    assert second.train()
    assert second.step == 10
    whole, parts = comparable(tmp_path / "whole"), comparable(tmp_path / "parts")
    for state, _ in (whole, parts):
        state["rng"].pop("cpu")
    assert_same_state(whole, parts)
    models = [load(tmp_path / name).state_dict() for name in ("whole", "parts")]
    assert_same_state(*models)


def test_a_run_that_has_ended_goes_on_only_with_more_patience(data: Path, tmp_path: Path) -> None:
    config, run = config_of(data), tmp_path / "run"
    assert trainer_of(config, run).train()
    longer = dataclasses.replace(config, steps=14)
    assert trainer_of(longer, run, resuming=True).step == 10
    assert trainer_of(longer, run, resuming=True).finished
    patient = trainer_of(dataclasses.replace(longer, patience=4), run, resuming=True)
    assert not patient.finished
    assert patient.train()
    assert patient.step == 14
    assert patient._patience.step == 12


def test_only_the_last_phase_counts(data: Path, tmp_path: Path) -> None:
    phases = (Phase("types", 8), Phase("style", 6))
    trainer = trainer_of(config_of(data, steps=None, phases=phases, patience=1), tmp_path / "run")
    assert trainer.train()
    assert trainer.step == 14
    assert trainer._patience.step == 12


def test_it_needs_held_out_images(data: Path, tmp_path: Path) -> None:
    config = config_of(data, held_out=0.0)
    with pytest.raises(ArgumentError, match="--patience 3 needs held-out images") as error:
        Trainer(config, load_data(config.source()), RunFolder(tmp_path / "run"))
    assert "\n" not in str(error.value)
    images = np.zeros((40, 16, 16), np.uint8)
    with pytest.raises(ArgumentError, match="needs held-out images"):
        fit(images, held_out=0, patience=3, steps=4)


def test_a_number_that_is_none_is_never_better() -> None:
    patience, model = Patience(1), torch.nn.Linear(1, 1)
    assert not patience.is_better(float("nan"))
    patience.count(model, 2, float("nan"), better=False)  # type: ignore[arg-type]
    assert patience.is_over
    patience.give_best(model)  # type: ignore[arg-type]  there is none, and the last stay
    assert patience.state() == {}
