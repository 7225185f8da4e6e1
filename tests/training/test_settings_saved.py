from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path

import torch
from tiny_runs import SHARED, tiny_config, write_arrays

from fastjvae.cli import main
from fastjvae.data import load
from fastjvae.model.checkpoint import read_checkpoint
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.saved import config_from_dict, unknown_settings
from fastjvae.training.settings.train import TrainConfig
from fastjvae.training.trainer import Trainer


def _before(settings: dict) -> dict:
    """Settings under the names that they had."""
    names = {"disc_measure": "discrete_capacity"}
    return {names.get(name, name): value for name, value in settings.items()}


def test_settings_under_their_former_names(tmp_path: Path):
    config = tiny_config(tmp_path / "squares.npz", **SHARED)
    values = _before(config.to_dict())
    assert "discrete_capacity" in values
    assert config_from_dict(values) == TrainConfig.from_dict(values) == config
    assert unknown_settings(values) == {}
    assert unknown_settings({**values, "mood": 3}) == {"mood": 3}


def test_a_run_of_before_goes_on_under_the_present_names(tmp_path: Path):
    config = tiny_config(write_arrays(tmp_path), **SHARED, figures=False)
    run = RunFolder(tmp_path / "run")
    assert Trainer(config, load(config.source()), run).train()
    whole = json.loads(run.config_file.read_text())
    run.config_file.write_text(json.dumps({**whole, "training": _before(whole["training"])}))
    path = run.path / "checkpoint.pt"
    state = read_checkpoint(path)
    torch.save({**state, "config": _before(state["config"])}, path)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.check(config)  # the same run
        assert run.read_config() == config
        assert main(["train", "--resume", str(run), "--steps", "15"]) == 0
    assert run.read_config() == dataclasses.replace(config, steps=15)
    after = json.loads(run.config_file.read_text())["training"]
    assert after["disc_measure"] == "shared"
    assert "discrete_capacity" not in after
    assert "discrete_capacity" not in read_checkpoint(path)["config"]
