"""Runs on images that are given in Python: what they record, and what commands say of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import IMAGES, tiny_config, tiny_flags, write_arrays
from torch.utils.data import DataLoader, TensorDataset

from fastjvae import JointVAE, metrics
from fastjvae.cli import main
from fastjvae.data import DataSource, ImageData
from fastjvae.data import load as load_data
from fastjvae.errors import ArgumentError
from fastjvae.metrics.evaluation import evaluate
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.train import TrainConfig
from fastjvae.training.trainer import Trainer

PIXELS = torch.arange(IMAGES * 256, dtype=torch.uint8).reshape(IMAGES, 1, 16, 16)


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return tiny_config(write_arrays(tmp_path), steps=1)


def recorded(folder: Path) -> dict[str, Any]:
    """What config.json says of the data."""
    data = json.loads((folder / "config.json").read_text())["data"]
    assert isinstance(data, dict)
    return data


def test_where_the_data_come_from_is_recorded(config: TrainConfig, tmp_path: Path) -> None:
    loaded, mine = load_data(config.source()), ImageData("mine", PIXELS)
    loader = DataLoader(TensorDataset(PIXELS), batch_size=8)
    for number, (data, name, given) in enumerate(
        (
            (loaded, "arrays/squares0.npz", False),
            (load_data(DataSource("digits", image_size=(16, 16))), "digits/train", True),
            (loader, "TensorDataset", True),
            (mine, "mine", True),
        )
    ):
        folder = tmp_path / f"run{number}"
        trainer = Trainer(config, data, RunFolder(folder))
        images = len(data.dataset if isinstance(data, DataLoader) else data)
        assert recorded(folder) == {"name": name, "images": images, "given_in_python": given}
        assert RunFolder(folder).own_data() == (name if given else None)
    assert trainer.train()  # and at its end, when the file is written again
    assert recorded(folder) == {"name": "mine", "images": IMAGES, "given_in_python": True}


def fails(argv: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(argv) == code
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return str(err)


def test_commands_ask_for_the_data(
    config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    Trainer(config, ImageData("mine", PIXELS), RunFolder(run)).train()
    capsys.readouterr()  # its progress
    for command in ("evaluate", "figures"):
        error = fails([command, str(run)], 2, capsys)
        assert "images that were given in Python (mine): name a data set, one of digits" in error
        assert "evaluate(model, data)" in error
    error = fails(["train", "--resume", str(run), "--steps", "3"], 2, capsys)
    assert "go on there, by Trainer(config, data, run, resuming=True)" in error
    named = ["arrays", "--data-root", str(config.data_root)]
    assert main(["evaluate", str(run), *named, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == "arrays/squares0.npz"


def test_a_run_from_before_this_was_recorded(
    config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Trainer(config, load_data(config.source()), RunFolder(tmp_path / "run")).train()
    file = tmp_path / "run/config.json"
    values = json.loads(file.read_text())
    for data in ({}, {"data": None}, {"data": {"name": "x"}}):
        file.write_text(json.dumps({k: v for k, v in values.items() if k != "data"} | data))
        assert main(["evaluate", str(tmp_path / "run"), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["images"] == IMAGES


@pytest.mark.parametrize(
    ("data", "got"),
    [(PIXELS, r"Tensor of shape \(40, 1, 16, 16\)"), (PIXELS.numpy(), "ndarray"), ([1], "list")],
)
def test_data_that_are_no_image_data(
    config: TrainConfig, tmp_path: Path, data: Any, got: str
) -> None:
    model = JointVAE((1, 16, 16), {"cont": 2, "disc": [4]})
    match = rf"ImageData\(name, images\) of a uint8 tensor \(N, C, H, W\), got {got}"
    with pytest.raises(ArgumentError, match=match):
        Trainer(config, data, RunFolder(tmp_path / "run"))
    with pytest.raises(ArgumentError, match=match):
        evaluate(model, data)
    with pytest.raises(ArgumentError, match=match):
        metrics.score_model(model, data)
    assert not (tmp_path / "run").exists()


def test_two_channels_train_without_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 2, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=pixels, labels=np.zeros(IMAGES, int))
    assert main(tiny_flags(tmp_path / "a.npz", tmp_path / "run", steps=2)) == 0
    assert "figures: none, images of 2 channels are neither" in capsys.readouterr().out
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    assert not (tmp_path / "run/figures").exists()
    capsys.readouterr()
    assert "these have 2" in fails(["figures", str(tmp_path / "run")], 2, capsys)


def test_damaged_pictures_by_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, run = tmp_path / "in", tmp_path / "run"
    folder.mkdir()
    for number in range(9):
        Image.new("L", (16, 16), 20 * number).save(folder / f"{number}.png")
    for number in (3, 5):
        (folder / f"{number}.png").write_bytes(b"<html>")
    flags = tiny_flags(folder, run, batch_size=7, steps=1)
    flags[flags.index("arrays")] = "images"
    assert "2 of 9 pictures cannot be read" in fails(flags, 1, capsys)
    with pytest.warns(UserWarning, match="2 of 9 pictures cannot be read"):
        assert main([*flags, "--skip-damaged", "--no-figures"]) == 0
    with pytest.warns(UserWarning, match="2 of 9 pictures cannot be read"):
        assert main(["evaluate", str(run), "--json"]) == 0
    capsys.readouterr()
    flags[flags.index("--out") + 1] = str(tmp_path / "other")
    error = fails([*flags, "--skip-damaged", "--max-pixels", "100"], 1, capsys)
    assert "0.png has 16 x 16 pixels, more than 100" in error
