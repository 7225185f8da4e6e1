"""One picture of all that a model has learned: its types, its styles and its reconstructions."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from fastjvae.errors import ArgumentError
from fastjvae.figures.image_grid import Block, image_columns, in_rows, input_images
from fastjvae.figures.labels import Vector, full_title, shown_of, vector, with_kl
from fastjvae.figures.page import Figure
from fastjvae.model import JointVAE
from fastjvae.model.latent_moves import (
    Latent,
    all_latents,
    decode,
    decoded_rows,
    discrete_variable,
    encode_row,
    first_categories,
    prior_sample,
    unit_values,
)

_SAMPLES, _STEPS, _UNITS, _CATEGORIES, _SEED = 6, 8, 5, 10, 0


def overview(
    model: JointVAE,
    images: Tensor,
    kl_cont: Vector,
    *,
    variable: int = 0,
    shares: Vector | None = None,
    names: Sequence[str | None] | None = None,
    title: str | None = None,
) -> Figure:
    """Draw the categories by row, the strongest units by traversal, and reconstructions.

    On the left, each row has samples of the prior in one category, whose continuous units are drawn
    once for each column: rows differ in type, columns in style. On the right, each row sweeps a
    unit from the 5 % to the 95 % quantile of its prior. All sweeps are of the category whose
    pictures the units change most. Below stand images above their reconstructions.

    Args:
        model: a JointVAE of grey or RGB images.
        images: (N, C, H, W), uint8 0..255 or floats 0..1, of which the first are reconstructed.
        kl_cont: (Z,) KL per continuous unit in nats; the five largest are shown.
        variable: number of the discrete variable that is shown, if there is one.
        shares: (K,) share of images in each category, 0..1; with them the ten most frequent of more
            categories are shown, otherwise the first ten.
        names: (K,) what the categories stand for; None of one that stands for nothing.
        title: above the picture.

    Raises:
        ArgumentError: there are no images, the model has no such discrete variable, or the number
            of KLs, shares or names does not fit it.
    """
    if len(images) == 0:
        raise ArgumentError("an overview needs at least one image, got none")
    spec = model.spec
    if spec.disc:
        discrete_variable(variable, spec)
    kl = vector("kl_cont", kl_cont, spec.cont, "one KL in nats per continuous unit")
    strongest = np.argsort(-kl, kind="stable")[:_UNITS].tolist()
    columns: dict[str, list[Block]] = {}
    if spec.disc:
        size = spec.disc[variable]
        labels = _labels(size, names, shares)
        shown = sorted(_most_frequent(size, shares), key=lambda k: _place(k, names))
        note = full_title(f"types: c{variable}", shown_of(len(shown), size, "categories"))
        rows = _samples(model, variable, shown)
        columns[note] = [Block(rows, [labels[k] for k in shown])]
    right: list[Block] = []
    style = "reconstructions"
    if spec.cont:
        units = [all_latents(spec)[unit] for unit in strongest]
        base, category = _most_moved(model, units, variable)
        rows = decoded_rows(model, [unit.sweep(base, _STEPS, spec)[0] for unit in units])
        _, values = units[0].values(spec, _STEPS)
        of = "" if category is None else f" of {_labels(size, names, None)[category]}"
        style = full_title(f"style{of}", shown_of(len(units), spec.cont, "units"))
        captions = [with_kl(unit, kl[unit.number]) for unit in units]
        right.append(Block(rows, captions, values, "value of the unit"))
    columns[style] = [*right, *_reconstructions(model, images)]
    return image_columns(columns, title or "")


def _labels(size: int, names: Sequence[str | None] | None, shares: Vector | None) -> list[str]:
    labels = [f"category {k}" for k in range(size)]
    if names is not None:
        if len(names) != size:
            raise ArgumentError(f"names must hold one name per category, {size}, got {len(names)}")
        labels = [label if n is None else n for label, n in zip(labels, names, strict=True)]
    if shares is not None:
        share = vector("shares", shares, size, "the share of images, 0..1, per category")
        labels = [f"{label}  {p:.0%}" for label, p in zip(labels, share, strict=True)]
    return labels


def _most_frequent(size: int, shares: Vector | None) -> list[int]:
    order = list(range(size))
    if shares is not None:
        share = vector("shares", shares, size, "the share of images, 0..1, per category")
        order = np.argsort(-share, kind="stable").tolist()
    return order[:_CATEGORIES]


def _place(category: int, names: Sequence[str | None] | None) -> tuple[bool, str, int]:
    """Sorts categories by what they stand for, those that stand for nothing last."""
    name = None if names is None else names[category]
    return name is None, name or "", category


def _samples(model: JointVAE, variable: int, categories: Sequence[int]) -> list[np.ndarray]:
    spec = model.spec
    sample = prior_sample(spec, _SAMPLES, _SEED).repeat(len(categories), 1, 1)
    chosen = one_hot(torch.tensor(categories), spec.disc[variable])[:, None].float()
    sample[:, :, spec.categories[variable]] = chosen
    return in_rows(decode(model, sample.flatten(0, 1)), _SAMPLES)


def _most_moved(
    model: JointVAE, units: Sequence[Latent], variable: int
) -> tuple[Tensor, int | None]:
    """The row of the prior's mean in the category whose pictures the units change most."""
    spec = model.spec
    base = first_categories(spec)
    if not spec.disc:
        return base, None
    place = spec.categories[variable]
    bases = base.repeat(spec.disc[variable], 1)
    bases[:, place] = torch.eye(spec.disc[variable])
    ends = unit_values(_STEPS)[[0, -1]]
    moved = bases.repeat(len(units), 2, 1, 1)  # unit, end, category, L
    for number, unit in enumerate(units):
        moved[number, ..., unit.place(spec)] = ends[:, None, None]
    pictures = decode(model, moved.flatten(0, 2)).reshape(len(units), 2, len(bases), -1)
    change = np.abs(pictures[:, 1] - pictures[:, 0]).mean(axis=(0, 2))
    category = int(change.argmax())
    return bases[category], category


def _reconstructions(model: JointVAE, images: Tensor) -> list[Block]:
    shown = images[: 2 * _STEPS]
    pairs = zip(
        in_rows(input_images(shown), _STEPS),
        in_rows(decode(model, encode_row(model, shown)), _STEPS),
        strict=True,
    )
    return [Block(pair, ["image", "reconstruction"]) for pair in pairs]
