"""Moves in latent space: sample rows of images or of the prior, changed and swept, and decoded."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

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
from fastjvae.model.given import images_for
from fastjvae.model.jointvae import JointVAE

Images = NDArray[np.float32]  # (n, C, H, W) in [0, 1]
Span = tuple[float, float]  # first and last value of a unit's sweep, deviations of its prior

_DECODED_AT_ONCE = 256
_TRIED = 16  # categories, each by two pictures of every unit


# --- the model ------------------------------------------------------------------------------------


def decode(model: JointVAE, sample: Tensor) -> Images:
    """Sample rows (n, L) of any device and dtype -> pictures (n, C, H, W), whatever the range."""
    rows = sample.to(model.device, model.dtype)
    with evaluating(model):
        logits = [model.decode_logits(some) for some in torch.split(rows, _DECODED_AT_ONCE)]
    images = [model.pictures(some).contiguous().float().cpu() for some in logits]
    return torch.cat(images).numpy()


def decoded_rows(model: JointVAE, rows: Sequence[Tensor]) -> list[Images]:
    """Decode rows of sample rows, not all of one length, in few calls of the decoder."""
    images = decode(model, torch.cat(list(rows)))
    ends = torch.tensor([len(row) for row in rows]).cumsum(0).tolist()
    return [images[end - len(row) : end] for row, end in zip(rows, ends, strict=True)]


# --- sample rows ----------------------------------------------------------------------------------


def encode_row(model: JointVAE, images: Any) -> Tensor:
    """Sample rows (N, L) of images, of means and one-hot categories; float32 on the CPU.

    Args:
        images: in any form that :func:`fastjvae.model.given.images_for` takes.
    """
    taken = images_for(model, images)
    with evaluating(model):
        params = model.encode_params(taken.to(model.device))
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


def telling_categories(model: JointVAE, given: Mapping[int, int] | None = None) -> Tensor:
    """The sample row (L,) of zeros in the categories from which a traversal shows most.

    A category's pictures are to be clear and to change: the contrast of its picture with all units
    at 0, their prior's mean, times the change of its pixels from one end of a unit's sweep to the
    other, mean over the units. Pixels p of mean m have the contrast var(p) / (m (1 - m)), which is
    1 where each is black or white and 0 where all are the same grey; how much of the picture is
    bright does not matter. A category that stands for several things, or for none, decodes to a
    blur; one that is simple, as a 1 among digits, is clear and shows little of its style.

    Args:
        model: used in evaluation mode; its own mode is restored.
        given: the categories of some variables. The others are chosen one after the other, each
            among the 16 clearest of its first 256 categories.

    Raises:
        ArgumentError: the model has no such variable or category.
    """
    spec, given = model.spec, given or {}
    row = change(first_categories(spec)[None], spec, categories=given)[0]
    for variable in range(len(spec.disc)):
        if variable not in given:
            rows, _ = Latent("c", variable).sweep(row, _DECODED_AT_ONCE, spec)
            contrast = _contrast(decode(model, rows))
            tried = sorted(np.argsort(-contrast, kind="stable")[:_TRIED].tolist())
            row = rows[max(tried, key=lambda k: contrast[k] * _moved(model, rows[k]))]
    return row


def _moved(model: JointVAE, row: Tensor) -> float:
    """The change of a pixel from end to end of a unit's sweep, mean over both; 1 without units."""
    spec = model.spec
    if not spec.cont:
        return 1.0
    ends = unit_values(2).tolist()
    rows = [change(row[None], spec, {unit: end}) for end in ends for unit in range(spec.cont)]
    first, last = np.split(decode(model, torch.cat(rows)), 2)
    return float(np.nan_to_num(np.abs(last - first).mean()))


def _contrast(images: Images) -> NDArray[np.float64]:
    """var(p) / (m (1 - m)) of each image (n, C, H, W), 0 where that is no number."""
    pixels = images.reshape(len(images), -1).astype(np.float64)
    mean = pixels.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        contrast: NDArray[np.float64] = pixels.var(axis=1) / (mean * (1 - mean))
    return np.nan_to_num(contrast, posinf=0, neginf=0)


def base_row(model: JointVAE, base: Tensor | None) -> Tensor:
    """The sample row (L,) that a figure starts from, by default :func:`telling_categories`."""
    spec = model.spec
    row = telling_categories(model) if base is None else base.detach().float().cpu()
    if row.shape != (spec.sample_dim,):
        raise ArgumentError(
            f"base must be one sample row of shape ({spec.sample_dim},), got {tuple(row.shape)}"
        )
    return row


def prior_sample(spec: LatentSpec, n: int, seed: int) -> Tensor:
    """Sample rows (n, L): normal, uniform one-hot; the same on every device."""
    return noise.prior_sample(spec, n, torch.Generator().manual_seed(seed))


def unit_values(steps: int, span: Span | None = None) -> Tensor:
    """Values (steps,) of a unit from the 5 % to the 95 % quantile of its prior.

    Args:
        steps: number of them.
        span: the first and the last instead, between which the steps are equal; the first may be
            the larger.

    Raises:
        ArgumentError: the first and the last are the same, or one is not finite.
    """
    if span is not None:
        first, last = span
        if not (math.isfinite(first) and math.isfinite(last) and first != last):
            raise ArgumentError(
                "the range of a unit is two different numbers, in standard deviations of its"
                f" prior, got {first:g} and {last:g}"
            )
        return torch.linspace(first, last, steps)
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

    def values(
        self, spec: LatentSpec, steps: int, span: Span | None = None
    ) -> tuple[Tensor, list[str]]:
        """The values that the variable runs through, parts of a sample row, and their labels.

        A unit takes ``steps`` values, see :func:`unit_values`, a discrete variable its first
        categories, at most ``steps``.
        """
        if self.kind == "z":
            values = unit_values(steps, span)
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

    def sweep(
        self, row: Tensor, steps: int, spec: LatentSpec, span: Span | None = None
    ) -> tuple[Tensor, list[str]]:
        """Sample rows (n, L) in which this variable runs and the others stay as in ``row`` (L,)."""
        values, labels = self.values(spec, steps, span)
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


def swept_images(
    model: JointVAE, latents: Sequence[Latent], steps: int, row: Tensor, span: Span | None = None
) -> list[Images]:
    """A traversal (n, C, H, W) of each latent variable from the sample row (L,)."""
    spec = model.spec
    return decoded_rows(model, [each.sweep(row, steps, spec, span)[0] for each in latents])


def _check_index(name: str, index: int, count: int, what: str) -> None:
    if not 0 <= index < count:
        raise ArgumentError(
            f"{name} must be the index of one of the model's {count} {what}, got {index}"
        )
