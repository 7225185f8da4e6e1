"""Experiments over seeds leave their results behind, and the page shows them."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT

from benchmarks.experiments import driver
from benchmarks.experiments import page as results_page
from benchmarks.experiments.catalogue import EXPERIMENTS, Experiment
from benchmarks.experiments.first_images import first_images
from benchmarks.experiments.sections import SECTIONS
from fastjvae.data import load
from fastjvae.errors import ArgumentError
from fastjvae.training.run_folder import RunFolder, read_metrics

RESULTS = driver.RESULTS
_SMALL = Experiment(
    "digits",
    {"steps": 6, "checkpoint_every": 2, "log_every": 1, "cont": 2, "batch_size": 4},
    seeds=(0, 1),
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


def test_a_trial_is_judged_by_training_images(folders: Path, monkeypatch: pytest.MonkeyPatch):
    trial = Experiment("digits", _SMALL.settings, final=False)
    monkeypatch.setitem(EXPERIMENTS, "small", trial)
    driver.main(["small", "--seeds", "0"])
    assert _result(folders, 0)["evaluation"]["images"] == 1497


def test_a_unit_goes_on_from_the_model_of_another(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    settings = {**_SMALL.settings, "steps": 1, "lr": 1e-12}
    monkeypatch.setitem(EXPERIMENTS, "further", Experiment("digits", settings, start="small"))
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
    few = Experiment("digits", _SMALL.settings, images=100)
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


def test_every_row_of_the_page_names_an_experiment():
    rows = [row.experiment for section in SECTIONS for row in section.rows]
    assert set(rows) <= set(EXPERIMENTS)
    assert len(rows) == len(set(rows))


def test_the_page_shows_spreads_over_seeds(tmp_path: Path):
    folder = tmp_path / "mnist-joint"
    folder.mkdir()
    for seed, accuracy in ((0, 0.5), (1, 0.7)):
        variable = {"accuracy_majority": accuracy, "accuracy_one_to_one": 0.25, "information": 2.0}
        evaluation = {
            "variables": [variable], "reconstruction": 160.0 + seed,
            "kl_cont_sum": 5.0, "kl_disc_sum": 2.25,
        }  # fmt: skip
        result = {
            "seed": seed, "evaluation": evaluation, "seconds": 700.0,
            "curve": [{"step": 30_000, "accuracy_majority": [accuracy]}],
            "about": {"processor": "P", "threads": 2, "python": "3.11", "torch": "2.14"},
        }  # fmt: skip
        (folder / f"seed-{seed}.json").write_text(json.dumps(result))
    page = results_page.markdown(tmp_path)
    (row,) = [line for line in page.splitlines() if line.startswith("| JointVAE | 2 |")]
    assert [cell.strip() for cell in row.split("|")[3:-1]] == [
        "0.600 ± 0.141 (0.700)", "0.250 ± 0.000 (0.250)", "160.5 ± 0.7 (160.0)", "5.00 ± 0.00",
        "2.25 ± 0.00", "2.00 ± 0.00", "0", "30,000", "700 ± 0",
    ]  # fmt: skip
    assert "Machine: P, threads: 2; Python 3.11, PyTorch 2.14." in page
    assert "| CC-beta-VAE | 0 | not measured |" in page


def _write(folder: Path, name: str, **result: Any) -> None:
    about = {"processor": "P", "threads": 1, "python": "3.11", "torch": "2.14"}
    path = folder / name / f"seed-{result.setdefault('seed', 0)}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"about": about, **result}))


def _cells(page: str, label: str) -> list[str]:
    (row,) = {line for line in page.splitlines() if line.startswith(f"| {label} | 1 |")}
    return [cell.strip() for cell in row.split("|")[3:-1]]


def test_kmeans_and_the_authors_model_are_lines_of_the_table(tmp_path: Path):
    accuracies = {"accuracy_majority": 0.5, "accuracy_one_to_one": 0.4}
    _write(
        tmp_path, "mnist-kmeans-10", seconds=3.0,
        evaluation={"variables": [accuracies]}, config={"clusters": 10},
    )  # fmt: skip
    evaluation = {
        "variables": [{**accuracies, "information": 1.5}], "reconstruction": 150.0,
        "kl_cont_sum": 5.0, "kl_disc_sum": 2.25,
    }  # fmt: skip
    _write(tmp_path, "mnist-published", evaluation=evaluation, config={"disc": [10]})
    page = results_page.markdown(tmp_path)
    assert _cells(page, "k-means on pixels, 10 clusters") == [
        "0.500", "0.400", "-", "-", "-", "-", "-", "-", "3",
    ]  # fmt: skip
    assert _cells(page, "JointVAE, the authors' model") == [
        "0.500", "0.400", "150.0", "5.00", "2.25", "1.50", "0", "-", "-",
    ]  # fmt: skip
    assert "- JointVAE, the authors' model: c tells 1.50 of at most 2.30 nats" in page


def test_scores_and_the_choice_of_a_seed_are_on_the_page(tmp_path: Path):
    for seed, score in ((0, 0.5), (1, 0.75)):
        evaluation = {
            "variables": [], "reconstruction": 20.0, "kl_cont_sum": 9.0, "kl_disc_sum": 0.0,
            "scores": {"factor_vae": score, "mig": 0.25}, "collapsed": seed == 1,
        }  # fmt: skip
        _write(tmp_path, "sprites-beta", seed=seed, evaluation=evaluation, config={"disc": []})
    scored = [{"seed": 0, "udr": 0.3, "objective": 30.0}, {"seed": 1, "udr": 0.2, "objective": 2.0}]
    compared = {"seeds": scored, "no_udr": None}
    (tmp_path / "sprites-beta" / "seeds.json").write_text(json.dumps(compared))
    page = results_page.markdown(tmp_path)
    assert "|  | Kim & Mnih, as in disentanglement_lib | MIG |" in page
    label = "beta-VAE, beta = 4, 10 units"
    assert f"| {label} | 0.625 ± 0.177 (0.750) | 0.250 ± 0.000 (0.250) |" in page
    assert f"| {label} | 2 | - | - | 20.0 ± 0.0 (20.0) |" in page
    assert f"- {label}, by Kim & Mnih's score (disentanglement_lib): UDR chose seed 0" in page


def test_objectives_are_compared_across_sections(tmp_path: Path):
    for name, objective in (("mnist-joint", 166.25), ("mnist-from-fast", 160.0)):
        scored = {"seeds": [{"seed": 0, "udr": None, "objective": objective}], "no_udr": "one seed"}
        (tmp_path / name).mkdir()
        (tmp_path / name / "seeds.json").write_text(json.dumps(scored))
    page = results_page.markdown(tmp_path)
    assert "the training objective ends at 160.0 nats, JointVAE's at 166.2 (mean" in page


def test_pictures_that_have_been_drawn_are_shown(tmp_path: Path):
    picture = SECTIONS[0].pictures[0]
    assert f"(results/{picture.file})" not in results_page.markdown(tmp_path, tmp_path)
    (tmp_path / picture.file).touch()
    page = results_page.markdown(tmp_path, tmp_path)
    assert f"\n{picture.caption}:\n\n![mnist-joint, traversals](results/{picture.file})\n" in page


def test_what_sections_name_is_there():
    for section in SECTIONS:
        assert all(EXPERIMENTS[name].method == "k-means" for name in section.kmeans)
        assert all(EXPERIMENTS[each.experiment].method == "train" for each in section.pictures)
    for experiment in EXPERIMENTS.values():
        experiment.config_of(0, None)


def test_the_committed_page_is_that_of_the_committed_results():
    page = results_page.PAGE.read_text(encoding="utf-8")
    assert page == results_page.markdown(RESULTS), "run python -m benchmarks.experiments.page"
    for picture in results_page.PICTURES.glob("*.png"):
        assert f"(results/{picture.name})" in page
        assert picture.stat().st_size < 200_000


def test_the_readme_has_the_numbers_of_the_digits():
    """Rounded as the page rounds them."""
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    seeds = results_page.results_of("digits", RESULTS)
    clusters = results_page.results_of("digits-kmeans", RESULTS)

    def spread(results: list[dict[str, Any]], matching: str) -> str:
        values = [each["evaluation"]["variables"][0][f"accuracy_{matching}"] for each in results]
        return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"

    best = max(each["evaluation"]["variables"][0]["accuracy_majority"] for each in seeds)
    assert f"over {len(seeds)} seeds {spread(seeds, 'majority')} (mean" in readme
    assert f"best {best:.3f}, counted by majority" in readme
    assert f"{spread(seeds, 'one_to_one')} one-to-one." in readme
    assert f"k-means on the same pixels reaches {spread(clusters, 'majority')}." in readme
    seconds = statistics.median(each["seconds"] for each in seeds)
    assert f"Training takes {seconds:.0f} s on one thread" in readme
    assert {each["about"]["threads"] for each in seeds} == {1}


def test_runs_lie_in_the_users_cache_by_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("FASTJVAE_RUNS")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    unit = driver.Unit("small", _SMALL, 3)
    assert isinstance(unit.run, RunFolder)
    assert unit.run.path == Path("/cache/fastjvae/runs/small/seed-3")
