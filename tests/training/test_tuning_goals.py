from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fastjvae.data import ImageData
from fastjvae.errors import ArgumentError, RunError
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.seeds_table import SeedResult, SeedsSummary
from fastjvae.training.tuning.goals import GOALS, final_objective, goal_of

_EVALUATION: dict[str, Any] = {
    "data": "x", "images": 3, "reconstruction": 90.0, "kl_cont_sum": 5.0, "kl_disc_sum": 2.0,
    "variables": [
        {"accuracy_majority": 0.5, "accuracy_one_to_one": 0.4, "information": 1.5, "effect": 0.1},
        {"accuracy_majority": 0.9, "accuracy_one_to_one": 0.8, "information": 0.5, "effect": 0.2},
    ],
    "scores": {"mig": 0.25, "factor_vae": 0.75},
}  # fmt: skip


def _run(folder: Path, **changes: Any) -> RunFolder:
    folder.mkdir()
    (folder / "evaluation.json").write_text(json.dumps({**_EVALUATION, **changes}))
    losses = [1000.0] * 18 + [10.0, 20.0]
    lines = [json.dumps({"step": 5 * (i + 1), "loss": loss}) for i, loss in enumerate(losses)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return RunFolder(folder)


def _summary(*udr: float | None) -> SeedsSummary:
    results = [SeedResult(seed, 90.0, 5.0, 2.0, 0.9, 0.8, score) for seed, score in enumerate(udr)]
    return SeedsSummary("x", 3, tuple(results))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reconstruction", 90.0),
        ("objective", 15.0),  # of the last tenth of the steps
        ("accuracy_majority", 0.9),
        ("accuracy-one-to-one", 0.8),
        ("information", 0.5),  # of the variable that agrees best
        ("effect", 0.2),
        ("mig", 0.25),
        ("kl_cont_sum", 5.0),
    ],
)
def test_a_number_of_a_run(tmp_path: Path, name: str, value: float):
    runs = [_run(tmp_path / "0"), _run(tmp_path / "1")]
    assert goal_of(name).of_seeds(_summary(0.5, 0.6), runs) == [value, value]


def test_udr_is_of_the_seeds_together_and_nothing_to_compare_is_zero(tmp_path: Path):
    assert goal_of("udr").of_seeds(_summary(0.5, 0.75), []) == [0.5, 0.75]
    assert goal_of("udr").of_seeds(_summary(None, None), []) == [0.0, 0.0]


def test_without_labels_the_variable_that_tells_most_counts(tmp_path: Path):
    variables = [{**v, "accuracy_majority": None} for v in _EVALUATION["variables"]]
    run = _run(tmp_path / "0", variables=variables)
    assert goal_of("information").of_seeds(_summary(0.5), [run]) == [1.5]
    with pytest.raises(RunError, match="a run without a finite accuracy_majority"):
        goal_of("accuracy_majority").of_seeds(_summary(0.5), [run])


def test_errors_and_losses_are_better_when_they_are_smaller():
    lower = {name for name, goal in GOALS.items() if goal.lower_is_better}
    assert lower == {"objective", "reconstruction", "reconstruction_train"}


def test_names_that_are_none():
    with pytest.raises(ArgumentError, match=r"got 'acuracy_majority' \(did you mean accuracy_maj"):
        goal_of("acuracy_majority")
    with pytest.raises(ArgumentError, match=r"--by takes one of udr, objective, .*got 'x'$"):
        goal_of("x")


def test_labels_and_factors_have_to_be_there():
    data = ImageData("squares", torch.zeros(3, 1, 8, 8, dtype=torch.uint8))
    for name, what in (("accuracy_majority", "labels"), ("factor_vae", "ground-truth factors")):
        with pytest.raises(ArgumentError, match=f"--by {name} needs {what}, squares has none"):
            goal_of(name).check(data)
    goal_of("udr").check(data)


def test_the_objective_is_that_of_the_last_steps():
    records = [{"step": step, "loss": float(step)} for step in range(10, 101, 10)]
    assert final_objective(records) == 100.0
