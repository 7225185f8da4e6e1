"""Everything that a training step changes, in one value, and what trains it in a phase."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastjvae.model import JointVAE
from fastjvae.training.recorder import Recorder

Record = dict[str, Any]  # a line of metrics.jsonl


@dataclass
class Trained:
    """Everything that changes from step to step."""

    model: JointVAE
    objective: Any  # may offer state_dict() and load_state_dict(), and parameters of its own
    optimizer: torch.optim.Optimizer  # over all parameters
    recorder: Recorder  # of the numbers of each step
    noise: torch.Generator  # on the device of the run
    # (2,) int64 on the device: steps taken, and the number of the step after them, from 1. Both go
    # up by 1 in the launch that records a step.
    counts: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.counts = torch.zeros(2, dtype=torch.int64, device=self.model.device)
        self.count_from(0)

    @property
    def step(self) -> Tensor:
        """Steps taken, ()."""
        return self.counts[0]

    @property
    def number(self) -> Tensor:
        """The number of the step that is taken next, (), counted from 1."""
        return self.counts[1]

    def count_from(self, step: int) -> None:
        """Go on after so many steps."""
        self.counts[0].fill_(step)
        self.counts[1].fill_(step + 1)


class Prepared(NamedTuple):
    """What trains a phase."""

    trained: Trained
    take: Callable[[int], None]  # takes a step, counted from 0 in the phase, and records a row
    # Says of a record what its reader should not miss, where there is something.
    warning: Callable[[Record], str | None] | None = None
