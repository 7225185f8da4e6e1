"""The numbers of single steps, kept on the device until a logging step reads them in bulk."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from fastjvae.errors import CheckpointError
from fastjvae.functional import information, record_row
from fastjvae.functional.latents import LatentSpec
from fastjvae.objectives.base import LossOutput

Columns = dict[str, Tensor]  # by name, (steps,) of a number and (steps, size) of a vector


class Recorder:
    """Collects one row of named numbers and vectors a training step.

    Rows lie in one buffer on the device, so that a step that is captured in a CUDA graph writes
    the next one at every replay, which :meth:`count` has to be told of.

    Args:
        sizes: by name, the size of a vector or None of a number; a step may have further ones.
        rows: most rows that are kept; the oldest go first.
        derived: makes further columns of those that were read.
    """

    def __init__(
        self,
        sizes: Mapping[str, int | None],
        rows: int = 100,
        derived: Callable[[Columns], Columns] | None = None,
    ) -> None:
        self._sizes, self._most_rows, self._derived = dict(sizes), rows, derived
        self._rows: Tensor | None = None  # (rows, columns), made with the first row
        self._next = torch.zeros(1, dtype=torch.int64)
        self.written = 0  # since the last clear

    @property
    def names(self) -> list[str]:
        """Names of the columns; the elements of a vector are numbered from 0."""
        return [
            column
            for name, size in self._sizes.items()
            for column in ([name] if size is None else [f"{name}[{i}]" for i in range(size)])
        ]

    @torch.no_grad()
    def append(
        self,
        numbers: Mapping[str, Tensor],
        *,
        factors: Mapping[str, float] | None = None,
        counts: Tensor | None = None,
    ) -> None:
        """Write the numbers of one step on the device; does not wait for it.

        Args:
            numbers: by name, scalars and vectors.
            factors: by name, what some of them are multiplied by.
            counts: int64 on the device, which go up by 1 with the row.
        """
        values = list(numbers.values())
        self._sizes = {name: len(v) if v.ndim else None for name, v in numbers.items()}
        columns = sum(value.numel() for value in values)
        if self._rows is None:
            dtype = reduce(torch.promote_types, (value.dtype for value in values))
            self._rows = values[0].new_zeros(self._most_rows, columns, dtype=dtype)
            self._next = self._next.to(values[0].device)
        elif columns != self._rows.shape[1]:
            raise CheckpointError(
                f"the checkpoint has {self._rows.shape[1]} numbers of each step and this run"
                f" {columns}: its objective or latent variables differ"
            )
        scales = [(factors or {}).get(name, 1.0) for name in numbers]
        record_row(self._rows, self._next, values, factors=scales, counts=counts)
        self.written += 1

    def count(self) -> None:
        """Note a row that a replayed CUDA graph has written."""
        self.written += 1

    def read(self) -> Tensor:
        """Return the rows on the CPU, (steps, columns), oldest first; waits for the device."""
        return self.read_with()[0]

    @torch.no_grad()
    def read_with(self, beside: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
        """The rows of :meth:`read` and further numbers (), the latter side by side.

        One copy brings all of them, and waits for the device once.
        """
        rows = torch.zeros(0, 0) if self._rows is None else self._rows
        size, kept = len(rows), min(self.written, len(rows))
        further = torch.stack(list(beside)).to(rows) if beside else rows.new_zeros(0)
        together = torch.cat([rows[:kept].flatten(), further]).cpu()
        read, numbers = torch.split(together, [kept * rows.shape[1], len(beside)])
        read = read.view(kept, rows.shape[1])
        return read.roll(-(self.written % size), dims=0) if self.written > size else read, numbers

    def clear(self) -> None:
        """Drop all rows."""
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

    def record(self, rows: Tensor) -> dict[str, Any]:
        """The means of rows as :meth:`read` returns them, numbers and lists of numbers by name."""
        means = self._columns(rows.mean(dim=0))
        if self._derived is not None:
            further = self._derived(self._columns(rows))
            means.update({name: values.mean(dim=0) for name, values in further.items()})
        return {name: value.tolist() for name, value in means.items()}

    def _columns(self, rows: Tensor) -> Columns:
        split = torch.split(
            rows, [1 if size is None else size for size in self._sizes.values()], dim=-1
        )
        return {
            name: values[..., 0] if size is None else values
            for (name, size), values in zip(self._sizes.items(), split, strict=True)
        }


def loss_recorder(spec: LatentSpec, rows: int = 100) -> Recorder:
    """A recorder of :func:`loss_numbers`, for a model of these latent variables.

    Its records also have ``information``, the part of each ``kl_disc`` that tells the images of a
    batch apart: H(category mean) - mean H(p), per step, then averaged as the rest.
    """

    def derived(columns: Columns) -> Columns:
        steps = zip(columns["kl_disc"], columns["category_mean"], strict=True)
        return {"information": torch.stack([information(kl, mean, spec) for kl, mean in steps])}

    numbers = dict.fromkeys(("loss", "reconstruction", "capacity_cont", "capacity_disc"))
    vectors = {
        "kl_cont": spec.cont,
        "kl_disc": len(spec.disc),
        "category_mean": spec.num_categories,
    }
    return Recorder({**numbers, **vectors}, rows, derived)


def loss_numbers(out: LossOutput) -> dict[str, Tensor]:
    """The losses of one step by name, in nats per image; ``loss`` is divided by the pixels."""
    return {
        "loss": out.loss.detach(),
        "reconstruction": out.reconstruction,
        "capacity_cont": out.capacity_cont,
        "capacity_disc": out.capacity_disc,
        **{name: out.extra[name] for name in sorted(out.extra)},
        "kl_cont": out.kl_cont,
        "kl_disc": out.kl_disc,
        "category_mean": out.category_mean,
    }
