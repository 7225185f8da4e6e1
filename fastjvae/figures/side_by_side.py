"""The latent variables of several models, side by side (paper fig. 3)."""

from collections.abc import Mapping

from torch import Tensor

from fastjvae.errors import ArgumentError
from fastjvae.figures.image_grid import Block, image_columns
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
from fastjvae.figures.traversals import units_in_order
from fastjvae.model import JointVAE
from fastjvae.model.latent_moves import Latent, Span, all_latents, base_row, swept_images


def side_by_side(
    models: Mapping[str, JointVAE],
    *,
    kl: Mapping[str, Vector] | None = None,
    steps: int = 8,
    max_units: int | None = None,
    bases: Mapping[str, Tensor] | None = None,
    span: Span | None = None,
    title: str | None = None,
) -> Figure:
    """The latent variables of several models, a column of traversals for each (paper fig. 3).

    Args:
        models: by the names that stand above the columns; their images may differ in size.
        kl: for each model (Z + D,) the KL of its units and then its discrete variables in nats;
            units are then in decreasing order of it, and otherwise of their effect on the picture,
            see :func:`fastjvae.metrics.effect_on_samples`.
        steps: images per row, at least 2; of a discrete variable the first categories.
        max_units: number of units, and of discrete variables, shown of a model at most; by default
            all.
        bases: for each model the sample row (L,) that holds the other variables; by default the
            continuous units are 0 and discrete variables in the categories from which most is seen,
            which the title has, see :func:`fastjvae.model.latent_moves.telling_categories`.
        span: first and last value of a unit's sweep instead, in standard deviations of its prior,
            in equal steps; the first may be the larger.
        title: above the figure.

    Raises:
        ArgumentError: there is no model, or the KLs or rows are not those of the models; ``span``
            is no range.
    """
    check_counts(steps=steps, max_units=max_units)
    if not models:
        raise ArgumentError("side by side needs at least one model, got none")
    for argument, given in (("kl", kl), ("bases", bases)):
        if given is not None and set(given) != set(models):
            raise ArgumentError(
                f"{argument} must be of the models {', '.join(models)}, got it of"
                f" {', '.join(given) or 'none'}"
            )
    columns = {}
    for name, model in models.items():
        spec = model.spec
        latents = all_latents(spec)
        nats: dict[Latent, float] = {}
        if kl is not None:
            meaning = f"the KL in nats of each unit and discrete variable of {name}"
            values = vector("kl", kl[name], len(latents), meaning)
            nats = dict(zip(latents, values, strict=True))
        units = units_in_order(model, None if kl is None else values[: spec.cont])
        shown = [*units[:max_units], *latents[spec.cont :][:max_units]]
        row = base_row(model, None if bases is None else bases[name])
        labels = [each.label(spec, steps, with_kl(each, nats.get(each))) for each in shown]
        notes = shown_of(len(shown), len(latents), "latent variables")
        if bases is None:
            notes += note_on_start(spec, row, [{latent} for latent in shown])
        images = swept_images(model, shown, steps, row, span)
        columns[full_title(name, notes)] = [Block(images, labels)]
    return image_columns(columns, title or "")
