"""A picture of a model's categories: where label types have fused, and where they are split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastjvae import JointVAE, figures
from fastjvae.data import ImageData
from fastjvae.metrics.clusters import contingency
from fastjvae.model.encoding import encode

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROWS, _COLUMNS, _SAMPLES = 20, 10, 80  # at most, for a picture below 200 kB
_TOLD = 0.1  # share of a category from which a label is named


def category_contents(model: JointVAE, data: ImageData, *, title: str) -> Figure:
    """Samples of each category, named by the labels of the images for which it is most probable.

    Args:
        model: with a discrete variable, whose first one is looked at.
        data: images with labels and their names.
        title: above the figure.
    """
    assert data.labels is not None
    assert data.label_names is not None
    assignments = encode(model, data.images).discrete[:, 0]
    shape = (model.spec.disc[0], len(data.label_names))
    counts = contingency(assignments, data.labels.numpy(), shape)
    return figures.samples_by_category(
        model,
        samples=min(_COLUMNS, _SAMPLES // min(_ROWS, len(counts))),
        max_categories=_ROWS,
        shares=counts.sum(axis=1) / counts.sum(),
        names=[named(row, data.label_names) for row in counts],
        title=title,
    )


def named(counts: NDArray[np.int64], label_names: Sequence[str]) -> str:
    """The labels that a category is made of, the commonest first, each with its share of it.

    Args:
        counts: (L,) of the category's images by label.
        label_names: (L,) the labels' names.
    """
    if counts.sum() == 0:
        return "no image"
    shares = counts / counts.sum()
    order = np.argsort(-shares, kind="stable")
    told = [i for place, i in enumerate(order) if place == 0 or shares[i] >= _TOLD]
    return ", ".join(f"{label_names[i]} ({shares[i]:.0%})" for i in told)
