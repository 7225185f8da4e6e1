"""Samples of the prior in each category of a discrete variable (paper fig. 4a, b)."""

from collections.abc import Sequence

import torch
from torch.nn.functional import one_hot

from fastjvae.figures.image_grid import Block, image_grid, in_rows, lines_beside
from fastjvae.figures.labels import (
    Vector,
    check_counts,
    check_names,
    checked_shares,
    full_title,
    most_frequent,
    short,
    shown_of,
)
from fastjvae.figures.page import Figure
from fastjvae.model import JointVAE
from fastjvae.model.latent_moves import Images, decode, discrete_variable, prior_sample


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
    check_counts(samples=samples, max_categories=max_categories)
    size = spec.disc[variable]
    if names is not None:
        check_names(names, size)
    labels, share = [f"category {k}" for k in range(size)], None
    if names is not None:
        lines = lines_beside(*model.img_size[1:]) - (shares is not None)
        labels = [short(f"{k}: {name}", lines) for k, name in enumerate(names)]
    if shares is not None:
        share = checked_shares(shares, size)
        labels = [f"{label}\n{p:.1%}" for label, p in zip(labels, share, strict=True)]
    chosen = most_frequent(share, size, max_categories)
    rows = samples_in(model, variable, chosen, samples, seed)
    block = Block(rows, [labels[k] for k in chosen])
    order = "most frequent" if shares is not None else "first"
    notes = [f"variable c{variable}"] if len(spec.disc) > 1 else []
    notes += [f"the {order} {note}" for note in shown_of(len(chosen), size, "categories")]
    return image_grid([block], full_title(title, notes))


def samples_in(
    model: JointVAE, variable: int, categories: Sequence[int], samples: int, seed: int
) -> list[Images]:
    """Samples of the prior in each of these categories; a column shares all other variables."""
    spec = model.spec
    sample = prior_sample(spec, samples, seed).repeat(len(categories), 1, 1)
    chosen = one_hot(torch.tensor(categories), spec.disc[variable])[:, None].float()
    sample[:, :, spec.categories[variable]] = chosen
    return in_rows(decode(model, sample.flatten(0, 1)), samples)
