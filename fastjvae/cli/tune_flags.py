"""The flags of ``fastjvae tune``: settings that stay as they are, and what is searched."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any

from typing_extensions import Self
from tyro.conf import Suppress, arg

from fastjvae.cli.train import TrainFlags
from fastjvae.errors import ArgumentError
from fastjvae.training.seeds import parse_seeds
from fastjvae.training.settings.fields import Bounds, flag, setting_names
from fastjvae.training.tuning.goals import goal_of
from fastjvae.training.tuning.ladder import LADDER
from fastjvae.training.tuning.search import Searched, parse_search

SEEDS = "0..2"
TRIALS = 40


@dataclass(frozen=True)
class TuneFlags(TrainFlags):
    """The settings that are not searched, and the flags of the search."""

    search: Annotated[tuple[str, ...], arg(metavar="NAME=A..B[:log]|NAME=A,B,C")] = ()
    """settings and the values to try, by the names of the flags here: a range, in which :log draws
    by the logarithm, or some values, of --disc such as disc=10,10x10. Without, the capacity of the
    continuous units is chosen from 2.5, 5, 10, 20, 40 and 80 nats, by runs of at most 5,000 steps:
    the largest whose score is within the seeds' spread of the best (the paper, section 3.4)"""
    trials: Annotated[int | None, Bounds(1, 1_000_000)] = None
    """settings to try, by all processes of the study together; 40 by default"""
    by: str = "udr"
    """what settings are compared by, the mean over the seeds: udr, how alike the seeds' models are,
    without labels; objective, the loss, which only settings that leave it as it is may be compared
    by; or a number of the evaluation: reconstruction, accuracy_majority, factor_vae, mig, ..."""
    storage: str | None = None
    """the URL of a database for the study, such as postgresql://..., by which processes on machines
    without a common folder take part; by default it is the file study.journal in the folder"""

    given: Suppress[Any] = None  # the flags that were given, by the names of their settings

    def __post_init__(self) -> None:
        super().__post_init__()
        goal_of(self.by)

    @property
    def searched(self) -> tuple[Searched, ...]:
        """What is searched; none for the ladder."""
        return parse_search(self.search, [phase.name for phase in self.phases])

    def settled(self, given: Collection[str]) -> Self:
        made = super().settled(given)
        fields = setting_names(made)
        words = {name.removeprefix("no_") if name not in fields else name for name in given}
        for each in made.searched:
            if each.name in words:
                raise ArgumentError(
                    f"{flag(each.name)} is given and searched: leave one of the two out"
                )
            if each.name == "epochs" and made.phases:
                raise ArgumentError("the phases of this recipe are counted in steps: search steps")
        if not made.search and made.trials is not None:
            raise ArgumentError(
                f"--trials is for --search, got {made.trials} without it: the ladder has"
                f" {len(LADDER)} values"
            )
        if goal_of(made.by).name == "udr" and len(parse_seeds(made.seeds or SEEDS)) < 2:
            raise ArgumentError(
                f"--by udr compares models of at least 2 seeds, got --seeds {made.seeds}"
            )
        return dataclasses.replace(made, given=tuple(name for name in fields if name in words))
