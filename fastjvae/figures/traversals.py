"""Traversals of every latent variable of a model, a row for each (paper fig. 3)."""

import numpy as np
from torch import Tensor

from fastjvae.figures.image_grid import Block, image_grid
from fastjvae.figures.labels import Vector, check_counts, full_title, shown_of, vector, with_kl
from fastjvae.figures.page import Figure
from fastjvae.model import JointVAE
from fastjvae.model.latent_moves import all_latents, base_row, decoded_rows


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
    check_counts(steps=steps, max_units=max_units)
    units, variables = all_latents(spec)[: spec.cont], all_latents(spec)[spec.cont :]
    kl_z = vector("kl_cont", kl_cont, spec.cont, "one KL in nats per continuous unit")
    nats = dict(zip(units, kl_z, strict=True))
    if kl_disc is not None:
        kl_c = vector("kl_disc", kl_disc, len(spec.disc), "one KL in nats per discrete variable")
        nats |= zip(variables, kl_c, strict=True)
    units = [units[i] for i in np.argsort(-kl_z, kind="stable")]
    row = base_row(spec, base)
    blocks, notes = [], []
    for latents, axis, what in (
        (units, "value of the unit", "units"),
        (variables, "category", "discrete variables"),
    ):
        shown = latents[:max_units]
        notes += shown_of(len(shown), len(latents), what)
        if shown:
            swept = [latent.sweep(row, steps, spec) for latent in shown]
            labels = [each.label(spec, steps, with_kl(each, nats.get(each))) for each in shown]
            longest = max((values for _, values in swept), key=len)
            images = decoded_rows(model, [rows for rows, _ in swept])
            blocks.append(Block(images, labels, longest, axis))
    return image_grid(blocks, full_title(title, notes))
