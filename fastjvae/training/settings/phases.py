"""Phases: the parts of a run that follow one another, each with settings of its own.

A phase starts from the weights of the one before, with a fresh optimizer, and its schedules count
its own steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Annotated, Any

from fastjvae.errors import ArgumentError
from fastjvae.training.settings.fields import Bounds
from fastjvae.training.settings.objective import (
    CapacityConfig,
    FactorConfig,
    Measure,
    ObjectiveName,
)
from fastjvae.training.settings.run import MOST_STEPS, Rate, Steps, StepsOrNone, Weight


@dataclass(frozen=True)
class Phase:
    """The length of a phase, and the settings in which it differs from its run's; None: as there.

    The fields are those of :class:`fastjvae.training.TrainConfig`.
    """

    name: str
    steps: Steps
    batch_size: Annotated[int, Bounds(1, 10_000_000)] | None = None
    objective: ObjectiveName | None = None
    cont_capacity: CapacityConfig | None = None
    disc_capacity: CapacityConfig | None = None
    disc_measure: Measure | None = None
    drawn_gamma: Weight | None = None
    total_capacity: CapacityConfig | None = None
    beta: Annotated[float, Bounds(0)] | None = None
    factor: FactorConfig | None = None
    label_weight: Weight | None = None
    group: Annotated[int, Bounds(1, 10_000)] | None = None
    neighbours: Annotated[int, Bounds(most=10_000)] | None = None
    overclusters: Annotated[int, Bounds(most=100_000)] | None = None
    refits: Annotated[tuple[int, ...], Bounds(most=MOST_STEPS)] | None = None
    merge: bool | None = None
    spread: Annotated[float, Bounds(0, 100)] | None = None
    augment: Annotated[float, Bounds(0, 100)] | None = None
    lr: Rate | None = None
    warmup: StepsOrNone | None = None
    accumulate: Annotated[int, Bounds(1, 10_000)] | None = None

    @classmethod
    def of(cls, name: str, settings: Any) -> Phase:
        """The phase whose settings are those of a run; all of them are in it."""
        return cls(name, **{each: getattr(settings, each) for each in PHASE_SETTINGS})

    def without(self, settings: Any) -> Phase:
        """The phase without the settings that are as a run has them."""
        same: dict[str, Any] = {
            k: None for k, v in self.differences().items() if v == getattr(settings, k)
        }
        return dataclasses.replace(self, **same)

    def differences(self) -> dict[str, Any]:
        """The settings in which the phase differs, by name."""
        values = {name: getattr(self, name) for name in PHASE_SETTINGS if name != "steps"}
        return {name: value for name, value in values.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """JSON form for config.json: name, steps and differences."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None}


PHASE_SETTINGS = tuple(f.name for f in dataclasses.fields(Phase) if f.name != "name")


def check_names(phases: Iterable[Phase]) -> None:
    """Refuse phases that could not be told apart, in a flag or in ``metrics.jsonl``."""
    names = [phase.name for phase in phases]
    for name in names:
        if not name.isidentifier():
            raise ArgumentError(f"the name of a phase must be a word such as types, got {name!r}")
    if len(set(names)) < len(names):
        raise ArgumentError(f"phases must have different names, got {', '.join(names)}")


def shared_out(phases: Sequence[Phase], steps: int) -> tuple[Phase, ...]:
    """Phases of ``steps`` together, with their shares of it; one that gets no step is left out.

    >>> [p.steps for p in shared_out([Phase("types", 700), Phase("style", 1000)], 170)]
    [70, 100]
    """
    ends = list(accumulate(phase.steps for phase in phases))
    whole = ends[-1]
    at = [0, *((2 * steps * end + whole) // (2 * whole) for end in ends)]  # rounded
    lengths = [last - first for first, last in pairwise(at)]
    return tuple(
        dataclasses.replace(phase, steps=length)
        for phase, length in zip(phases, lengths, strict=True)
        if length
    )


def last_lengthened(phases: Sequence[Phase], steps: int) -> tuple[Phase, ...]:
    """Phases of ``steps`` together, of which the last one is as long as that takes.

    Raises:
        ArgumentError: the last phase begins at that step or after it.
    """
    *before, last = phases
    begins = sum(phase.steps for phase in before)
    if steps <= begins:
        raise ArgumentError(
            f"--steps {steps:,} ends before the phase {last.name}, which begins after step"
            f" {begins:,} and is the one that changes its length; give more"
        )
    return (*before, dataclasses.replace(last, steps=steps - begins))
