"""Numbers of single steps, kept on the device until a logging step reads them in bulk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from fastjvae.errors import CheckpointError
from fastjvae.functional import category_imbalance
from fastjvae.functional.latents import LatentSpec
from fastjvae.objectives import LossOutput

_SCALARS = ("loss", "reconstruction", "capacity_cont", "capacity_disc")


class Recorder(ABC):
    """Collects one row of numbers a training step.

    Rows lie in one buffer on the device, so that a step that is captured in a CUDA graph writes
    the next one at every replay, which :meth:`count` has to be told of.

    Args:
        rows: most rows that are kept; the oldest go first.
    """

    def __init__(self, rows: int = 100) -> None:
        self._most_rows = rows
        self._rows: Tensor | None = None  # (rows, columns), made with the first row
        self._next = torch.zeros(1, dtype=torch.int64)
        self.written = 0  # since the last clear

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """Names of the columns."""

    @abstractmethod
    def record(self, rows: Tensor) -> dict[str, Any]:
        """Turn rows as :meth:`read` returns them into what a line of metrics.jsonl holds."""

    def write(self, row: Tensor) -> None:
        """Write (columns,) numbers on the device; does not wait for it."""
        if self._rows is None:
            self._rows = row.new_zeros(self._most_rows, len(row))
            self._next = self._next.to(row.device)
        elif len(row) != self._rows.shape[1]:
            raise CheckpointError(
                f"the checkpoint has {self._rows.shape[1]} numbers of each step and this run"
                f" {len(row)}: its objective or latent variables are other ones"
            )
        self._rows.index_copy_(0, self._next, row[None])
        self._next.add_(1).remainder_(len(self._rows))
        self.written += 1

    def count(self) -> None:
        """Note a row that a replayed CUDA graph has written."""
        self.written += 1

    def read(self) -> Tensor:
        """Return the rows on the CPU, (steps, columns), oldest first; waits for the device."""
        if self._rows is None:
            return torch.zeros(0, 0)
        size = len(self._rows)
        if self.written <= size:
            return self._rows[: self.written].cpu()
        return self._rows.cpu().roll(-(self.written % size), dims=0)

    def clear(self) -> None:
        self.forget(0)

    def restore(self, rows: Tensor, device: torch.device) -> None:
        """Take back the rows that :meth:`read` returned.

        Raises:
            ValueError: they are no rows of numbers, or too short for this run's.
        """
        if rows.dim() != 2 or not rows.is_floating_point():
            raise ValueError(f"losses of steps must be rows of numbers, got {tuple(rows.shape)}")
        if len(rows) and rows.shape[1] < len(self.names):
            raise ValueError(f"a step has {len(self.names)} losses, got rows of {rows.shape[1]}")
        self.written = len(rows)
        self._next = torch.tensor([len(rows)], device=device)
        if len(rows):
            room = rows.new_zeros(self._most_rows, rows.shape[1])
            self._rows = torch.cat([rows, room]).to(device)

    def forget(self, rows: int) -> None:
        """Drop the rows after the first ``rows``."""
        self.written = rows
        self._next.fill_(rows if self._rows is None else rows % len(self._rows))


class ScalarRecorder(Recorder):
    """Collects named scalars, whose means it records."""

    def __init__(self, names: Sequence[str], rows: int = 100) -> None:
        super().__init__(rows)
        self._names = list(names)

    @property
    def names(self) -> list[str]:
        return self._names

    @torch.no_grad()
    def append(self, scalars: Mapping[str, Tensor]) -> None:
        """Write the numbers of one step on the device; does not wait for it."""
        self.write(torch.stack([scalars[name] for name in self._names]))

    def record(self, rows: Tensor) -> dict[str, Any]:
        return dict(zip(self._names, rows.mean(dim=0).tolist(), strict=True))


class LossRecorder(Recorder):
    """Collects the losses of single steps, in nats per image.

    Args:
        spec: the latent variables, which name the columns.
        num_pixels: H * W, which ``LossOutput.loss`` is divided by.
        rows: most rows that are kept; the oldest go first.
    """

    def __init__(self, spec: LatentSpec, num_pixels: int, rows: int = 100) -> None:
        super().__init__(rows)
        self._spec = spec
        self._num_pixels = num_pixels
        self._vectors = {
            "kl_cont": spec.cont,
            "kl_disc": len(spec.disc),
            "category_mean": spec.num_categories,
        }
        self._extra: list[str] = []

    @torch.no_grad()
    def append(self, out: LossOutput) -> None:
        """Write the numbers of one step on the device; does not wait for it."""
        self._extra = sorted(out.extra)
        scalars = [
            out.loss * self._num_pixels,
            out.reconstruction,
            out.capacity_cont,
            out.capacity_disc,
            *(out.extra[name] for name in self._extra),
        ]
        self.write(torch.cat([torch.stack(scalars), out.kl_cont, out.kl_disc, out.category_mean]))

    @property
    def names(self) -> list[str]:
        """Names of the columns; units and categories are numbered from 0."""
        vectors = [f"{name}[{i}]" for name, size in self._vectors.items() for i in range(size)]
        return [*_SCALARS, *self._extra, *vectors]

    def record(self, rows: Tensor) -> dict[str, Any]:
        """Turn rows as :meth:`read` returns them into named means and lists of means.

        ``information`` is that part of each ``kl_disc`` which tells the images of a batch apart:
        H(category mean) - mean H(p), per step, then averaged as the rest.
        """
        values = rows.mean(dim=0).tolist()
        record: dict[str, Any] = {}
        for name in (*_SCALARS, *self._extra):
            record[name] = values.pop(0)
        for name, size in self._vectors.items():
            record[name] = [values.pop(0) for _ in range(size)]
        variables, categories = len(self._spec.disc), self._spec.num_categories
        _, kl_disc, category_mean = torch.split(
            rows, [rows.shape[1] - variables - categories, variables, categories], dim=1
        )
        imbalance = torch.stack([category_imbalance(mean, self._spec) for mean in category_mean])
        record["information"] = (kl_disc - imbalance).mean(dim=0).tolist()
        return record
