from __future__ import annotations

import copy
import dataclasses
import random
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from examples import EVERYTHING
from programs import Program
from runs import assert_resume_changes_nothing, comparable, trainer_of
from tiny_runs import assert_same_state, tiny_config, tiny_flags, write_arrays

from fastjvae.data import load as load_data
from fastjvae.errors import (
    CheckpointError,
)
from fastjvae.model.checkpoint import read_checkpoint, write_checkpoint
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.objective import FactorConfig
from fastjvae.training.trainer import Trainer


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


@pytest.mark.parametrize("stop", [1, 4, 5, 7, 12])
@pytest.mark.parametrize("objective", ["joint", "drawn", "cc-beta", "factor", "beta-tc"])
def test_resume_is_bitwise_as_if_never_stopped(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, objective: str
):
    small = FactorConfig(layers=2, width=16)
    settings: dict[str, Any] = {"objective": objective}
    if objective == "factor":
        settings["factor"] = small
    elif objective == "drawn":
        settings = {"drawn_gamma": 10.0}
    config = tiny_config(data, **settings)
    assert_resume_changes_nothing(config, tmp_path, stop, monkeypatch)


def test_a_checkpoint_of_a_gpu_goes_on_here(data: Path, tmp_path: Path):
    """Generator states of a GPU are other numbers of other sizes, and its Adam has other flags."""
    config = tiny_config(data, steps=6, warmup=4)
    trainer_of(config, tmp_path / "run").train()
    folder = tmp_path / "run"
    state = read_checkpoint(folder / "checkpoint.pt")
    state["rng"] |= {"noise": torch.zeros(16, dtype=torch.uint8), "cuda": [torch.zeros(16)]}
    state["optimizer"]["param_groups"][0] |= {"capturable": True, "fused": None}
    write_checkpoint(folder, state)
    shutil.copytree(folder, tmp_path / "again")
    longer = dataclasses.replace(config, steps=13)
    ends = []
    for path in (folder, tmp_path / "again"):
        resumed = Trainer(longer, load_data(config.source()), RunFolder(path), resuming=True)
        assert resumed.step == 6
        assert resumed.train()
        flags = resumed.optimizer.param_groups[0]
        assert (flags["capturable"], flags["fused"], flags["betas"]) == (False, True, (0.9, 0.999))
        ends.append(resumed.model.state_dict())
    assert_same_state(*ends)  # from numbers that the seed and the step give


def test_a_checkpoint_of_other_data_or_another_model_is_refused(data: Path, tmp_path: Path):
    config = tiny_config(data)
    trainer_of(config, tmp_path / "run").train()
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    write_arrays(tmp_path, seed=0, images=24)  # the same file, other content
    with pytest.raises(
        CheckpointError, match=r"other images \(40 of them then, 24 of other content now\)"
    ):
        trainer_of(config, tmp_path / "run")
    write_arrays(tmp_path)
    other = dataclasses.replace(config, cont=3)
    RunFolder(tmp_path / "run").change_config(other)
    with pytest.raises(CheckpointError, match="another model"):
        trainer_of(other, tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before


def test_a_checkpoint_of_a_run_with_other_settings_is_refused(data: Path, tmp_path: Path):
    trainer_of(tiny_config(data, lr=0.01, objective="beta"), tmp_path / "other").train()
    config = tiny_config(data)
    trainer_of(config, tmp_path / "run").train()
    (tmp_path / "other" / "checkpoint.pt").replace(tmp_path / "run" / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="of another run: objective is 'beta' there"):
        trainer_of(config, tmp_path / "run")


OTHER_PARTS: dict[str, Any] = {
    "config": 5,
    "config of another type": lambda state: {"config": {**state["config"], "batch_size": "x"}},
    "data": 5,
    "rng": {},
    "metrics": torch.zeros(3),
    "metrics of another run": lambda state: {"metrics": torch.zeros(2, 3)},
    "optimizer": {},
    "optimizer of another type": lambda state: {"optimizer": {**state["optimizer"], "state": "x"}},
    "moments of another shape": lambda state: _with_moment(state, "exp_avg", torch.zeros(2)),
    "moments of another kind": lambda state: _with_moment(state, "momentum", torch.zeros(2)),
    "model": lambda state: {"model": {**state["model"], "encoder.head.bias": torch.zeros(3)}},
}


def _with_moment(state: dict[str, Any], name: str, value: torch.Tensor) -> dict[str, Any]:
    optimizer = copy.deepcopy(state["optimizer"])
    optimizer["state"][0][name] = value
    return {"optimizer": optimizer}


def test_a_checkpoint_with_a_part_of_another_form_is_one_sentence(data: Path, tmp_path: Path):
    config = tiny_config(data)
    run = tmp_path / "run"
    trainer_of(config, run).train()
    whole = read_checkpoint(run / "checkpoint.pt")
    images = load_data(config.source())
    for name, part in OTHER_PARTS.items():
        change = part(whole) if callable(part) else {name: part}
        torch.save({**whole, **change}, run / "checkpoint.pt")
        with pytest.raises(CheckpointError, match=r"checkpoint.pt .* before it is .*previous") as e:
            Trainer(dataclasses.replace(config, steps=14), images, RunFolder(run), resuming=True)
        assert "\n" not in str(e.value), name


def test_moments_of_another_layout_go_on_as_they_are(data: Path, tmp_path: Path):
    config = tiny_config(data, checkpoint_every=13)
    for folder in ("as written", "contiguous"):
        trainer_of(config, tmp_path / folder).train()
    path = tmp_path / "contiguous" / "checkpoint.pt"
    state = read_checkpoint(path)
    for moments in state["optimizer"]["state"].values():
        moments.update({name: value.contiguous() for name, value in moments.items()})
    state["optimizer"]["param_groups"][0]["lr"] = "what the run says"
    torch.save(state, path)
    found = []
    for folder in ("as written", "contiguous"):
        longer = Trainer(
            dataclasses.replace(config, steps=16),
            load_data(config.source()),
            RunFolder(tmp_path / folder),
            resuming=True,
        )
        longer.train()
        found.append(dict(longer.model.state_dict()))
    assert_same_state(*found)


# --- kill -9 --------------------------------------------------------------------------------------


def _killed_run(data: Path, folder: Path, after_s: float) -> None:
    """Start a real training process and kill it ``after_s`` seconds after its first checkpoint."""
    first = not (folder / "config.json").exists()
    begin = tiny_flags(data, folder, **{"steps": 100_000, "checkpoint-every": 3})
    process = Program(begin if first else ["train", "--resume", str(folder)])
    try:
        newest = _step_of(folder)
        deadline = time.monotonic() + 120
        while _step_of(folder) <= newest:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(after_s)
    finally:
        process.kill()
        process.communicate(timeout=60)


def _step_of(folder: Path) -> int:
    """Step of the newest checkpoint; the process beside us may be renaming them."""
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        with suppress(CheckpointError):
            return read_checkpoint(folder / name)["step"]
    return 0


def _check_kills(data: Path, tmp_path: Path, kills: int) -> None:
    folder = tmp_path / "killed"
    moments = random.Random(0)
    for _ in range(kills):
        _killed_run(data, folder, moments.uniform(0.0, 0.3))
    run = RunFolder(folder)
    steps = _step_of(folder) + 7
    config = dataclasses.replace(run.read_config(), steps=steps)
    resumed = Trainer(config, load_data(config.source()), run, resuming=True)
    assert resumed.train()
    whole = trainer_of(config, tmp_path / "whole")
    assert whole.train()
    assert_same_state(dict(resumed.model.state_dict()), dict(whole.model.state_dict()))
    first, second = (comparable(f)[1] for f in (folder, tmp_path / "whole"))
    assert first == second
    left = {p.name for p in folder.iterdir()}
    assert left == {
        ".lock", "config.json", "metrics.jsonl", "model.safetensors",
        "checkpoint.pt", "checkpoint.previous.pt",
    }  # fmt: skip


def test_killed_runs_resume(data: Path, tmp_path: Path):
    _check_kills(data, tmp_path, kills=3 if EVERYTHING else 1)


@pytest.mark.slow
def test_runs_killed_many_times_resume(data: Path, tmp_path: Path):
    _check_kills(data, tmp_path, kills=30)
