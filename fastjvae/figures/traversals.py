"""Traversals of every latent variable of a model, a row for each (paper fig. 3)."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fastjvae.figures.image_grid import Block, image_grid
from fastjvae.figures.labels import (
    Vector,
    check_counts,
    full_title,
    note_on_start,
    shown_of,
    vector,
    with_kl,
)
from fastjvae.figures.page import Figure
from fastjvae.metrics.effect import effect_on_samples
from fastjvae.model import JointVAE
from fastjvae.model.latent_moves import Latent, Span, all_latents, base_row, decoded_rows


def traversals(
    model: JointVAE,
    kl_cont: Vector | None = None,
    *,
    kl_disc: Vector | None = None,
    steps: int = 10,
    base: Tensor | None = None,
    span: Span | None = None,
    title: str | None = None,
    max_units: int | None = None,
) -> Figure:
    """One latent variable changes along each row, all others stay (paper fig. 3).

    Continuous units come first, by decreasing KL or by their effect on the picture, each swept from
    the 5 % to the 95 % quantile of its prior in equal steps of probability. Then each discrete
    variable runs through its categories, the first ``steps`` of them where it has more.

    Args:
        model: any JointVAE of grey or RGB images.
        kl_cont: (Z,) KL per continuous unit in nats, empty for a model without. Where it is not
            known the units are ordered by :func:`fastjvae.metrics.effect_on_samples`.
        kl_disc: (D,) KL per discrete variable in nats, to show beside the rows.
        steps: images per row, at least 2.
        base: (L,) sample row that holds the other variables; by default the continuous units are 0
            and discrete variables in the categories from which most is seen, which the title has,
            see :func:`fastjvae.model.latent_moves.telling_categories`.
        span: first and last value of a unit's sweep instead, in standard deviations of its prior,
            in equal steps; the first may be the larger.
        title: above the figure.
        max_units: number of units, and of discrete variables, that are shown at most; by default
            all.

    Raises:
        ArgumentError: the number of KLs or the length of ``base`` does not fit the model; ``span``
            is no range.
    """
    spec = model.spec
    check_counts(steps=steps, max_units=max_units)
    units, variables = all_latents(spec)[: spec.cont], all_latents(spec)[spec.cont :]
    nats: dict[Latent, float] = {}
    kl_z = None
    if kl_cont is not None:
        kl_z = vector("kl_cont", kl_cont, spec.cont, "one KL in nats per continuous unit")
        nats |= zip(units, kl_z, strict=True)
    if kl_disc is not None:
        kl_c = vector("kl_disc", kl_disc, len(spec.disc), "one KL in nats per discrete variable")
        nats |= zip(variables, kl_c, strict=True)
    units = units_in_order(model, kl_z)
    row = base_row(model, base)
    blocks, notes = [], []
    for latents, axis, what in (
        (units, "value of the unit", "units"),
        (variables, "category", "discrete variables"),
    ):
        shown = latents[:max_units]
        notes += shown_of(len(shown), len(latents), what)
        if shown:
            swept = [latent.sweep(row, steps, spec, span) for latent in shown]
            labels = [each.label(spec, steps, with_kl(each, nats.get(each))) for each in shown]
            longest = max((values for _, values in swept), key=len)
            images = decoded_rows(model, [rows for rows, _ in swept])
            blocks.append(Block(images, labels, longest, axis))
    if base is None:
        shown = [*units[:max_units], *variables[:max_units]]
        notes += note_on_start(spec, row, [{latent} for latent in shown])
    return image_grid(blocks, full_title(title, notes))


def units_in_order(model: JointVAE, kl_cont: NDArray[np.float64] | None) -> list[Latent]:
    """Continuous units by decreasing KL (Z,), where there is none by their effect on the picture.

    A unit whose number is NaN comes last.
    """
    units = all_latents(model.spec)[: model.spec.cont]
    weights = np.asarray(effect_on_samples(model).cont if kl_cont is None else kl_cont)
    return [units[i] for i in np.argsort(-weights, kind="stable")]
