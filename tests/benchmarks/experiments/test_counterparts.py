"""What stands beside trained models on the page of results: k-means and the authors' model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import assert_same_state, tiny_config, write_arrays

from benchmarks.experiments import counterparts, driver
from benchmarks.experiments.catalogue import EXPERIMENTS, Experiment
from benchmarks.experiments.published_training import train_the_published_way
from benchmarks.training.baselines import PublishedTraining
from fastjvae import JointVAE
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.train import TrainConfig

COMMITTED = driver.RESULTS


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(driver, "RESULTS", tmp_path / "results")
    monkeypatch.setenv("FASTJVAE_RUNS", str(tmp_path / "runs"))
    return tmp_path / "results"


def _read(folder: Path, name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / name / "seed-0.json").read_text())
    return result


def test_kmeans_finds_what_the_pixels_show(tmp_path: Path):
    found = counterparts.kmeans(tiny_config(write_arrays(tmp_path)))
    assert found["config"] == {"dataset": "arrays", "clusters": 4, "n_init": 10}
    (variable,) = found["evaluation"]["variables"]
    assert variable == {"accuracy_majority": 1.0, "accuracy_one_to_one": 1.0}
    assert found["seconds"] > 0


def test_the_driver_runs_kmeans_with_as_many_clusters_as_categories(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(counterparts, "_INITIALISATIONS", 1)
    experiment = Experiment("digits", {"disc": (4,)}, seeds=(0,), method="k-means")
    monkeypatch.setitem(EXPERIMENTS, "clusters", experiment)
    assert driver.main(["clusters"]) == 0
    result = _read(results, "clusters")
    assert (result["experiment"], result["seed"]) == ("clusters", 0)
    assert result["config"]["clusters"] == 4
    assert result["about"]["torch"]
    assert result["evaluation"]["images"] == 300  # the test images
    (variable,) = result["evaluation"]["variables"]
    assert 0.2 < variable["accuracy_one_to_one"] <= variable["accuracy_majority"] <= 0.5
    capsys.readouterr()
    driver.main(["clusters"])
    assert capsys.readouterr().out == ""  # done


def test_the_authors_model_is_measured_where_it_is_named(
    results: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    experiment = Experiment("digits", seeds=(0,), method="published")
    monkeypatch.setitem(EXPERIMENTS, "authors", experiment)
    assert driver.main(["authors"]) == 0
    assert "authors, seed 0: left out, needs --published" in capsys.readouterr().out
    assert not results.exists()
    folder = tmp_path / "published"
    folder.mkdir()
    spec = {"cont": 3, "disc": [7]}
    torch.save(JointVAE((1, 32, 32), spec).published_state_dict(), folder / "model.pt")
    specs = {"cont_capacity": [0, 5, 9, 30], "disc_capacity": [0, 5, 9, 30], "latent_spec": spec}
    (folder / "specs.json").write_text(json.dumps(specs))
    assert driver.main(["authors", "--published", str(folder)]) == 0
    result = _read(results, "authors")
    assert result["config"] == {"dataset": "digits", "cont": 3, "disc": [7]}
    assert result["evaluation"]["images"] == 300
    assert len(result["evaluation"]["kl_cont"]) == 3

    settings = {"steps": 1, "lr": 1e-12, "cont": 3, "disc": (7,)}
    further = Experiment("digits", settings, seeds=(5,), start="authors")
    monkeypatch.setitem(EXPERIMENTS, "further", further)
    driver.main(["further"])
    assert "further, seed 5: left out, needs --published" in capsys.readouterr().out
    driver.main(["further", "--published", str(folder)])
    gone_on = json.loads((results / "further" / "seed-5.json").read_text())["evaluation"]
    assert gone_on["kl_cont"] == pytest.approx(result["evaluation"]["kl_cont"], rel=1e-4)


# --- the published way ----------------------------------------------------------------------------


def test_the_published_way_trains_and_is_evaluated_as_any_other(
    results: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = {"steps": 30, "batch_size": 64, "cont": 3}  # an epoch has 24 steps
    experiment = Experiment("digits", settings, seeds=(0,), method="published way")
    monkeypatch.setitem(EXPERIMENTS, "theirs", experiment)
    assert driver.main(["theirs"]) == 0
    result = _read(results, "theirs")
    assert result["config"]["steps"] == 30
    assert result["seconds"] > 0
    assert result["evaluation"]["images"] == 300
    assert len(result["evaluation"]["kl_cont"]) == 3
    assert [row["step"] for row in result["curve"]] == [30]
    assert result["evaluation"]["reconstruction"] < 650  # 710 by a pixel value of one half


def test_the_published_way_goes_on_from_its_last_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = TrainConfig(dataset="digits", steps=50)
    whole = train_the_published_way(config, RunFolder(tmp_path / "whole"))
    step, steps = PublishedTraining.step, []

    def killed_at_the_40th(training: PublishedTraining, *arguments: Any) -> Any:
        if len(steps) == 39:
            raise KeyboardInterrupt
        steps.append(training.steps)
        return step(training, *arguments)

    monkeypatch.setattr(PublishedTraining, "step", killed_at_the_40th)
    with pytest.raises(KeyboardInterrupt):
        train_the_published_way(config, RunFolder(tmp_path / "parts"))
    monkeypatch.setattr(PublishedTraining, "step", step)
    begun: list[int] = []
    monkeypatch.setattr(
        PublishedTraining, "step", lambda t, *a: (begun.append(t.steps), step(t, *a))[1]
    )
    parts = train_the_published_way(config, RunFolder(tmp_path / "parts"))
    assert begun == list(range(24, 50))
    assert_same_state(parts.model.state_dict(), whole.model.state_dict())


# --- the authors' model ---------------------------------------------------------------------------


def test_what_the_authors_model_gave():
    """As the published code itself measured it."""
    evaluation = _read(COMMITTED, "mnist-published")["evaluation"]
    (variable,) = evaluation["variables"]
    assert variable["accuracy_majority"] == variable["accuracy_one_to_one"] == 0.8873
    assert evaluation["kl_cont_sum"] == pytest.approx(4.997, abs=5e-4)
    assert evaluation["kl_disc_sum"] == pytest.approx(2.274, abs=5e-4)
    assert evaluation["reconstruction"] == pytest.approx(147.64, abs=5e-3)
