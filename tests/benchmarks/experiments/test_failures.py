"""Failures are chosen by rule, and the pictures of the page are drawn from the runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.experiments import driver, pictures
from benchmarks.experiments.catalogue import EXPERIMENTS, Experiment
from benchmarks.experiments.category_contents import category_contents, named
from benchmarks.experiments.failures import (
    Confusion,
    failures,
    label_shifts,
    mixed_category,
    split_label,
)
from benchmarks.experiments.sections import Picture, Section
from fastjvae import JointVAE
from fastjvae.data import DataSource, load
from fastjvae.metrics.clusters import contingency

# Category 1 holds two labels, label 2 lies in two categories; category 3 is unused.
_COUNTS = np.array([[9, 0, 0], [4, 0, 6], [0, 8, 0], [0, 0, 0], [0, 0, 5]])


def test_numbers_of_images():
    counts = contingency(np.array([0, 0, 2]), np.array([1, 1, 0]), (3, 2))
    assert counts.tolist() == [[0, 2], [0, 0], [1, 0]]


def test_the_mixed_category_and_the_split_label():
    assert mixed_category(_COUNTS) == Confusion((1, 1), (2, 0))
    assert split_label(_COUNTS) == Confusion((1, 4), (2, 2))


def test_a_unit_moves_the_labels_as_far_as_its_halves_differ():
    labels = np.array([0, 0, 1, 1, 0, 1])
    codes = np.array([[-2, 1], [-1, -1], [1, 2], [2, -2], [0, 0], [0, 0]], dtype=np.float32)
    shifts = label_shifts(codes, np.array([0, 0, 0, 0, 1, 2]), labels, 4)
    assert shifts.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0]]  # of one image there are no halves


def test_the_figure_shows_images_and_sweeps():
    model = JointVAE((1, 32, 32), {"cont": 2, "disc": [3]})
    figure = failures(model, load(DataSource("digits", split="test")), title="untrained")
    assert figure.axes[0].get_title(loc="left") == "untrained"
    mixed, split, moved = figure.axes
    labels = [label.get_text() for axes in (mixed, split) for label in axes.get_yticklabels()]
    assert all("category" in label and "of the label" in label for label in labels)
    moving = {label.get_text().split("\n")[0].split()[-1] for label in moved.get_yticklabels()}
    assert moving in ({"z0"}, {"z1"})
    assert moved.get_xlabel() == f"value of {moving.pop()}"


def test_a_category_is_named_after_the_labels_that_it_is_made_of():
    labels = ("four", "nine", "one")
    assert [named(counts, labels) for counts in np.array([[45, 5, 50], [91, 9, 0], [0, 0, 0]])] == [
        "one (50%), four (45%)",
        "four (91%)",
        "no image",
    ]
    assert named(np.full(20, 3), [str(label) for label in range(20)]) == "0 (5%)"


def test_samples_stand_beside_the_labels_of_their_category():
    model = JointVAE((1, 32, 32), {"cont": 2, "disc": [3]})
    data = load(DataSource("digits", split="test"))
    (axes,) = category_contents(model, data, title="untrained").axes
    assert axes.get_title(loc="left") == "untrained"
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert [name.split(":")[0] for name in names] == ["0", "1", "2"]
    shares = [float(name.split()[-1].rstrip("%")) for name in names]
    assert abs(sum(shares) - 100) < 0.2


def test_pictures_are_drawn_of_the_runs_that_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FASTJVAE_RUNS", str(tmp_path / "runs"))
    results, out = tmp_path / "results", tmp_path / "pictures"
    monkeypatch.setattr(driver, "RESULTS", results)
    settings = {"steps": 2, "checkpoint_every": 2, "log_every": 1, "cont": 2, "batch_size": 4}
    monkeypatch.setitem(EXPERIMENTS, "small", Experiment("digits", settings, seeds=(0,)))
    shown = [Picture("small", kind, kind) for kind in ("traversals", "failures", "categories")]
    monkeypatch.setattr(pictures, "OVERVIEWS", (Picture("small", "overview", "all"),))
    section = Section("A", "B", (), pictures=(*shown, Picture("mnist-beta", "traversals", "C")))
    monkeypatch.setattr(pictures, "SECTIONS", (section,))
    driver.main(["small"])
    capsys.readouterr()
    flags = ["--results", str(results), "--out", str(out)]
    pictures.main(flags)
    assert capsys.readouterr().out.splitlines() == [
        "small-overview.png: seed 0",
        "small-traversals.png: seed 0",
        "small-failures.png: seed 0",
        "small-categories.png: seed 0",
        "mnist-beta-traversals.png: left out, mnist-beta has no result yet",
    ]
    for path in out.iterdir():
        assert path.stat().st_size < 200_000
        with Image.open(path) as picture:
            assert picture.width > 300
    assert len(list(out.iterdir())) == 4
    (tmp_path / "runs" / "small" / "seed-0" / "model.safetensors").unlink()
    pictures.main(["small", *flags])
    assert "small-traversals.png: left out, no model in" in capsys.readouterr().out
