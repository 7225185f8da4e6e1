"""The settings that a study has tried."""

import numpy as np
import pytest
from figure_checks import assert_texts_apart, title

from fastjvae.errors import ArgumentError
from fastjvae.figures.study import StudyRow, study


def test_a_panel_for_each_setting_has_every_trial_at_its_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [
        StudyRow({"lr": 1e-4, "disc": (10,)}, [0.4, 0.6]),
        StudyRow({"lr": 1e-3, "disc": (10, 2)}, [0.7, 0.9], chosen=True),
        StudyRow({"lr": 2e-3}, [0.1], pruned=True),  # a setting that did not count
    ]
    figure = study(rows, {"lr": True, "disc": False}, by="udr", importances={"lr": 0.75})
    rates, categories = figure.axes
    assert rates.get_xscale() == "log"
    drawn = [np.asarray(line.get_xydata()).tolist() for line in rates.lines]
    dots = [points for points in drawn if len(points) == 1]
    assert dots == [[[1e-4, 0.5]], [[1e-3, 0.8]], [[1e-3, 0.8]], [[2e-3, 0.1]]]
    rings = [line for line in rates.lines if line.get_markersize() == 10]
    assert [ring.get_xdata()[0] for ring in rings] == [1e-3]
    ranges = [[y for _, y in points] for points in drawn if len(points) == 2]
    assert ranges == [[0.4, 0.6], [0.7, 0.9], [0.1, 0.1]]
    assert title(rates) == "importance 0.75"
    assert title(categories) == ""
    assert (rates.get_xlabel(), categories.get_xlabel()) == ("lr", "disc")
    assert rates.get_ylabel() == "udr, mean and range of the seeds"
    assert [text.get_text() for text in categories.get_xticklabels()] == ["10", "10x2"]
    assert_texts_apart(figure, monkeypatch)


def test_values_of_a_ladder_are_the_labels_of_its_axis() -> None:
    nats = [2.5, 5.0, 10.0, 20.0, 40.0, 80.0]
    rows = [StudyRow({"cont_capacity.hi": each}, [0.5, 0.6, 0.4]) for each in nats]
    (axes,) = study(rows, {"cont_capacity.hi": True}, by="udr").axes
    labels = [text.get_text() for text in axes.get_xticklabels()]
    assert labels == ["2.5", "5", "10", "20", "40", "80"]


def test_many_settings_take_several_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"setting{i}" for i in range(7)]
    rng = np.random.default_rng(0)
    rows = [StudyRow(dict.fromkeys(names, float(x)), [float(x)]) for x in rng.random(30)]
    figure = study(rows, dict.fromkeys(names, True), by="reconstruction")
    tops = {round(axes.get_position().y1, 3) for axes in figure.axes}
    assert len(figure.axes) == 7
    assert len(tops) == 3
    assert_texts_apart(figure, monkeypatch)


def test_a_study_without_scores_has_no_figure() -> None:
    for rows in ([], [StudyRow({"lr": 1.0}, [])]):
        with pytest.raises(ArgumentError, match="needs trials with scores"):
            study(rows, {"lr": True}, by="udr")
