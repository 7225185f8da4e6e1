"""Every seed of an experiment leaves its settings, machine and results behind."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.experiments import driver
from benchmarks.experiments.catalogue import EXPERIMENTS, Experiment
from benchmarks.experiments.first_images import first_images
from fastjvae.data import load
from fastjvae.errors import ArgumentError
from fastjvae.training.run_folder import RunFolder, read_metrics

_SMALL = Experiment(
    "digits",
    {"steps": 6, "checkpoint_every": 2, "log_every": 1, "cont": 2, "batch_size": 4},
    seeds=(0, 1),
    phase="types",
)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTJVAE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(driver, "RESULTS", tmp_path / "results")
    monkeypatch.setitem(EXPERIMENTS, "small", _SMALL)
    return tmp_path


def _result(folder: Path, seed: int) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(
        (folder / "results" / "small" / f"seed-{seed}.json").read_text()
    )
    return result


def test_a_unit_leaves_its_settings_machine_and_growth(folders: Path):
    assert driver.main(["small", "--seeds", "1"]) == 0
    result = _result(folders, 1)
    assert (result["experiment"], result["seed"]) == ("small", 1)
    assert result["config"]["steps"] == 6
    assert "data_root" not in result["config"]
    assert result["about"]["torch"]
    assert [row["step"] for row in result["curve"]] == [2, 4, 6]
    assert [row["step"] for row in result["growth"]] == [1, 2, 3, 4, 5, 6]
    assert result["seconds"] > 0
    evaluation = result["evaluation"]
    assert evaluation["images"] == 300  # the test images
    assert evaluation["variables"][0]["accuracy_majority"] > 0


def test_what_is_done_is_skipped_and_what_is_begun_goes_on(
    folders: Path, monkeypatch: pytest.MonkeyPatch
):
    config = _SMALL.config_of(0, None)
    unit = driver.Unit("small", _SMALL, 0)
    trainer = driver.WatchedTrainer(config, load(config.source()), unit.run)
    trainer.watched = load(config.source())
    for _ in range(2):
        trainer.train_step()
    trainer.save()
    begun: list[int] = []
    train = driver.WatchedTrainer.train
    monkeypatch.setattr(
        driver.WatchedTrainer, "train", lambda self: (begun.append(self.step), train(self))[1]
    )
    assert driver.main(["small"]) == 0
    assert begun == [2, 0]  # seed 0 goes on, seed 1 begins
    assert [row["step"] for row in _result(folders, 0)["curve"]] == [2, 4, 6]
    assert driver.main(["small"]) == 0
    assert begun == [2, 0]


def test_a_unit_of_phases_leaves_the_time_of_each(folders: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(EXPERIMENTS, "small", dataclasses.replace(_SMALL, phase=None))
    driver.main(["small", "--seeds", "0"])
    result = _result(folders, 0)
    assert [phase["name"] for phase in result["config"]["phases"]] == ["types", "style"]
    assert result["phase_seconds"].keys() == {"types", "style"}
    assert sum(result["phase_seconds"].values()) == pytest.approx(result["seconds"])
    assert min(result["phase_seconds"].values()) > 0


def test_a_trial_is_judged_by_training_images(folders: Path, monkeypatch: pytest.MonkeyPatch):
    trial = dataclasses.replace(_SMALL, final=False)
    monkeypatch.setitem(EXPERIMENTS, "small", trial)
    driver.main(["small", "--seeds", "0"])
    assert _result(folders, 0)["evaluation"]["images"] == 1497


def test_a_unit_goes_on_from_the_model_of_another(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    settings = {**_SMALL.settings, "steps": 1, "lr": 1e-12}
    further = dataclasses.replace(_SMALL, settings=settings, start="small")
    monkeypatch.setitem(EXPERIMENTS, "further", further)
    driver.main(["further", "--seeds", "1"])
    assert "further, seed 1: left out, needs the model of small, seed 1, in" in (
        capsys.readouterr().out
    )
    driver.main(["small", "further", "--seeds", "1"])
    result = json.loads((folders / "results" / "further" / "seed-1.json").read_text())
    assert result["start"] == "small"
    assert result["evaluation"]["reconstruction"] == pytest.approx(
        _result(folders, 1)["evaluation"]["reconstruction"], rel=1e-5
    )
    assert _result(folders, 1)["start"] is None


@pytest.mark.parametrize(("count", "of_test"), [(100, 0), (1497, 0), (1600, 103)])
def test_training_images_by_number(count: int, of_test: int):
    config = _SMALL.config_of(0, None)
    train, test = load(config.source("train")), load(config.source("test"))
    images = first_images(config, count).images
    assert len(images) == count
    assert torch.equal(images[: count - of_test], train.images[: count - of_test])
    assert torch.equal(images[count - of_test :], test.images[:of_test])


def test_a_unit_trains_on_as_many_images_as_it_says(folders: Path, monkeypatch: pytest.MonkeyPatch):
    few = dataclasses.replace(_SMALL, images=100)
    monkeypatch.setitem(EXPERIMENTS, "small", few)
    driver.main(["small", "--seeds", "0"])
    result = _result(folders, 0)
    assert result["training_images"] == 100
    assert result["evaluation"]["images"] == 300
    run = driver.Unit("small", few, 0).run
    assert read_metrics(run)[-1]["epoch"] == pytest.approx(6 / 100)  # a step takes one group


def test_more_images_than_there_are_is_an_error():
    with pytest.raises(
        ArgumentError, match=r"2,000 images are more than the 1,497 of digits/train"
    ):
        first_images(_SMALL.config_of(0, None), 2_000)


def test_an_unknown_experiment_is_named(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        driver.main(["smal"])
    assert "no experiment 'smal': there are mnist-joint" in capsys.readouterr().err


def test_the_list_says_what_is_open(folders: Path, capsys: pytest.CaptureFixture[str]):
    driver.main(["small", "--seeds", "0"])
    capsys.readouterr()
    driver.main(["small", "--list"])
    assert capsys.readouterr().out == "small seed 0: done\nsmall seed 1: open\n"


def test_training_time_is_by_the_median_speed():
    records = [{"step": s, "images_per_s": v} for s, v in ((50, 640), (100, 640), (150, 1))]
    assert driver.seconds_of(records, 64) == 150 * 64 / 640
    records[1]["beside_steps_s"] = 4.5
    assert driver.seconds_of(records, 64) == 150 * 64 / 640 + 4.5


def test_runs_lie_in_the_users_cache_by_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("FASTJVAE_RUNS")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    unit = driver.Unit("small", _SMALL, 3)
    assert isinstance(unit.run, RunFolder)
    assert unit.run.path == Path("/cache/fastjvae/runs/small/seed-3")
