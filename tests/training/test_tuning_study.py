"""A study whose trials train nothing: which are tried, by whom, and what is said of them."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from fastjvae.errors import DataError, RunError
from fastjvae.training.tuning.goals import goal_of
from fastjvae.training.tuning.search import parse_search
from fastjvae.training.tuning.trials import Tried, TuningStopped

pytest.importorskip("optuna", reason="needs the tune extra")

from fastjvae.training.tuning.study import Study

SEARCHED = parse_search(["lr=1e-4..1e-2:log", "temperature=0.1..1"])
Report = Callable[[Sequence[float]], None]


def suggest(trial: Any) -> dict[str, Any]:
    return {each.name: each.suggest(trial) for each in SEARCHED}


def measure(settings: dict[str, Any], folder: Path, report: Report) -> Sequence[float]:
    """Far better at small temperatures; the learning rate matters little."""
    score = 1.0 - settings["temperature"] + settings["lr"]
    report([score])
    return [score, score]


def _study(folder: Path, by: str = "udr", **changes: Any) -> Study:
    return Study(folder, goal_of(by), {"by": by}, **{"pruning": False, **changes})


def _ignore(_: Tried) -> None:
    pass


def test_it_finds_what_matters(tmp_path: Path):
    study, said = _study(tmp_path / "s"), []
    study.run(25, suggest, measure, said.append)
    assert [each.number for each in said] == list(range(25))
    assert study.tried == said
    assert study.best is not None
    assert study.best.score == max(each.score for each in said)
    assert study.best.settings["temperature"] < 0.3
    importances = study.importances()
    assert importances["temperature"] > importances["lr"] >= 0
    assert sum(importances.values()) == pytest.approx(1)
    assert study.running == 0


def test_less_of_a_loss_is_better(tmp_path: Path):
    study = _study(tmp_path / "s", by="objective")
    study.run(5, suggest, measure, _ignore)
    assert study.best is not None
    assert study.best.score == min(each.score for each in study.tried)


def test_the_first_seeds_below_the_median_end_a_trial(tmp_path: Path):
    study = _study(tmp_path / "s", pruning=True)
    study.run(25, suggest, measure, _ignore)
    pruned = [each for each in study.tried if each.pruned]
    assert pruned
    assert all(each.number >= 5 and len(each.scores) == 1 for each in pruned)
    assert study.best is not None
    assert not study.best.pruned


def test_draws_depend_on_the_number_of_a_trial_and_not_on_who_draws(tmp_path: Path):
    whole, parts = _study(tmp_path / "whole"), tmp_path / "parts"
    whole.run(12, suggest, measure, _ignore)
    for trials in range(1, 13):  # another process each time
        _study(parts).run(trials, suggest, measure, _ignore)
    assert [t.settings for t in _study(parts).tried] == [t.settings for t in whole.tried]


def test_trials_that_others_are_at_count(tmp_path: Path):
    """In the middle of a trial another process runs the study to its end."""
    folder = tmp_path / "s"
    others: list[Tried] = []

    def interrupted(settings: dict[str, Any], path: Path, report: Report) -> Sequence[float]:
        _study(folder).run(4, suggest, measure, others.append)
        assert _study(folder).running == 1
        return measure(settings, path, report)

    study = _study(folder)
    study.run(4, suggest, interrupted, _ignore)
    assert [each.number for each in others] == [1, 2, 3]
    assert [each.number for each in study.tried] == [0, 1, 2, 3]


@pytest.mark.parametrize("stop", [TuningStopped(128 + signal.SIGTERM), KeyboardInterrupt()])
def test_a_stopped_trial_goes_on_in_its_folder(tmp_path: Path, stop: BaseException):
    folders: list[tuple[str, float]] = []

    def stopped(settings: dict[str, Any], path: Path, report: Report) -> Sequence[float]:
        folders.append((path.name, settings["temperature"]))
        if len(folders) == 2:
            raise stop
        return measure(settings, path, report)

    with pytest.raises(type(stop)):
        _study(tmp_path / "s").run(3, suggest, stopped, _ignore)
    study = _study(tmp_path / "s")
    assert [each.folder for each in study.tried] == ["trial0000"]
    study.run(3, suggest, stopped, _ignore)
    assert [name for name, _ in folders] == ["trial0000", "trial0001", "trial0001", "trial0003"]
    assert folders[1] == folders[2]
    assert [each.folder for each in study.tried] == ["trial0000", "trial0001", "trial0003"]


def test_a_trial_that_fails_is_kept_with_its_reason(tmp_path: Path):
    def fails(settings: dict[str, Any], path: Path, report: Report) -> Sequence[float]:
        if path.name == "trial0001":
            raise DataError("squares.npz is damaged")
        return measure(settings, path, report)

    study = _study(tmp_path / "s")
    study.run(3, suggest, fails, _ignore)
    assert [each.error for each in study.tried] == [None, "squares.npz is damaged", None]


def test_values_that_are_to_be_tried_are_tried_once_each(tmp_path: Path):
    (rung,) = parse_search(["temperature=0.25,0.5,0.75"])
    for _ in range(2):
        study = _study(tmp_path / "s")
        study.enqueue(rung.name, list(rung.values or ()))
        study.run(3, lambda trial: {rung.name: rung.suggest(trial)}, _by_value, _ignore)
    assert [each.settings for each in study.tried] == [
        {"temperature": value} for value in (0.25, 0.5, 0.75)
    ]


def _by_value(settings: dict[str, Any], path: Path, report: Report) -> Sequence[float]:
    return [settings["temperature"]]


def test_another_study_in_the_folder_is_refused(tmp_path: Path):
    _study(tmp_path / "s")
    with pytest.raises(RunError, match=r"holds another study \(seeds is None there, 3 here\)"):
        Study(tmp_path / "s", goal_of("udr"), {"by": "udr", "seeds": 3})
    with pytest.raises(RunError, match="'objective' here"):
        Study(tmp_path / "s", goal_of("objective"), {"by": "objective"})
