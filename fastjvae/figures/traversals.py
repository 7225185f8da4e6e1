"""Traversals of every latent variable of a model, a row for each (paper fig. 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from fastjvae.figures.image_grid import Block, image_grid
from fastjvae.figures.labels import Vector, check_count, full_title, shown_of, vector, with_kl
from fastjvae.model import JointVAE
from fastjvae.model.latent_moves import Latent, base_row, decoded_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def traversals(
    model: JointVAE,
    kl_cont: Vector,
    *,
    kl_disc: Vector | None = None,
    steps: int = 10,
    base: Tensor | None = None,
    title: str | None = None,
    max_units: int = 10,
) -> Figure:
    """One latent variable changes along each row, all others stay (paper fig. 3).

    Continuous units come first, by decreasing KL, each swept from the 5 % to the 95 % quantile of
    its prior in equal steps of probability. Then each discrete variable runs through its
    categories, the first ``steps`` of them where it has more.

    Args:
        model: any JointVAE of grey or RGB images.
        kl_cont: (Z,) KL per continuous unit in nats, empty for a model without.
        kl_disc: (D,) KL per discrete variable in nats, to show beside the rows.
        steps: images per row, at least 2.
        base: (L,) sample row that holds the other variables; by default the continuous units are 0
            and every discrete variable is in its first category.
        title: above the figure.
        max_units: number of units, and of discrete variables, that are shown at most.

    Raises:
        ArgumentError: the number of KLs or the length of ``base`` does not fit the model.
    """
    spec = model.spec
    check_count("steps", steps, least=2)
    check_count("max_units", max_units, least=1)
    kl_z = vector("kl_cont", kl_cont, spec.cont, "one KL in nats per continuous unit")
    variables = [f"c{d}" for d in range(len(spec.disc))]
    if kl_disc is not None:
        kl_c = vector("kl_disc", kl_disc, len(spec.disc), "one KL in nats per discrete variable")
        variables = [with_kl(name, kl) for name, kl in zip(variables, kl_c, strict=True)]
    row = base_row(spec, base)
    units = np.argsort(-kl_z, kind="stable")[:max_units].tolist()
    variables = variables[:max_units]
    blocks = []
    if units:
        swept = [Latent("z", unit).sweep(row, steps, spec) for unit in units]
        labels = [with_kl(f"z{unit}", kl_z[unit]) for unit in units]
        images = decoded_rows(model, [rows for rows, _ in swept])
        blocks.append(Block(images, labels, swept[0][1], "value of the unit"))
    if variables:
        blocks.append(_category_block(model, row, variables, steps))
    notes = shown_of(len(units), spec.cont, "units")
    notes += shown_of(len(variables), len(spec.disc), "discrete variables")
    return image_grid(blocks, full_title(title, notes))


def _category_block(model: JointVAE, row: Tensor, labels: Sequence[str], steps: int) -> Block:
    spec = model.spec
    variables = [Latent("c", d) for d in range(len(labels))]
    swept = [variable.sweep(row, steps, spec) for variable in variables]
    named = [v.label(spec, steps, text) for v, text in zip(variables, labels, strict=True)]
    longest = max((names for _, names in swept), key=len)
    return Block(decoded_rows(model, [rows for rows, _ in swept]), named, longest, "category")
