"""Capacity of latent variables over training: linear growth, clipped (paper eq. 8, appendix C)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fastjvae._numbers import is_finite, is_integer, shown
from fastjvae.errors import ArgumentError


@dataclass(frozen=True)
class Capacity:
    """C(t) = lo + (hi - lo) clamp((t - start) / iters, 0, 1) in nats, and its weight.

    The order of the first four arguments is that of the published code's ``cont_capacity`` lists,
    so ``Capacity(*[0.0, 5.0, 25000, 30.0])`` reads one.

    >>> capacity = Capacity(lo=0.0, hi=5.0, iters=25000, gamma=30.0)
    >>> float(capacity.at(5000))
    1.0

    Args:
        lo: capacity until ``start``, nats.
        hi: capacity from ``start + iters`` on, nats.
        iters: training steps from ``lo`` to ``hi``, at least 1.
        gamma: weight of ``|KL - C(t)|``; a float is a constant of the run, a scalar tensor on the
            model's device may be changed in place between steps.
        start: step at which the growth begins.

    Raises:
        ArgumentError: a number is negative, not finite, or ``iters`` is below 1.
    """

    lo: float
    hi: float
    iters: int
    gamma: float | Tensor
    start: int = 0

    def __post_init__(self) -> None:
        for name in ("lo", "hi", "gamma", "start"):
            value = getattr(self, name)
            if isinstance(value, Tensor):  # reading it would wait for the device
                continue
            if not (is_finite(value) and value >= 0):
                raise ArgumentError(
                    f"capacity {name} must be a finite number of at least 0, got {shown(value)}"
                )
        if not float(self.start).is_integer():
            raise ArgumentError(f"capacity start must be a whole training step, got {self.start!r}")
        if not (is_finite(self.iters) and self.iters >= 1):
            raise ArgumentError(
                f"capacity iters must be at least 1 training step, got {shown(self.iters)}"
            )
        if max(self.start, self.iters) >= 2**63:  # as a tensor counts them
            raise ArgumentError(
                f"capacity start and iters must be below 2^63 training steps,"
                f" got {shown(self.start)} and {shown(self.iters)}"
            )

    def at(
        self,
        step: int | Tensor,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        maximum: float = math.inf,
    ) -> Tensor:
        """Return C(step), nats, as a scalar tensor; nothing is read back from the device.

        Args:
            step: training step, counted from 1, as an int or as an integer tensor of one element.
            device: where the result is made when ``step`` is an int.
            dtype: float32, or float64 for the oracle.
            maximum: cap on the capacity; for categorical variables sum log K, their largest KL.
        """
        if not isinstance(step, Tensor):
            if not is_integer(step) or step < 0:
                raise ArgumentError(f"step must be an integer of at least 0, got {step!r}")
            grown = self.lo + (self.hi - self.lo) * self._progress(step)
            return torch.full((), float(min(grown, maximum)), device=device, dtype=dtype)
        progress = ((step.reshape(()) - self.start).to(dtype) / self.iters).clamp(0.0, 1.0)
        return (self.lo + (self.hi - self.lo) * progress).clamp(max=maximum)

    def _progress(self, step: int) -> float:
        return min(max((step - self.start) / self.iters, 0.0), 1.0)
