"""Runs that hold images out: what they record, and what commands take for the run's test images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_runs import IMAGES, tiny_config, tiny_flags, write_arrays

from fastjvae import load
from fastjvae.cli import main
from fastjvae.data import DataSource
from fastjvae.data import load as load_data
from fastjvae.data.held_out import held_out_rows
from fastjvae.metrics.evaluation import evaluate
from fastjvae.metrics.reconstruction import reconstruction_error
from fastjvae.training.held_out import HeldOutWatch
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.settings.train import TrainConfig
from fastjvae.training.trainer import Trainer

TEST = int(0.1 * IMAGES)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


@pytest.fixture
def run(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> RunFolder:
    folder = tmp_path / "run"
    assert main([*tiny_flags(data, folder), "--no-figures"]) == 0
    capsys.readouterr()
    return RunFolder(folder)


def config_of(run: RunFolder) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(run.config_file.read_text())
    return values


def evaluated(argv: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["evaluate", *argv, "--json"]) == 0
    values: dict[str, Any] = json.loads(capsys.readouterr().out)
    return values


def test_the_end_of_a_run_is_judged_by_images_that_it_has_not_seen(
    run: RunFolder, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, test = (
        load_data(DataSource("arrays", root=str(data), held_out=0.1, split=split))  # type: ignore[arg-type]
        for split in ("train", "test")
    )
    values = json.loads(run.evaluation_file.read_text())
    assert (values["data"], values["images"]) == ("arrays/squares0.npz/test", TEST)
    found = evaluate(load(run.path), test)
    assert values["reconstruction"] == found.reconstruction
    assert values["reconstruction_train"] == evaluate(load(run.path), train).reconstruction
    assert config_of(run)["training"]["held_out"] == 0.1
    assert config_of(run)["data"] == {
        "name": "arrays/squares0.npz/train",
        "images": IMAGES - TEST,
        "given_in_python": False,
        "held_out": {"images": TEST, "seed": 0},
        "sha256": train.digest(),
    }
    assert evaluated([str(run)], capsys) == values
    assert evaluated([str(run), "--split", "train"], capsys)["images"] == IMAGES - TEST
    assert main(["evaluate", str(run)]) == 0
    assert f"training images   {values['reconstruction_train']:.2f}" in capsys.readouterr().out


def test_metrics_have_the_error_of_held_out_images(run: RunFolder) -> None:
    records = read_metrics(run)
    assert [record["step"] for record in records if "reconstruction_held_out" in record] == [
        8,
        12,
        13,
    ]
    model = load(run.path)
    source = DataSource("arrays", root=config_of(run)["training"]["data_root"], held_out=0.1)
    test = load_data(DataSource("arrays", root=source.root, held_out=0.1, split="test"))
    error = reconstruction_error(model, test.images, "mean", 256)
    assert records[-1]["reconstruction_held_out"] == pytest.approx(error, rel=1e-6)


def test_looks_at_held_out_images_cost_a_few_percent() -> None:
    images = torch.zeros(300, 1, 1, 1, dtype=torch.uint8)
    for steps, log_every, looks in ((1_500, 50, 20), (20_000, 50, 20), (500, 1, 11)):
        watch = HeldOutWatch(images, TrainConfig(dataset="mnist", log_every=log_every), steps)
        due = [s for s in range(log_every, steps + 1, log_every) if watch.is_due(s)]
        assert len(due) == looks
        assert 256 * len(due) <= 0.09 * 64 * steps


def test_a_resumed_run_has_the_same_images(data: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*tiny_flags(data, whole), "--no-figures"]) == 0
    assert main([*tiny_flags(data, parts, steps=5), "--no-figures"]) == 0
    assert main(["train", "--resume", str(parts), "--steps", "13"]) == 0
    first, second = (load(path).state_dict() for path in (whole, parts))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert config_of(RunFolder(whole))["data"] == config_of(RunFolder(parts))["data"]
    assert RunFolder(whole).evaluation_file.read_text() == (
        RunFolder(parts).evaluation_file.read_text()
    )


def test_seeds_have_the_same_images(data: Path, tmp_path: Path) -> None:
    flags = tiny_flags(data, tmp_path / "runs", steps=2)
    assert main([*flags, "--no-figures", "--seeds", "0,1"]) == 0
    first, second = (config_of(RunFolder(tmp_path / f"runs/seed{seed}")) for seed in (0, 1))
    assert first["data"] == second["data"]


def test_moved_images_are_divided_as_they_were_and_others_are_taken_whole(
    run: RunFolder, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "elsewhere.npz"
    shutil.copy(data, moved)
    assert evaluated([str(run), "--data-root", str(moved)], capsys)["images"] == TEST
    other = write_arrays(tmp_path, seed=1, images=30)
    assert main(["evaluate", str(run), "--data-root", str(other), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["images"] == 30
    assert json.loads(out)["reconstruction_train"] is None
    assert "squares1.npz are not those of" in err
    assert "all of them are taken" in err


def test_folders_train_and_test_are_what_split_means(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split, count in (("train", 30), ("test", 5)):
        for number in range(count):
            path = tmp_path / "p" / split / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB" if split == "train" else "L", (16, 16), number).save(path)
    flags = tiny_flags(tmp_path / "p", tmp_path / "run", steps=2)
    assert main([flags[0], "images", *flags[2:], "--no-figures"]) == 0
    run = RunFolder(tmp_path / "run")
    assert config_of(run)["data"]["held_out"] == {"images": 5, "folder": "test"}
    capsys.readouterr()
    assert evaluated([str(run)], capsys)["images"] == 5
    assert evaluated([str(run), "--split", "train"], capsys)["images"] == 30
    assert main(["evaluate", str(run), "images", "--data-root", str(tmp_path / "p"), "--json"]) == 0


def test_a_run_that_holds_nothing_out_is_evaluated_whole(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(data)  # as runs of before
    run = RunFolder(tmp_path / "run")
    assert Trainer(config, load_data(config.source()), run).train()
    assert "held_out" not in config_of(run)["data"]
    assert "reconstruction_held_out" not in read_metrics(run)[-1]
    capsys.readouterr()
    found = evaluated([str(run)], capsys)
    assert (found["images"], found["reconstruction_train"]) == (IMAGES, None)


def test_data_with_a_split_have_the_training_error_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--steps", "2", "--out", str(tmp_path / "run"), "--no-figures", "--device", "cpu"]
    assert main(["train", "digits", *flags]) == 0
    values = json.loads((tmp_path / "run/evaluation.json").read_text())
    assert values["data"] == "digits/test"
    assert values["reconstruction_train"] is not None
    assert "reconstruction_held_out" not in read_metrics(RunFolder(tmp_path / "run"))[-1]


def test_few_images_are_all_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = write_arrays(tmp_path, images=19)
    assert main([*tiny_flags(few, tmp_path / "run", steps=2), "--no-figures"]) == 0
    said = "fastjvae: arrays/squares0.npz has 19 images, fewer than 20, so that none are held out"
    assert said in capsys.readouterr().err
    values = json.loads((tmp_path / "run/evaluation.json").read_text())
    assert (values["images"], values["reconstruction_train"]) == (19, None)
    assert not len(held_out_rows(19, 0.1))
