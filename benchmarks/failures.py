"""What a model has got wrong, chosen by rule and shown (figure 9 of the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastjvae import JointVAE
from fastjvae.data import ImageData
from fastjvae.encoding import encode, evenly_spread
from fastjvae.figures.decoding import Latent, decoded_rows, encode_row, first_categories
from fastjvae.figures.grid import Block, Images, image_grid
from fastjvae.reference import unit_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 10
_ROWS = 3  # of a unit, one for each category
Integers = NDArray[np.int64]


class Confusion(NamedTuple):
    """Two parts of the images that a model should have put together, or apart."""

    categories: tuple[int, int]
    labels: tuple[int, int]


def failures(model: JointVAE, data: ImageData, *, title: str) -> Figure:
    """A category that mixes labels, a label that is split, a unit that changes the category.

    Args:
        model: with a discrete variable, whose first one is looked at, and continuous units.
        data: images with labels.
        title: above the figure.
    """
    assert data.labels is not None
    assignments = encode(model, data.images).discrete[:, 0]
    labels = data.labels.numpy()
    counts = contingency(assignments, labels, model.spec.disc[0])
    blocks = [
        _images(data, assignments, labels, counts, confusion)
        for confusion in (mixed_category(counts), split_label(counts))
    ]
    return image_grid([*blocks, _restless_unit(model)], title)


def contingency(assignments: Integers, labels: Integers, categories: int) -> Integers:
    """(K, classes) numbers of images."""
    counts = np.zeros((categories, labels.max() + 1), dtype=np.int64)
    np.add.at(counts, (assignments, labels), 1)
    return counts


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
        found = torch.from_numpy(np.flatnonzero((assignments == category) & (labels == label)))
        chosen = found[evenly_spread(len(found), _COLUMNS)]
        rows.append(unit_interval(data.images[chosen], torch.float32).numpy())
        number, inside = counts[category, label], counts[category].sum()
        name = data.label_names[label] if data.label_names else str(label)
        names.append(
            f"category {category}, label {name}\n{number / inside:.0%} of the category,"
            f" {number / counts[:, label].sum():.0%} of the label"
        )
    return Block(rows, names)


def _restless_unit(model: JointVAE) -> Block:
    """The unit whose sweeps most often end in another category, from the worst categories."""
    swept = sweeps(model)
    changed = changes(model, swept)  # (Z, K)
    unit = int(changed.sum(axis=1).argmax())
    worst = np.argsort(-changed[unit], kind="stable")[:_ROWS].tolist()
    rows = [swept[unit][category] for category in worst]
    names = [
        f"category {category}, moving z{unit}\nseen as another in {changed[unit][category]}"
        f" of {_COLUMNS}"
        for category in worst
    ]
    _, values = Latent("z", unit).values(model.spec, _COLUMNS)
    return Block(decoded_rows(model, rows), names, values, f"value of z{unit}")


def sweeps(model: JointVAE) -> list[list[Tensor]]:
    """For each unit and each category the sample rows (10, L) in which the unit moves."""
    spec = model.spec
    bases, _ = Latent("c", 0).sweep(first_categories(spec), spec.disc[0], spec)
    return [
        [Latent("z", unit).sweep(base, _COLUMNS, spec)[0] for base in bases]
        for unit in range(spec.cont)
    ]


def changes(model: JointVAE, swept: list[list[Tensor]]) -> Integers:
    """(Z, K) decoded images of each sweep whose most probable category is not the sweep's."""
    categories = model.spec.categories[0]
    counts = []
    for rows in swept:
        images = np.concatenate(decoded_rows(model, rows))
        seen = encode_row(model, torch.from_numpy(images))[:, categories].argmax(dim=1)
        put_in = torch.arange(len(rows)).repeat_interleave(_COLUMNS)
        counts.append((seen != put_in).reshape(len(rows), _COLUMNS).sum(dim=1).numpy())
    return np.stack(counts).astype(np.int64)
