"""Everything that a training step changes, in one value."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fastjvae.model import JointVAE
from fastjvae.training.recorder import Recorder


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
