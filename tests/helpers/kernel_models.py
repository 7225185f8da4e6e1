"""Models and objectives for the tests of the kernels inside training."""

from __future__ import annotations

from typing import Any

import torch
from kernel_cases import DEVICE
from torch import Tensor

from fastjvae import Capacity, JointObjective, JointVAE

OBJECTIVE = JointObjective(cont=Capacity(0, 5, 100, 30), disc=Capacity(0, 5, 100, 30))
INFORMATION = JointObjective(
    cont=Capacity(0, 5, 100, 30), disc=Capacity(0, 1, 100, 30), disc_measure="information"
)


BERNOULLI: dict[str, Any] = {}
FIXED = {"likelihood": "gaussian", "scale": 0.3, "value_range": (-1.0, 1.0)}
LEARNED = {**FIXED, "scale": "learned"}


def small_model(spec: dict[str, Any] | None = None, **likelihood: Any) -> JointVAE:
    return JointVAE((1, 16, 16), spec or {"cont": 3, "disc": [4, 2]}, **likelihood).to(DEVICE)


def images(rows: int = 6) -> Tensor:
    return torch.randint(0, 256, (rows, 1, 16, 16), dtype=torch.uint8, device=DEVICE)


def gradients(model: JointVAE, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))
