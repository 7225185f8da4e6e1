"""What c agrees with, what a batch's information lacks, and when an experiment is as accurate."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.experiments import counterparts, discrete_study, driver
from benchmarks.experiments.catalogue import EXPERIMENTS, Experiment
from benchmarks.experiments.discrete_study import attributes, batch_bias, held, information
from benchmarks.experiments.discrete_words import discrete_section
from benchmarks.experiments.words import by_images, half_way, objectives, time_to_accuracy
from fastjvae.data import ImageData, load
from fastjvae.data.source import DataSource


def test_information_is_that_of_sure_categories():
    sure = torch.eye(4, dtype=torch.float64).repeat(8, 1)
    assert information(sure) == pytest.approx(math.log(4))
    assert information(torch.full((8, 4), 0.25, dtype=torch.float64)) == pytest.approx(0)


def test_a_batch_lacks_what_the_first_order_term_says():
    sure = torch.eye(10, dtype=torch.float64).repeat(300, 1)
    found = batch_bias(sure)
    assert found["all"]["information"] == pytest.approx(math.log(10))
    for rows in (128, 256, 512):
        expected = -(10 - 1) / (2 * rows)
        assert found[str(rows)]["mean"] == pytest.approx(expected, rel=0.25)
    assert found["16"]["std"] > found["512"]["std"]


def test_attributes_of_images_are_those_that_were_drawn():
    """Bars of ten slants and widths, of which the other is drawn at random."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :32]
    slants, widths = generator.integers(0, 10, (2, 400))
    pixels = np.stack(
        [
            255 * (np.abs(columns - 16 - 0.08 * (s - 4.5) * (rows - 16)) < 2 + 0.5 * w)
            for s, w in zip(slants, widths, strict=True)
        ]
    )
    images = torch.from_numpy(pixels[:, None].astype(np.uint8))
    data = ImageData("bars", images, torch.from_numpy(slants))
    about = attributes(data)
    assert list(about) == ["digit", "k-means cluster", "slant", "ink", "width"]
    assert held(slants, about)["digit"] == pytest.approx(1)
    assert held(slants, about)["slant"] > 0.6
    assert abs(held(slants, about)["ink"]) < 0.1
    assert held(widths, about)["ink"] > 0.6
    assert abs(held(widths, about)["slant"]) < 0.1


def test_the_pages_section_has_means_over_seeds(tmp_path: Path):
    batches = {
        str(rows): {"mean": -4.5 / rows, "std": 1 / rows} for rows in (16, 32, 64, 128, 256, 512)
    }
    seeds = {
        str(seed): {"holds": {"digit": digit, "ink": 0.1}, "batches": batches}
        for seed, digit in ((0, 0.4), (1, 0.6))
    }
    path = tmp_path / "discrete.json"
    content = {"experiments": {"one": {"attributes": {"digit": 0.3, "ink": 0.2}, "seeds": seeds}}}
    path.write_text(json.dumps(content))
    text = "\n".join(discrete_section({"one": "First"}, path))
    assert "| First | 2 | 0.500 | 0.100 |" in text
    assert "| k-means on pixels | 1 | 0.300 | 0.200 |" in text
    assert "| nats | -0.281 | -0.141 | -0.070 | -0.035 | -0.018 | -0.009 |" in text
    assert "within 0.07 nats" in text
    assert list(discrete_section({}, tmp_path / "none.json")) == []


def test_what_a_study_found_in_models_that_are_gone_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "discrete.json"
    monkeypatch.setenv("FASTJVAE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(driver, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(counterparts, "_INITIALISATIONS", 1)
    monkeypatch.setattr(discrete_study, "PATH", path)
    monkeypatch.setattr(discrete_study, "_DRAWS", 2)
    settings = {"steps": 1, "cont": 2, "batch_size": 4}
    for name in ("one", "other"):
        monkeypatch.setitem(EXPERIMENTS, name, Experiment("digits", settings, seeds=(0, 1)))
    driver.main(["one", "--seeds", "0"])
    discrete_study.main(["one"])
    first = json.loads(path.read_text())["experiments"]["one"]
    assert list(first["seeds"]) == ["0"]
    assert first["attributes"]["k-means cluster"] == pytest.approx(1)

    shutil.rmtree(tmp_path / "runs")
    driver.main(["one", "other", "--seeds", "1"])
    discrete_study.main(["other"])
    discrete_study.main(["one"])
    found = json.loads(path.read_text())["experiments"]
    assert list(found) == ["one", "other"]
    assert list(found["one"]["seeds"]) == ["0", "1"]
    assert found["one"]["seeds"]["0"] == first["seeds"]["0"]
    assert list(found["other"]["seeds"]) == ["1"]


def _result(seconds: float, *accuracies: float) -> dict[str, Any]:
    curve = [
        {"step": 100 * (row + 1), "accuracy_majority": [value]}
        for row, value in enumerate(accuracies)
    ]
    return {"seconds": seconds, "curve": curve}


def test_the_time_to_an_accuracy_is_that_of_the_first_row_that_has_it():
    slow = [_result(1000, 0.3, 0.5, 0.5, 0.5), _result(1000, 0.2, 0.6, 0.5, 0.7)]
    fast = [_result(40, 0.1, 0.7), _result(60, 0.65, 0.6), _result(50, 0.2, 0.3)]
    (sentence,) = time_to_accuracy("Fast", fast, "Slow", slow)
    assert sentence == (
        "Slow ends at 0.600 on the training images (majority, mean over seeds) after 1,000 s."
        " Fast has as much after 35 ± 7 s in 2 of 3 seeds; Slow has as much after 500 s in 1 of 2"
        " seeds."
    )
    (sentence,) = time_to_accuracy("Fast", fast[2:], "Slow", slow)
    assert "Fast has as much in none of 1 seeds;" in sentence
    assert list(time_to_accuracy("Fast", [], "Slow", slow)) == []


def test_slants_are_found_in_real_digits():
    data = load(DataSource("digits"))
    about = attributes(data)
    counts = [np.bincount(about[name], minlength=10) for name in ("slant", "ink", "width")]
    assert all(c.min() > 0.05 * len(data.images) for c in counts)


def test_twice_as_many_steps_are_told_by_the_middle_of_the_curve():
    results = [_result(10, 0.1, 0.3, 0.5), _result(10, 0.2, 0.4, 0.6)]
    (sentence,) = half_way("Slow", results)
    assert sentence == (
        "Slow has 0.350 on the training images (majority, mean over seeds) after half of its steps"
        " and 0.550 after all."
    )
    assert list(half_way("Slow", [])) == []


def test_accuracies_by_the_number_of_images_are_told():
    def result(accuracy: float) -> dict[str, Any]:
        variable = {"accuracy_majority": accuracy, "accuracy_one_to_one": 0.25}
        return {"evaluation": {"variables": [variable]}}

    compared = {2_500: [result(0.5)], 10_000: [], 20_000: [result(0.6), result(0.7)]}
    assert list(by_images(compared)) == [
        "On 2,500 and 20,000 digits the majority accuracy is 0.500 and 0.650 ± 0.071 (means over 1"
        " and 2 seeds)."
    ]
    assert list(by_images({2_500: [result(0.5)], 10_000: []})) == []


@pytest.mark.parametrize(
    ("objective", "verdict"),
    [
        (150.0, "the objective prefers what it began with, to which random weights did not lead"),
        (160.5, "the objective tells no difference between the two"),
        (170.0, "the objective does not prefer what it began with"),
    ],
)
def test_which_solution_the_objective_prefers_is_told(objective: float, verdict: str):
    here = {"seeds": [{"objective": objective - 1}, {"objective": objective + 1}]}
    there = {"seeds": [{"objective": 160.0}]}
    (sentence,) = objectives("Further", here, "Slow", there)
    assert sentence == (
        f"Further: the training objective ends at {objective} nats, Slow's at 160.0 (mean over"
        f" seeds): {verdict}."
    )
