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
    step: Tensor = field(init=False)  # (), int64 on the device: steps taken

    def __post_init__(self) -> None:
        self.step = torch.zeros((), dtype=torch.int64, device=self.model.device)


class Prepared(NamedTuple):
    """What trains a phase."""

    trained: Trained
    take: Callable[[int], None]  # takes a step, counted from 0 in the phase, and records a row
    # Says of a record what its reader should not miss, where there is something.
    warning: Callable[[Record], str | None] | None = None
