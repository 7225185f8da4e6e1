"""The latent variables of several models, side by side (paper fig. 3)."""

from collections.abc import Mapping

import numpy as np

from fastjvae.errors import ArgumentError
from fastjvae.figures.image_grid import Block, image_columns
from fastjvae.figures.labels import Vector, check_counts, full_title, shown_of, vector, with_kl
from fastjvae.figures.page import Figure
from fastjvae.model import JointVAE
from fastjvae.model.latent_moves import Latent, all_latents, swept_images


def side_by_side(
    models: Mapping[str, JointVAE],
    *,
    kl: Mapping[str, Vector] | None = None,
    steps: int = 8,
    max_units: int = 10,
    title: str | None = None,
) -> Figure:
    """The latent variables of several models, a column of traversals for each (paper fig. 3).

    Args:
        models: by the names that stand above the columns; their images may differ in size.
        kl: for each model (Z + D,) the KL of its units and then its discrete variables in nats;
            units are then in decreasing order of it, and otherwise in their own.
        steps: images per row, at least 2; of a discrete variable the first categories.
        max_units: number of units, and of discrete variables, shown of a model at most.
        title: above the figure.

    Raises:
        ArgumentError: there is no model, or the KLs are not those of the models.
    """
    check_counts(steps=steps, max_units=max_units)
    if not models:
        raise ArgumentError("side by side needs at least one model, got none")
    if kl is not None and set(kl) != set(models):
        raise ArgumentError(
            f"kl must be of the models {', '.join(models)}, got it of {', '.join(kl) or 'none'}"
        )
    columns = {}
    for name, model in models.items():
        spec = model.spec
        latents = all_latents(spec)
        units, variables = latents[: spec.cont], latents[spec.cont :]
        nats: dict[Latent, float] = {}
        if kl is not None:
            meaning = f"the KL in nats of each unit and discrete variable of {name}"
            values = vector("kl", kl[name], len(latents), meaning)
            nats = dict(zip(latents, values, strict=True))
            units = [units[i] for i in np.argsort(-values[: spec.cont], kind="stable")]
        shown = [*units[:max_units], *variables[:max_units]]
        labels = [each.label(spec, steps, with_kl(each, nats.get(each))) for each in shown]
        heading = full_title(name, shown_of(len(shown), len(latents), "latent variables"))
        columns[heading] = [Block(swept_images(model, shown, steps), labels)]
    return image_columns(columns, title or "")
