"""One picture of all that a model has learned: its types, its styles and its reconstructions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastjvae.errors import ArgumentError
from fastjvae.figures.image_grid import Block, image_columns
from fastjvae.figures.labels import (
    Vector,
    check_names,
    checked_shares,
    full_title,
    most_frequent,
    short,
    shown_of,
    vector,
    with_kl,
)
from fastjvae.figures.page import Figure
from fastjvae.figures.reconstructions import pairs_of_rows, spread
from fastjvae.figures.samples import samples_in
from fastjvae.model import JointVAE
from fastjvae.model.given import images_for
from fastjvae.model.latent_moves import (
    Latent,
    all_latents,
    change,
    decode,
    decoded_rows,
    discrete_variable,
    first_categories,
    unit_values,
)

_SAMPLES, _STEPS, _UNITS, _CATEGORIES, _SEED = 6, 8, 5, 10, 0


def overview(
    model: JointVAE,
    images: Any,
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
        images: in any form that :func:`fastjvae.fit` takes: (N, C, H, W), (N, H, W, C) or, grey,
            (N, H, W), uint8 0..255 or floats 0..1, torch or numpy; or PIL images.
            Of them 16 at equal distances are reconstructed.
        kl_cont: (Z,) KL per continuous unit in nats; the five largest are shown.
        variable: number of the discrete variable that is shown, if there is one.
        shares: (K,) share of images in each category, 0..1; with them the ten most frequent of more
            categories are shown, otherwise the first ten.
        names: (K,) what the categories stand for; None of one that stands for nothing.
        title: above the picture.

    Raises:
        ArgumentError: there are no images, or the model takes others; it has no such discrete
            variable, or the number of KLs, shares or names does not fit it.
        DataError: the images have another form.
    """
    images = images_for(model, images)
    if len(images) == 0:
        raise ArgumentError("an overview needs at least one image, got none")
    spec = model.spec
    if spec.disc:
        discrete_variable(variable, spec)
    kl = vector("kl_cont", kl_cont, spec.cont, "one KL in nats per continuous unit")
    strongest = np.argsort(-kl, kind="stable")[:_UNITS].tolist()
    columns: dict[str, list[Block]] = {}
    named: list[str] = []
    if spec.disc:
        size = spec.disc[variable]
        named = _named(size, names)
        share = None if shares is None else checked_shares(shares, size)
        shown = most_frequent(share, size, _CATEGORIES)
        shown.sort(key=lambda k: _place(k, names))
        labels = [named[k] if share is None else f"{named[k]}  {share[k]:.0%}" for k in shown]
        note = full_title(f"types: c{variable}", shown_of(len(shown), size, "categories"))
        columns[note] = [Block(samples_in(model, variable, shown, _SAMPLES, _SEED), labels)]
    right: list[Block] = []
    style = "reconstructions"
    if spec.cont:
        units = [all_latents(spec)[unit] for unit in strongest]
        base, category = _most_moved(model, units, variable)
        rows = decoded_rows(model, [unit.sweep(base, _STEPS, spec)[0] for unit in units])
        _, values = units[0].values(spec, _STEPS)
        of = "" if category is None else f" of {named[category]}"
        style = full_title(f"style{of}", shown_of(len(units), spec.cont, "units"))
        captions = [with_kl(unit, kl[unit.number]) for unit in units]
        right.append(Block(rows, captions, values, "value of the unit"))
    columns[style] = [*right, *pairs_of_rows(model, spread(images, 2 * _STEPS), _STEPS, "image")]
    return image_columns(columns, title or "")


def _named(size: int, names: Sequence[str | None] | None) -> list[str]:
    """What the categories stand for, their number where that is nothing."""
    if names is None:
        names = [None] * size
    check_names(names, size)
    return [f"category {k}" if name is None else short(name) for k, name in enumerate(names)]


def _place(category: int, names: Sequence[str | None] | None) -> tuple[bool, str, int]:
    """Sorts categories by what they stand for, those that stand for nothing last."""
    name = None if names is None else names[category]
    return name is None, name or "", category


def _most_moved(
    model: JointVAE, units: Sequence[Latent], variable: int
) -> tuple[Tensor, int | None]:
    """The row of the prior's mean in the category whose pictures the units change most."""
    spec = model.spec
    base = first_categories(spec)
    if not spec.disc:
        return base, None
    categories = range(spec.disc[variable])
    ends = unit_values(_STEPS)[[0, -1]].tolist()
    rows = [
        change(base[None], spec, {unit.number: end}, {variable: category})
        for end in ends
        for unit in units
        for category in categories
    ]
    pictures = decode(model, torch.cat(rows)).reshape(2, len(units), len(categories), -1)
    moved = np.abs(pictures[1] - pictures[0]).mean(axis=(0, 2))
    category = int(moved.argmax())
    return change(base[None], spec, categories={variable: category})[0], category
