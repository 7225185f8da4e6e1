"""Training with the networks by Triton's kernels, in the interpreter where there is no GPU."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("triton", reason="needs triton")

from examples import some
from kernel_cases import DEVICE
from programs import finish, start
from runs import assert_resume_changes_nothing, losses, trainer_of
from tiny_runs import fails, tiny_config, tiny_flags, write_arrays

from fastjvae.cli import main
from fastjvae.data import load as load_data
from fastjvae.errors import BackendError
from fastjvae.functional.backends import choice
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.saved import config_from_dict
from fastjvae.training.settings.train import TrainConfig
from fastjvae.training.trainer import Trainer

pytestmark = pytest.mark.skipif(DEVICE != "cpu", reason="the runs of these tests are on the CPU")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


def config_of(data: Path, **changes: Any) -> TrainConfig:
    """A run of few images, because the interpreter is slow."""
    small = {"steps": 3, "batch_size": 3, "log_every": 1, "figures": False}
    return tiny_config(data, **{"networks": "triton", **small, **changes})


def run(config: TrainConfig, folder: Path) -> Trainer:
    trainer = trainer_of(config, folder)
    assert trainer.train()
    return trainer


def assert_same_losses(ours: Path, theirs: Path) -> None:
    for mine, right in zip(losses(ours), losses(theirs), strict=True):
        for name, value in mine.items():
            assert value == pytest.approx(right[name], rel=1e-4, abs=1e-4), name


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2, "warmup": 3}])
def test_training_is_as_with_the_modules(
    data: Path, tmp_path: Path, changes: dict[str, Any], launches: dict[str, int]
):
    run(config_of(data, networks="modules", **changes), tmp_path / "modules")
    assert not launches
    trainer = run(config_of(data, **changes), tmp_path / "triton")
    # Of 3 stages of the encoder and 4 of the decoder, 3 steps of one or two parts.
    assert launches["relu_backward"] == 7 * 3 * changes.get("accumulate", 1)
    assert_same_losses(tmp_path / "triton", tmp_path / "modules")
    names = {name: p.shape for name, p in trainer.model.named_parameters()}
    plain = trainer_of(config_of(data, networks="modules"), tmp_path / "plain").model
    assert names == {name: p.shape for name, p in plain.named_parameters()}


@pytest.mark.parametrize("stop", some([1, 2]))
def test_resume_is_bitwise(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int):
    assert_resume_changes_nothing(config_of(data), tmp_path, stop, monkeypatch)


def test_a_run_may_go_on_by_the_other_networks(data: Path, tmp_path: Path):
    run(config_of(data, steps=1), tmp_path / "run")
    longer = config_of(data, steps=2, networks="modules")
    folder = RunFolder(tmp_path / "run")
    trainer = Trainer(longer, load_data(longer.source()), folder, resuming=True)
    assert trainer.step == 1
    assert trainer.model.encoder.networks == "modules"
    assert trainer.train()


def test_the_setting_is_kept_and_may_be_missing(data: Path):
    config = config_of(data)
    values = json.loads(json.dumps(config.to_dict()))
    assert values["networks"] == "triton"
    assert config_from_dict(values) == config
    del values["networks"]
    assert config_from_dict(values) == dataclasses.replace(config, networks="modules")


def test_where_the_kernels_cannot_run_one_sentence_says_why(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(choice, "interpreted", lambda: False)
    said = fails(tiny_flags(data, tmp_path / "run", networks="triton"), 1, capsys)
    assert said == (
        "fastjvae: networks='triton' was asked for, but its kernels need CUDA or HIP tensors and"
        " this one is on cpu\n"
    )
    with pytest.raises(BackendError, match="networks='triton' was asked for"):
        trainer_of(config_of(data), tmp_path / "other")
    assert "networks" in fails(tiny_flags(data, tmp_path / "run", networks="cudnn"), 2, capsys)


def test_several_processes_train_as_one(data: Path, tmp_path: Path):
    settings = {"batch_size": 3, "steps": 3, "log_every": 1}
    assert main([*tiny_flags(data, tmp_path / "alone", **settings), "--no-figures"]) == 0
    flags = tiny_flags(data, tmp_path / "run", networks="triton", **settings)
    results = finish(start([*flags, "--no-figures"], 2))
    assert [code for code, _, _ in results] == [0, 0], results
    assert "stride" not in results[0][2]  # DistributedDataParallel looks at those of gradients
    assert_same_losses(tmp_path / "run", tmp_path / "alone")


def test_autocast_trains(data: Path, tmp_path: Path):
    trainer = run(config_of(data, precision="bf16", steps=1), tmp_path / "run")
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in trainer.model.parameters())
