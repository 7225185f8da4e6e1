"""What a model has learned: reconstructions, traversals, samples (paper fig. 3, 4a, 4b)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from fastjvae import functional
from fastjvae.errors import ArgumentError
from fastjvae.figures.image_grid import Block, Images, image_grid
from fastjvae.figures.labels import Vector, check_count, full_title, part, vector, with_kl
from fastjvae.functional.backends import reference
from fastjvae.model.encoding import evaluating
from fastjvae.model.latent_moves import (
    Latent,
    base_row,
    decode,
    decoded_rows,
    discrete_variable,
    prior_sample,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fastjvae.model import JointVAE

_LONGEST_ROW = 10


def reconstructions(
    model: JointVAE, images: Tensor, *, title: str | None = None, max_images: int = 32
) -> Figure:
    """Images above their reconstructions from means and one-hot categories.

    Args:
        model: used in evaluation mode, as in every figure here; its own mode is restored.
        images: (N, C, H, W), uint8 0..255 or floats 0..1; the first ``max_images`` are shown.
        title: above the figure; remarks such as "32 of 100 images" are added to it.
        max_images: at least 1.

    Raises:
        ArgumentError: there are no images, or they are not of the model's size.
    """
    check_count("max_images", max_images, least=1)
    if len(images) == 0:
        raise ArgumentError("reconstructions need at least one image, got none")
    shown = images[:max_images].to(model.device)
    with evaluating(model):
        sample = functional.latent_sample(
            model.encode_params(shown), model.spec, model.temperature, training=False
        )
    inputs = reference.unit_interval(shown, torch.float32).clamp(0, 1).cpu().numpy()
    outputs = decode(model, sample)
    pairs = math.ceil(len(shown) / _LONGEST_ROW)
    columns = math.ceil(len(shown) / pairs)
    blocks = [
        Block([above, below], ["input", "reconstruction"])
        for above, below in zip(
            _split(inputs, pairs, columns), _split(outputs, pairs, columns), strict=True
        )
    ]
    return image_grid(blocks, full_title(title, part(len(shown), len(images), "images")))


def _split(images: Images, rows: int, columns: int) -> list[Images]:
    return [images[i * columns : (i + 1) * columns] for i in range(rows)]


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
    notes = part(len(units), spec.cont, "units")
    notes += part(len(variables), len(spec.disc), "discrete variables")
    return image_grid(blocks, full_title(title, notes))


def _category_block(model: JointVAE, row: Tensor, labels: Sequence[str], steps: int) -> Block:
    spec = model.spec
    variables = [Latent("c", d) for d in range(len(labels))]
    swept = [variable.sweep(row, steps, spec) for variable in variables]
    named = [v.label(spec, steps, text) for v, text in zip(variables, labels, strict=True)]
    longest = max((names for _, names in swept), key=len)
    return Block(decoded_rows(model, [rows for rows, _ in swept]), named, longest, "category")


def samples_by_category(
    model: JointVAE,
    *,
    variable: int = 0,
    samples: int = 10,
    shares: Vector | None = None,
    names: Sequence[str] | None = None,
    seed: int = 0,
    title: str | None = None,
    max_categories: int = 20,
) -> Figure:
    """Samples of the prior with one discrete variable held in each of its categories (fig. 4a, b).

    The other variables are drawn once per column, so that a column shares its style.

    Args:
        model: a JointVAE with discrete variables, of grey or RGB images.
        variable: index of the discrete variable.
        samples: images per category.
        shares: (K,) share of images in each category, 0..1, shown beside the rows as percent.
        names: (K,) what the categories stand for, such as a class of labels.
        seed: of the draws, which are the same on every device.
        title: above the figure.
        max_categories: number of rows at most. Where there are more categories the first are
            shown, or with ``shares`` the most frequent.

    Raises:
        ArgumentError: the model has no such discrete variable; another number of shares or names.
    """
    spec = model.spec
    discrete_variable(variable, spec)
    check_count("samples", samples, least=1)
    check_count("max_categories", max_categories, least=1)
    size = spec.disc[variable]
    if names is not None and len(names) != size:
        raise ArgumentError(f"names must hold one name per category, {size}, got {len(names)}")
    chosen, labels = list(range(size)), [f"category {k}" for k in range(size)]
    if names is not None:
        labels = [f"{label}: {name}" for label, name in zip(labels, names, strict=True)]
    if shares is not None:
        share = vector("shares", shares, size, "the share of images, 0..1, per category")
        if not ((share >= 0) & (share <= 1)).all():
            raise ArgumentError(
                "shares must lie between 0 and 1,"
                f" got values from {share.min():g} to {share.max():g}"
            )
        chosen = np.argsort(-share, kind="stable").tolist()
        labels = [f"{label}  {p:6.1%}" for label, p in zip(labels, share, strict=True)]
    chosen = sorted(chosen[:max_categories])
    columns = prior_sample(spec, samples, seed)
    sample = columns.repeat(len(chosen), 1, 1)
    sample[:, :, spec.categories[variable]] = one_hot(torch.tensor(chosen), size)[:, None].float()
    block = Block(
        _split(decode(model, sample.flatten(0, 1)), len(chosen), samples),
        [labels[k] for k in chosen],
    )
    order = "most frequent" if shares is not None else "first"
    notes = [f"variable c{variable}"] if len(spec.disc) > 1 else []
    notes += [f"the {order} {note}" for note in part(len(chosen), size, "categories")]
    return image_grid([block], full_title(title, notes))
