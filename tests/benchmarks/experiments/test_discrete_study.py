"""What the categories agree with is measured, and what a batch's information lacks."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.experiments import counterparts, discrete_study, driver
from benchmarks.experiments.catalogue import EXPERIMENTS, Experiment
from benchmarks.experiments.discrete_study import attributes, batch_bias, held, information
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


def test_slants_are_found_in_real_digits():
    data = load(DataSource("digits"))
    about = attributes(data)
    counts = [np.bincount(about[name], minlength=10) for name in ("slant", "ink", "width")]
    assert all(c.min() > 0.05 * len(data.images) for c in counts)
