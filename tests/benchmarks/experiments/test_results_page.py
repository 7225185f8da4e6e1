"""The page of results shows what the results say, and is that of the committed ones."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from benchmarks.experiments import driver
from benchmarks.experiments import page as results_page
from benchmarks.experiments.catalogue import EXPERIMENTS
from benchmarks.experiments.sections import SECTIONS
from fastjvae.training.settings.recipes import OWN_IMAGES
from fastjvae.training.settings.saved import config_from_dict

RESULTS = driver.RESULTS


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
            "seed": seed, "evaluation": evaluation, "seconds": 700.0, "config": {"disc": [10]},
            "curve": [{"step": 30_000, "accuracy_majority": [accuracy]}],
            "about": {"processor": "P", "threads": 2, "python": "3.11", "torch": "2.14"},
        }  # fmt: skip
        (folder / f"seed-{seed}.json").write_text(json.dumps(result))
    page = results_page.markdown(tmp_path)
    (row,) = [line for line in page.splitlines() if line.startswith("| JointVAE | 2 |")]
    assert [cell.strip() for cell in row.split("|")[3:-1]] == [
        "0.600 ± 0.141 (0.700)", "0.250 ± 0.000 (0.250)", "160.5 ± 0.7 (160.0)", "5.00 ± 0.00",
        "2.25 ± 0.00", "2.00 ± 0.00 of 2.30", "0", "0", "30,000", "700 ± 0",
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
        "0.500", "0.400", "-", "-", "-", "-", "-", "-", "-", "3",
    ]  # fmt: skip
    assert _cells(page, "JointVAE, the authors' model") == [
        "0.500", "0.400", "150.0", "5.00", "2.25", "1.50 of 2.30", "0", "0", "-", "-",
    ]  # fmt: skip


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
    assert (
        "| seed chosen without labels, rank by Kim & Mnih's score (disentanglement_lib) |" in page
    )
    assert f"| {label} | seed 0, rank 2 of 2 | seed 1, rank 1 of 2 |" in page


def test_objectives_are_compared_across_sections(tmp_path: Path):
    for name, objective in (("mnist-joint", 166.25), ("mnist-from-fast", 160.0)):
        scored = {"seeds": [{"seed": 0, "udr": None, "objective": objective}], "no_udr": "one seed"}
        (tmp_path / name).mkdir()
        (tmp_path / name / "seeds.json").write_text(json.dumps(scored))
    page = results_page.markdown(tmp_path)
    section = page[page.index("## Why less") : page.index("## FashionMNIST")]
    assert "| 10,000 digits, from the model of the phase types | 1 | 160.0 |" in section
    assert "| JointVAE | 1 | 166.2 |" in section


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


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, experiment in EXPERIMENTS.items()
        # The settings of images of one's own are made once these are known.
        if experiment.method == "train" and experiment.recipe not in OWN_IMAGES
    ],
)
def test_results_are_of_the_settings_that_their_experiment_has(name: str):
    of_machine = {"data_root", "labels", "start_from", "device"}
    for result in results_page.results_of(name, RESULTS):
        ours = EXPERIMENTS[name].config_of(result["seed"], None)
        assert ours.differing(config_from_dict(result["config"]), of_machine) is None


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
