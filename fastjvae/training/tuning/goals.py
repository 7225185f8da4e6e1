"""What settings are compared by: UDR, the training objective, or a number of the evaluation."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastjvae._numbers import is_finite
from fastjvae.data import ImageData
from fastjvae.errors import ArgumentError, RunError, did_you_mean
from fastjvae.metrics.scores import SCORE_TITLES
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.seeds_table import SeedsSummary, agreeing_variable, read_evaluation

_LAST_SHARE = 0.1  # of the training steps
_OF_LABELS = ("accuracy_majority", "accuracy_one_to_one")
_OF_FACTORS = tuple(name for name in SCORE_TITLES if not name.startswith("dci"))
# Numbers of evaluation.json, and those of its discrete variable that agrees best with the labels or
# tells most. Of a KL more is better: what it may be is a matter of the capacities.
_LARGE = ("kl_cont_sum", "kl_disc_sum")
_SMALL = ("reconstruction", "reconstruction_train")
_OF_VARIABLE = ("information", "effect", *_OF_LABELS)


@dataclass(frozen=True)
class Goal:
    """A number by which settings are compared, and whether less of it is better."""

    name: str
    lower_is_better: bool = False

    def check(self, data: ImageData) -> None:
        """Refuse images of which there is no such number; ArgumentError."""
        if self.name in _OF_LABELS and data.labels is None:
            raise ArgumentError(f"--by {self.name} needs labels, {data.name} has none")
        if self.name in _OF_FACTORS and data.factors is None:
            raise ArgumentError(
                f"--by {self.name} needs ground-truth factors, {data.name} has none"
            )

    def of_seeds(self, summary: SeedsSummary, runs: Sequence[RunFolder]) -> list[float]:
        """The number of each seed of a setting.

        UDR is 0 where no unit or category of any seed carries anything.

        Args:
            summary: the seeds side by side, all of them finished.
            runs: their run folders, in the same order.

        Raises:
            RunError: a run has no such number.
        """
        if self.name == "udr":
            return [result.udr or 0.0 for result in summary.results]
        values = [self._of_run(run) for run in runs]
        numbers = [float(value) for value in values if is_finite(value)]
        if len(numbers) < len(values):
            raise RunError(f"{runs[0].path.parent} has a run without a finite {self.name}")
        return numbers

    def _of_run(self, run: RunFolder) -> Any:
        if self.name == "objective":
            return final_objective(read_metrics(run))
        evaluation = read_evaluation(run.evaluation_file)
        if self.name in _OF_FACTORS:
            return (evaluation.get("scores") or {}).get(self.name)
        if self.name in _OF_VARIABLE:
            variable = agreeing_variable(evaluation) or _telling_variable(evaluation)
            return variable.get(self.name)
        return evaluation.get(self.name)


def _telling_variable(evaluation: dict[str, Any]) -> dict[str, Any]:
    """The discrete variable that tells most; empty where there is none."""
    return max(evaluation["variables"], key=lambda each: each.get("information") or 0.0, default={})


GOALS: dict[str, Goal] = {
    name: Goal(name, lower_is_better=name in ("objective", *_SMALL))
    for name in ("udr", "objective", *_SMALL, *_OF_VARIABLE, *_OF_FACTORS, *_LARGE)
}


def goal_of(name: str) -> Goal:
    """The goal of a name.

    Raises:
        ArgumentError: there is none; names the nearest.
    """
    if (goal := GOALS.get(name.replace("-", "_"))) is not None:
        return goal
    hint = did_you_mean(name, GOALS)
    raise ArgumentError(f"--by takes one of {', '.join(GOALS)}, got {name!r}{hint}")


def final_objective(records: Sequence[dict[str, Any]]) -> float:
    """Mean loss of the last tenth of the training steps, nats per image."""
    begin = (1 - _LAST_SHARE) * records[-1]["step"]
    return statistics.fmean(record["loss"] for record in records if record["step"] > begin)
