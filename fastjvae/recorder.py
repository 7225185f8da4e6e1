"""Losses of single steps, kept on the device until a logging step reads them in bulk."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastjvae.functional import category_imbalance
from fastjvae.latents import LatentSpec
from fastjvae.objectives import LossOutput

_SCALARS = ("loss", "reconstruction", "capacity_cont", "capacity_disc")


class LossRecorder:
    """Collects one row of numbers a training step; all in nats per image.

    Args:
        spec: the latent variables, which name the columns.
        num_pixels: H * W, which ``LossOutput.loss`` is divided by.
    """

    def __init__(self, spec: LatentSpec, num_pixels: int) -> None:
        self._spec = spec
        self._num_pixels = num_pixels
        self._vectors = {
            "kl_cont": spec.cont,
            "kl_disc": len(spec.disc),
            "category_mean": spec.num_categories,
        }
        self._extra: list[str] = []
        self._rows: list[Tensor] = []

    @torch.no_grad()
    def append(self, out: LossOutput) -> None:
        """Keep the numbers of one step; does not wait for the device."""
        self._extra = sorted(out.extra)
        scalars = [
            out.loss * self._num_pixels,
            out.reconstruction,
            out.capacity_cont,
            out.capacity_disc,
            *(out.extra[name] for name in self._extra),
        ]
        self._rows.append(
            torch.cat([torch.stack(scalars), out.kl_cont, out.kl_disc, out.category_mean])
        )

    def read(self) -> Tensor:
        """Return the rows on the CPU, (steps, columns); waits for the device."""
        return torch.stack(self._rows).cpu() if self._rows else torch.zeros(0, 0)

    def clear(self) -> None:
        self._rows.clear()

    def restore(self, rows: Tensor, device: torch.device) -> None:
        """Take back the rows that :meth:`read` returned."""
        self._rows = list(rows.to(device))

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
