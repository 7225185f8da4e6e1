"""What the figures write: titles, labels of rows and columns, and checks of what they are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fastjvae.errors import ArgumentError

Vector = Tensor | NDArray[Any] | Sequence[float]


def vector(name: str, values: Vector, length: int, meaning: str) -> NDArray[np.float64]:
    """``values`` as an array of shape (length,)."""
    array = to_array(values)
    if array.shape != (length,):
        raise ArgumentError(
            f"{name} must hold {meaning}, shape ({length},), got shape {array.shape}"
        )
    return array


def to_array(values: Vector) -> NDArray[np.float64]:
    """A tensor of any device, an array or numbers as float64."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)


def check_count(name: str, value: int, least: int) -> None:
    if value < least:
        raise ArgumentError(f"{name} must be at least {least}, got {value}")


def part(shown: int, total: int, what: str) -> list[str]:
    """A remark for the title where not everything is shown."""
    return [f"{shown} of {total} {what}"] if shown < total else []


def full_title(title: str | None, notes: Sequence[str]) -> str:
    remarks = ", ".join(notes)
    return f"{title} ({remarks})" if title and remarks else title or remarks


def with_kl(name: str, kl_nats: float) -> str:
    return f"{name}  {kl_nats:.2f} nats"
