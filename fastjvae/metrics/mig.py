"""Mutual information gap (Chen et al. 2018)."""

from typing import Any

import numpy as np

from fastjvae.metrics._items import (
    Floats,
    Integers,
    Items,
    at_least_0,
    check_at_least,
    check_items,
    random_generator,
)

# A table of counts up to this size, 128 MiB, is quicker than sorting the pairs.
_LARGEST_TABLE = 2**24


def mutual_information_gap(
    codes: Any,
    factors: Any,
    *,
    discrete: Any = None,
    kl: Any = None,
    bins: int = 20,
    num_train: int | None = None,
    seed: int = 0,
) -> float:
    """How much more the best unit tells about a factor than the second best (MIG).

    The gap of their mutual informations with the factor, divided by the factor's entropy; the mean
    over all factors that have more than one value::

        MIG = mean_f (I(best unit; f) - I(second best unit; f)) / H(f)

    >>> import numpy as np
    >>> factors = np.indices((2, 2)).reshape(2, -1).T
    >>> mutual_information_gap(factors, factors)
    1.0
    >>> both, first = factors @ [1, 2], factors[:, 0]  # two units tell factor 0, one tells factor 1
    >>> mutual_information_gap(np.stack([both, first], axis=1), factors)
    0.5

    Args:
        codes: (M, Z) numbers; each unit is cut into ``bins`` of one width from its least to its
            largest value.
        factors: (M, F) integers, the ground truth.
        discrete: (M, D) integers; a category is a bin of its own.
        kl: (Z + D,) nats; units below 0.01 count as constant. The binned mean of a unit that varies
            by a thousandth tells as much as one that varies by 1; the prior's noise would hide it.
        bins: of a continuous unit.
        num_train: items drawn at random, with replacement; None: all items, without a random draw.
            disentanglement_lib draws 10,000.
        seed: of the draw.

    Returns:
        From 0 to 1. A single unit is compared with one that tells nothing.

    Raises:
        ArgumentError: shapes or types do not fit, a number is not finite, or no factor has two
            values.

    Source: arXiv:1802.04942, equation 6, with the bins of disentanglement_lib.
    """
    items = check_items(codes, factors, discrete, kl)
    return mig_of_items(items, bins, num_train, seed)


def mig_of_items(
    items: Items, bins: int = 20, num_train: int | None = None, seed: int = 0
) -> float:
    """:func:`mutual_information_gap` of checked items."""
    check_at_least("bins", bins, 1)
    generator = random_generator(seed)
    items = items.pruned()
    chosen: slice | Integers = slice(None)
    if num_train is not None:
        check_at_least("num_train", num_train, 1)
        chosen = generator.integers(len(items.codes), size=num_train)
    units = [_binned(unit[chosen], bins) for unit in items.codes.T]
    units += [variable[chosen] for variable in items.discrete.T]
    gaps = []
    for factor in items.factors[chosen].T:
        entropy = _mutual_information(factor, factor)
        told = sorted(_mutual_information(unit, factor) for unit in units)
        second = told[-2] if len(told) > 1 else 0.0
        gaps.append((told[-1] - second) / entropy if entropy else 0.0)  # may be 0 of few draws
    return float(np.mean(gaps))


def _binned(values: Floats, bins: int) -> Integers:
    edges = np.linspace(values.min(), values.max(), bins + 1)
    return np.searchsorted(edges[1:-1], values, side="right").astype(np.int64)


def _mutual_information(first: Integers, second: Integers) -> float:
    """I(first; second) in nats of two vectors of small integers from 0."""
    joint, in_first, in_second = _joint_counts(first, second)
    total = len(first)
    information = joint / total * np.log(joint * (total / (in_first * in_second)))
    return at_least_0(information.sum())


def _joint_counts(first: Integers, second: Integers) -> tuple[Floats, Floats, Floats]:
    """The counts of every pair that appears, of its first and of its second number."""
    width = int(second.max()) + 1
    pairs = first * width + second
    if (int(first.max()) + 1) * width <= _LARGEST_TABLE:
        counts = np.bincount(pairs)
        kinds = np.flatnonzero(counts)
        counts = counts[kinds]
    else:
        kinds, counts = np.unique(pairs, return_counts=True)
    in_first, in_second = np.bincount(first), np.bincount(second)
    joint, a, b = counts, in_first[kinds // width], in_second[kinds % width]
    return joint.astype(np.float64), a.astype(np.float64), b.astype(np.float64)
