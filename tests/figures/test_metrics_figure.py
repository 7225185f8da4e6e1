"""Scores of several methods, and where they are read from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figure_checks import assert_texts_apart, column_labels, title
from matplotlib.figure import Figure

from fastjvae import figures
from fastjvae.errors import ArgumentError, DataError
from fastjvae.metrics.evaluation import Evaluation, Variable

EVALUATION = Evaluation(
    data="squares",
    images=40,
    reconstruction=101.5,
    channel_reduction="mean",
    kl_cont=[1.0, 0.25],
    variables=[Variable(1.2, 1.0, 0.2, [0.5, 0.5], [], 0.75, 0.5)],
).to_dict()


def test_every_score_is_a_dot_beside_its_mean_and_deviation() -> None:
    scores = {"joint": [0.9, 0.8, 0.85], "beta": np.array([0.7, 0.5]), "one": [0.4]}
    (axes,) = figures.metric_comparison(scores, metric="accuracy", title="Run 7").axes
    assert title(axes) == "Run 7"
    assert axes.get_ylabel() == "accuracy"
    assert column_labels(axes) == ["joint\nn = 3", "beta\nn = 2", "one\nn = 1"]
    dots = {line.get_label(): line for line in axes.lines if line.get_label() in scores}
    assert list(dots) == list(scores)
    for place, (method, line) in enumerate(dots.items()):
        np.testing.assert_allclose(line.get_ydata(), scores[method])
        x = np.asarray(line.get_xdata())
        assert np.abs(x - place).max() < 0.5
        assert len(np.unique(x)) == len(x)
    bars = [container for container in axes.containers if container.has_yerr]  # type: ignore[attr-defined]
    ends = [np.asarray(bar.lines[2][0].get_segments()[0])[:, 1] for bar in bars]  # type: ignore[attr-defined]
    np.testing.assert_allclose(ends, [[0.8, 0.9], [0.6 - 0.02**0.5, 0.6 + 0.02**0.5]])
    means = [c.lines[0].get_ydata()[0] for c in axes.containers]  # type: ignore[attr-defined]
    assert means == pytest.approx([0.85, 0.6, 0.4])


def bars_of(figure: Figure) -> list[list[float]]:
    """The lower and the upper end of each method's bar."""
    (axes,) = figure.axes
    bars = [each.lines[2][0].get_segments()[0] for each in axes.containers if each.has_yerr]  # type: ignore[attr-defined]
    return [np.asarray(bar)[:, 1].tolist() for bar in bars]


@pytest.mark.parametrize("metric", ["accuracy_majority", "scores.mig", "dci_completeness"])
def test_bars_of_what_lies_between_0_and_1_end_there(metric: str) -> None:
    scores = {"high": [1.0, 1.0, 0.8], "low": [0.0, 0.0, 0.3], "all": [1.0, 1.0]}
    high, low, full = bars_of(figures.metric_comparison(scores, metric=metric))
    assert high == pytest.approx([np.mean(scores["high"]) - np.std(scores["high"], ddof=1), 1])
    assert low == pytest.approx([0, np.mean(scores["low"]) + np.std(scores["low"], ddof=1)])
    assert full == pytest.approx([1, 1])


@pytest.mark.parametrize("metric", ["kl", "a score"])
def test_other_bars_are_whole(metric: str) -> None:
    (bar,) = bars_of(figures.metric_comparison({"a": [1.0, 0.6]}, metric=metric))
    assert bar == pytest.approx([0.8 - 0.08**0.5, 0.8 + 0.08**0.5])
    (bar,) = bars_of(figures.metric_comparison({"a": [100.0, 90.0]}, metric="accuracy"))  # percent
    assert bar[1] > 100


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("accuracy_one_to_one", "accuracy, one-to-one"),
        ("reconstruction", "reconstruction error (nats per image)"),
        ("kl_cont.12", "KL of z12 (nats)"),
        ("effect_cont.0", "effect of z0 (share of the picture)"),
        ("variables.1.kl", "KL of c1 (nats)"),
        ("variables.0.accuracy_majority", "accuracy, by majority of c0"),
        ("variables.0.shares.3", "share of images in category 3 of c0"),
        ("scores.dci_disentanglement", "DCI disentanglement"),
        ("mig", "MIG"),
        ("my_own.score", "my own score"),
        ("___", "___"),
        ("Score_1 of a paper", "Score_1 of a paper"),
    ],
)
def test_a_metric_is_named_in_words(metric: str, words: str) -> None:
    assert figures.metric_title(metric) == words
    (axes,) = figures.metric_comparison({"a": [0.5]}, metric=metric).axes
    assert axes.get_ylabel().replace("\n", " ") == words


def test_every_number_of_an_evaluation_has_words() -> None:
    for name in EVALUATION:
        assert "_" not in figures.metric_title(name)


def test_long_names_of_methods_go_on_below() -> None:
    long = "JointVAE with types that moved images share"
    (axes,) = figures.metric_comparison({long: [0.5], "b": [0.6]}).axes
    first, second = column_labels(axes)
    assert first.replace("\n", " ") == f"{long} n = 1"
    assert max(map(len, first.splitlines())) <= 14
    assert second == "b\nn = 1"


@pytest.mark.parametrize("count", [1, 8])
def test_texts_lie_on_the_page_and_apart(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {f"a method of a long name {i}": [0.5, 0.6] for i in range(count)}
    assert_texts_apart(figures.metric_comparison(scores, title="Scores"), monkeypatch)


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_scores_are_read_by_the_name_of_the_metric(tmp_path: Path) -> None:
    one = write(tmp_path / "0.json", EVALUATION)
    two = write(tmp_path / "1.json", {**EVALUATION, "reconstruction": 99, "scores": {"mig": 0.3}})
    files = {"joint": [one, two], "beta": [one]}
    assert figures.read_scores(files, "reconstruction") == {"joint": [101.5, 99.0], "beta": [101.5]}
    assert figures.read_scores({"joint": [one]}, "accuracy_majority") == {"joint": [0.75]}
    assert figures.read_scores({"joint": [one]}, "kl_cont.1") == {"joint": [0.25]}
    for name in ("mig", "scores.mig"):
        assert figures.read_scores({"joint": [two]}, name) == {"joint": [0.3]}


@pytest.mark.parametrize(
    ("content", "metric", "message"),
    [
        (None, "kl", "does not exist"),
        ("{", "kl", "is not readable JSON"),
        ('{"a": 1, "b": [{"c": 2}], "d": true, "e": null}', "d", "named d; it has a, b.0.c"),
        ('{"a": "text"}', "a", "named a; it has none"),
        ('{"v": [{"kl": 1}, {"kl": 2}]}', "kl", "named kl: give one of v.0.kl, v.1.kl"),
        ("3", "a", "named a; it has none"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    content: str | None, metric: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "evaluation.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message) as error:
        figures.read_scores({"joint": [path]}, metric)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: figures.metric_comparison({}), "at least one method"),
        (lambda: figures.metric_comparison({"joint": []}), r"scores of joint .* got \[\]"),
        (lambda: figures.metric_comparison({"joint": [float("nan")]}), r"finite .* got \[nan\]"),
        (lambda: figures.metric_comparison({"joint": [[1.0]]}), r"got \[\[1.0\]\]"),
    ],
)
def test_wrong_input_is_one_clear_sentence(draw: Callable[[], Figure], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        draw()


def test_a_number_that_is_null_or_was_nan(tmp_path: Path):
    for text in ("null", "NaN", "1" + 400 * "0"):
        path = tmp_path / "evaluation.json"
        path.write_text(f'{{"reconstruction": {text}, "kl": 1.0}}')
        with pytest.raises(DataError, match=r"has no finite number for reconstruction"):
            figures.read_scores({"m": [path]}, "reconstruction")
        assert figures.read_scores({"m": [path]}, "kl") == {"m": [1.0]}
