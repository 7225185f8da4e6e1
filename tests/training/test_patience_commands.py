"""Early stopping by commands: of one run, of several processes and of several seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from programs import finish, start
from runs import losses
from tiny_runs import seeds_flags, tiny_flags, write_arrays

from fastjvae import load
from fastjvae.cli import main
from fastjvae.training.held_out import HeldOutWatch
from fastjvae.training.settings.train import TrainConfig

# At such a rate no weight changes: the first of the evaluations, every 30 steps, stays the best.
OWN: dict[str, Any] = {"patience": 2, "held_out": 0.5, "lr": 1e-30, "steps": 4_000, "log_every": 10}
END = 90


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


def test_several_processes_end_together(data: Path, tmp_path: Path) -> None:
    flags = {name: tiny_flags(data, tmp_path / name, **OWN) for name in ("alone", "run")}
    assert main([*flags["alone"], "--no-figures"]) == 0
    assert losses(tmp_path / "alone")[-1]["step"] == END
    results = finish(start([*flags["run"], "--no-figures"], 2))
    assert [code for code, _, _ in results] == [0, 0], results
    assert [err.count("training ends after step") for _, _, err in results] == [1, 0]
    assert losses(tmp_path / "run")[-1]["step"] == END
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_seeds_each_end_by_their_own(data: Path, tmp_path: Path) -> None:
    assert main([*seeds_flags(data, tmp_path / "many", "0,1", **OWN), "--jobs", "1"]) == 0
    for seed in (0, 1):
        run = tmp_path / "many" / f"seed{seed}"
        assert losses(run)[-1]["step"] == END
        assert load(run).spec.disc == (4,)
    assert json.loads((tmp_path / "many" / "seeds.json").read_text())["unfinished"] == []


def test_there_is_an_evaluation_in_each_epoch_as_far_as_it_costs_little() -> None:
    images = torch.zeros(16, 1, 8, 8)
    watch = HeldOutWatch(
        images, TrainConfig(dataset="arrays", data_root="x", log_every=1), 10**6, 7
    )
    assert [step for step in range(1, 30) if watch.is_due(step)] == [7, 14, 21, 28]
    few = TrainConfig(dataset="arrays", data_root="x", log_every=1, batch_size=2)
    watch = HeldOutWatch(images, few, 10**6, 7)  # 96 steps train on 12 images for each of 16
    assert [step for step in range(1, 200) if watch.is_due(step)] == [96, 192]
