"""A picture of a model's failures, chosen by rule (figure 9 of the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fastjvae import JointVAE
from fastjvae.data import ImageData
from fastjvae.figures.image_grid import Block, image_grid
from fastjvae.functional import unit_interval
from fastjvae.metrics.clusters import contingency
from fastjvae.model.encoding import encode, evenly_spread
from fastjvae.model.latent_moves import Images, Latent, decoded_rows, first_categories

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 10
_ROWS = 3  # of a unit, one for each category
Integers = NDArray[np.int64]
Floats = NDArray[np.float32]


class Confusion(NamedTuple):
    """Two parts of the images that a model should have put together, or apart."""

    categories: tuple[int, int]
    labels: tuple[int, int]


def failures(model: JointVAE, data: ImageData, *, title: str) -> Figure:
    """A category that mixes labels, a label that is split, a unit that moves them.

    Args:
        model: with a discrete variable, whose first one is looked at, and continuous units.
        data: images with labels.
        title: above the figure.
    """
    assert data.labels is not None
    encoding = encode(model, data.images)
    assignments, labels = encoding.discrete[:, 0], data.labels.numpy()
    counts = contingency(assignments, labels, (model.spec.disc[0], labels.max() + 1))
    blocks = [
        _images(data, assignments, labels, counts, confusion)
        for confusion in (mixed_category(counts), split_label(counts))
    ]
    blocks.append(_unit_that_moves_labels(model, encoding.codes, assignments, labels))
    return image_grid(blocks, title)


def mixed_category(counts: Integers) -> Confusion:
    """The category whose commonest label has the smallest share of it, and its two commonest."""
    category = _most_divided(counts)
    first, second = np.argsort(-counts[category], kind="stable")[:2].tolist()
    return Confusion((category, category), (first, second))


def split_label(counts: Integers) -> Confusion:
    """The label whose commonest category has the smallest share of it, and its two commonest."""
    return Confusion(*reversed(mixed_category(counts.T)))


def _most_divided(counts: Integers) -> int:
    """The row whose largest entry has the smallest share of its sum."""
    totals = counts.sum(axis=1)
    return int(np.where(totals > 0, counts.max(axis=1) / np.maximum(totals, 1), np.inf).argmin())


def _images(
    data: ImageData, assignments: Integers, labels: Integers, counts: Integers, confusion: Confusion
) -> Block:
    rows: list[Images] = []
    names = []
    for category, label in zip(*confusion, strict=True):
        number, inside = counts[category, label], counts[category].sum()
        if number == 0:  # the other one has them all
            continue
        found = torch.from_numpy(np.flatnonzero((assignments == category) & (labels == label)))
        chosen = found[evenly_spread(len(found), _COLUMNS)]
        rows.append(unit_interval(data.images[chosen], torch.float32).numpy())
        name = data.label_names[label] if data.label_names else str(label)
        names.append(
            f"category {category}, label {name}\n{number / inside:.0%} of the category,"
            f" {number / counts[:, label].sum():.0%} of the label"
        )
    return Block(rows, names)


def _unit_that_moves_labels(
    model: JointVAE, codes: Floats, assignments: Integers, labels: Integers
) -> Block:
    """The unit that moves labels most, swept from the categories where it does so most."""
    spec = model.spec
    shifts = label_shifts(codes, assignments, labels, spec.disc[0])  # (Z, K)
    shares = np.bincount(assignments, minlength=spec.disc[0]) / len(assignments)
    unit = int((shifts @ shares).argmax())
    worst = np.argsort(-shifts[unit], kind="stable")[:_ROWS].tolist()
    bases, _ = Latent("c", 0).sweep(first_categories(spec), spec.disc[0], spec)
    moving = Latent("z", unit)
    rows = [moving.sweep(bases[category], _COLUMNS, spec)[0] for category in worst]
    names = [
        f"category {category}, moving z{unit}\nits halves differ in {shifts[unit][category]:.0%}"
        for category in worst
    ]
    _, values = moving.values(spec, _COLUMNS)
    return Block(decoded_rows(model, rows), names, values, f"value of z{unit}")


def label_shifts(
    codes: Floats, assignments: Integers, labels: Integers, categories: int
) -> NDArray[np.float64]:
    """(Z, K) how far a unit moves the labels within a category, 0 to 1.

    It is the total variation distance of the labels of the category's images below and above the
    median of the unit: the share of labels that would have to change to make the halves alike.
    """
    shifts = np.zeros((codes.shape[1], categories))
    for category in range(categories):
        inside = assignments == category
        if inside.sum() < 2:
            continue
        for unit, values in enumerate(codes[inside].T):
            order = np.argsort(values, kind="stable")
            halves = np.array_split(labels[inside][order], 2)
            below, above = (
                np.bincount(half, minlength=labels.max() + 1) / len(half) for half in halves
            )
            shifts[unit, category] = np.abs(below - above).sum() / 2
    return shifts
