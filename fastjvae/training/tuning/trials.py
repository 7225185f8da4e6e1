"""Trials of a study: what trains one, what is known of one that has ended, one that is stopped."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Trains the runs of some settings in a folder, and hands the scores of the first of its seeds to
# the last argument, which ends the trial where they are not worth the others. Returns the scores.
Measure = Callable[[dict[str, Any], Path, Callable[[Sequence[float]], None]], Sequence[float]]


class TuningStopped(Exception):  # noqa: N818  it is no error
    """A signal stopped the runs of a trial; ``code`` is 128 + its number."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Tried:
    """A trial that has ended."""

    number: int
    folder: str
    settings: dict[str, Any]
    scores: tuple[float, ...]  # of the seeds
    pruned: bool = False
    error: str | None = None

    @property
    def score(self) -> float:
        """The mean over the seeds."""
        return statistics.fmean(self.scores)
