"""Agreement of an unsupervised category with class labels (paper section 4.3)."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastjvae.errors import ArgumentError


def cluster_accuracy(
    assignments: Any, labels: Any, matching: Literal["majority", "one-to-one"] = "majority"
) -> float:
    """Share of items whose category stands for their class.

    >>> cluster_accuracy([0, 0, 1, 1, 2], [7, 7, 7, 3, 3])
    0.8
    >>> cluster_accuracy([0, 0, 1, 1, 2], [7, 7, 7, 3, 3], matching="one-to-one")
    0.6

    Args:
        assignments: (M,) integers, the category of each item, such as the argmax of alpha.
        labels: (M,) integers, the class of each item.
        matching: which class a category stands for. "majority": the most frequent one among its
            items, so several categories may stand for one class (the paper's measure).
            "one-to-one": no two categories for one class, in the best way (Hungarian algorithm).

    Raises:
        ArgumentError: lengths differ, there are no items, or a value is no integer.
    """
    assignments, labels = _integers("assignments", assignments), _integers("labels", labels)
    if assignments.shape != labels.shape or not assignments.size:
        raise ArgumentError(
            "assignments and labels must have one length of at least 1,"
            f" got {assignments.shape} and {labels.shape}"
        )
    categories, rows = np.unique(assignments, return_inverse=True)
    classes, columns = np.unique(labels, return_inverse=True)
    counts = contingency(rows, columns, (len(categories), len(classes)))
    if matching == "majority":
        agreeing = counts.max(axis=1).sum()
    elif matching == "one-to-one":
        from scipy.optimize import linear_sum_assignment

        agreeing = counts[linear_sum_assignment(counts, maximize=True)].sum()
    else:
        raise ArgumentError(f"matching must be 'majority' or 'one-to-one', got {matching!r}")
    return float(agreeing / len(labels))


def contingency(
    assignments: NDArray[np.integer[Any]],
    labels: NDArray[np.integer[Any]],
    shape: tuple[int, int],
) -> NDArray[np.int64]:
    """How many items have each category and label, (categories, labels) of them, counted from 0."""
    counts = np.zeros(shape, dtype=np.int64)
    np.add.at(counts, (assignments, labels), 1)
    return counts


def commonest_labels(
    assignments: NDArray[np.integer[Any]],
    labels: NDArray[np.integer[Any]],
    categories: int,
    names: Sequence[str] | None = None,
) -> list[str | None]:
    """The label that most items of each category have; None of a category without items.

    >>> commonest_labels(np.array([0, 0, 2]), np.array([1, 1, 0]), 3, ["cat", "dog"])
    ['dog', None, 'cat']

    Args:
        assignments: (M,) categories, counted from 0.
        labels: (M,) labels, counted from 0.
        categories: how many there are.
        names: of the labels; by default their numbers.
    """
    names = names or [str(label) for label in range(int(labels.max()) + 1)]
    counts = contingency(assignments, labels, (categories, len(names)))
    return [names[row.argmax()] if row.any() else None for row in counts]


def _integers(name: str, values: Any) -> NDArray[np.integer[Any]]:
    array = np.asarray(values)
    if array.ndim != 1 or not (np.issubdtype(array.dtype, np.integer) or not array.size):
        raise ArgumentError(
            f"{name} must be a vector of integers, got {array.dtype} of shape {array.shape}"
        )
    return array
