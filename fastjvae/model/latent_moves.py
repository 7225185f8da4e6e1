"""Moves in latent space: sample rows of images or of the prior, changed and swept, and decoded."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastjvae import functional
from fastjvae._numbers import decimal
from fastjvae.errors import ArgumentError
from fastjvae.functional import noise
from fastjvae.functional.latents import LatentSpec
from fastjvae.model.evaluating import evaluating
from fastjvae.model.jointvae import JointVAE

Images = NDArray[np.float32]  # (n, C, H, W) in [0, 1]

_DECODED_AT_ONCE = 256


# --- the model ------------------------------------------------------------------------------------


def decode(model: JointVAE, sample: Tensor) -> Images:
    """Sample rows (n, L) of any device and dtype -> images (n, C, H, W)."""
    rows = sample.to(model.device, model.dtype)
    with evaluating(model):
        images = [model.decode(some).float().cpu() for some in torch.split(rows, _DECODED_AT_ONCE)]
    return torch.cat(images).numpy()


def decoded_rows(model: JointVAE, rows: Sequence[Tensor]) -> list[Images]:
    """Decode rows of sample rows, not all of one length, in few calls of the decoder."""
    images = decode(model, torch.cat(list(rows)))
    ends = torch.tensor([len(row) for row in rows]).cumsum(0).tolist()
    return [images[end - len(row) : end] for row, end in zip(rows, ends, strict=True)]


# --- sample rows ----------------------------------------------------------------------------------


def encode_row(model: JointVAE, images: Tensor) -> Tensor:
    """Sample rows (N, L) of images, of means and one-hot categories; float32 on the CPU."""
    with evaluating(model):
        params = model.encode_params(images.to(model.device))
        rows = functional.latent_sample(params, model.spec, model.temperature, training=False)
    return rows.float().cpu()


def change(
    rows: Tensor,
    spec: LatentSpec,
    units: Mapping[int, float] | None = None,
    categories: Mapping[int, int] | None = None,
) -> Tensor:
    """A copy of sample rows (N, L) with units at new values and variables in new categories.

    Raises:
        ArgumentError: the specification has no such unit, variable or category, or a value is not
            finite.
    """
    rows = rows.clone()
    for unit, value in (units or {}).items():
        if not math.isfinite(value):
            raise ArgumentError(f"the value of unit z{unit} must be finite, got {value}")
        rows[:, continuous_unit(unit, spec).place(spec)] = value
    for variable, category in (categories or {}).items():
        place = discrete_variable(variable, spec).place(spec)
        size = spec.disc[variable]
        if not 0 <= category < size:
            raise ArgumentError(
                f"category must be one of the {size} of variable c{variable}, 0 to {size - 1},"
                f" got {category}"
            )
        rows[:, place] = torch.eye(size)[category]
    return rows


def first_categories(spec: LatentSpec) -> Tensor:
    """The sample row (L,) of zeros with every discrete variable in its first category."""
    row = torch.zeros(spec.sample_dim)
    row[[variable.start for variable in spec.categories]] = 1
    return row


def base_row(spec: LatentSpec, base: Tensor | None) -> Tensor:
    """The sample row (L,) that a figure starts from, by default :func:`first_categories`."""
    row = first_categories(spec) if base is None else base.detach().float().cpu()
    if row.shape != (spec.sample_dim,):
        raise ArgumentError(
            f"base must be one sample row of shape ({spec.sample_dim},), got {tuple(row.shape)}"
        )
    return row


def prior_sample(spec: LatentSpec, n: int, seed: int) -> Tensor:
    """Sample rows (n, L): normal, uniform one-hot; the same on every device."""
    return noise.prior_sample(spec, n, torch.Generator().manual_seed(seed))


def unit_values(steps: int) -> Tensor:
    """Values (steps,) of a unit from the 5 % to the 95 % quantile of its prior."""
    # In equal steps of probability, so that each image stands for as many of the prior's draws.
    values: Tensor = torch.special.ndtri(torch.linspace(0.05, 0.95, steps, dtype=torch.float64))
    return values.float()


# --- latent variables -----------------------------------------------------------------------------


class Latent(NamedTuple):
    """A continuous unit or a discrete variable, as figures and tables name it: z3, c0."""

    kind: Literal["z", "c"]
    number: int

    def __str__(self) -> str:
        return f"{self.kind}{self.number}"

    @classmethod
    def parse(cls, name: str | Latent, spec: LatentSpec) -> Latent:
        """Read a name such as "z3" or "c0".

        Raises:
            ArgumentError: it is no such name, or the model has no such variable.
        """
        match = re.fullmatch(r"([zc])([0-9]+)", str(name))
        if match is None:
            raise ArgumentError(
                f"a latent variable is named by its kind and number, such as z3 or c0, got {name!r}"
            )
        index = int(match[2])
        return continuous_unit(index, spec) if match[1] == "z" else discrete_variable(index, spec)

    def values(self, spec: LatentSpec, steps: int) -> tuple[Tensor, list[str]]:
        """The values that the variable runs through, parts of a sample row, and their labels.

        A unit takes ``steps`` values, a discrete variable its first categories, at most ``steps``.
        """
        if self.kind == "z":
            values = unit_values(steps)
            return values[:, None], [decimal(value) for value in values.tolist()]
        size = spec.disc[self.number]
        shown = min(size, steps)
        return torch.eye(shown, size), [str(k) for k in range(shown)]

    def label(self, spec: LatentSpec, steps: int, text: str | None = None) -> str:
        """The variable's name or ``text``, and how many of its categories ``steps`` images show."""
        text = str(self) if text is None else text
        if self.kind == "z" or spec.disc[self.number] <= steps:
            return text
        return f"{text}\nfirst {steps} of {spec.disc[self.number]}"

    def place(self, spec: LatentSpec) -> slice:
        """The variable's place in a sample row."""
        return (
            slice(self.number, self.number + 1)
            if self.kind == "z"
            else spec.categories[self.number]
        )

    def sweep(self, row: Tensor, steps: int, spec: LatentSpec) -> tuple[Tensor, list[str]]:
        """Sample rows (n, L) in which this variable runs and the others stay as in ``row`` (L,)."""
        values, labels = self.values(spec, steps)
        rows = row.repeat(len(values), 1)
        rows[:, self.place(spec)] = values
        return rows, labels


def continuous_unit(index: int, spec: LatentSpec) -> Latent:
    """The continuous unit of this number; ArgumentError if the model has none."""
    _check_index("unit", index, spec.cont, "continuous units")
    return Latent("z", index)


def discrete_variable(index: int, spec: LatentSpec) -> Latent:
    """The discrete variable of this number; ArgumentError if the model has none."""
    _check_index("variable", index, len(spec.disc), "discrete variables")
    return Latent("c", index)


def all_latents(spec: LatentSpec) -> list[Latent]:
    """Every continuous unit, then every discrete variable."""
    return [Latent("z", i) for i in range(spec.cont)] + [
        Latent("c", d) for d in range(len(spec.disc))
    ]


def swept_images(model: JointVAE, latents: Sequence[Latent], steps: int) -> list[Images]:
    """A traversal (n, C, H, W) of each latent variable from :func:`first_categories`."""
    start = first_categories(model.spec)
    return decoded_rows(model, [latent.sweep(start, steps, model.spec)[0] for latent in latents])


def _check_index(name: str, index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        raise ArgumentError(
            f"{name} must be the index of one of the model's {count} {what}, got {index}"
        )
