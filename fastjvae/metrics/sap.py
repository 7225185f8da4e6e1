"""Separated attribute predictability (Kumar et al. 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastjvae.metrics._classifiers import accuracy, fitted
from fastjvae.metrics._items import Floats, Integers, check_items, random_generator, split_items


def sap_score(
    codes: Any,
    factors: Any,
    *,
    discrete: Any = None,
    kl: Any = None,
    continuous_factors: bool = False,
    num_train: int = 10_000,
    num_test: int = 5_000,
    seed: int = 0,
) -> float:
    """How much better the best unit alone predicts a factor than the second best (SAP).

    >>> import numpy as np
    >>> factors = np.indices((4, 5)).reshape(2, -1).T
    >>> round(sap_score(factors, factors, continuous_factors=True), 6)
    1.0

    Args:
        codes: (M, Z) numbers; a unit predicts by a linear support vector machine, its classes
            weighted equally.
        factors: (M, F) integers, the ground truth; those with a single value are left out.
        discrete: (M, D) integers; a category predicts the class that is most frequent in it, the
            classes weighted equally.
        kl: (Z + D,) nats; units below 0.01 count as constant. None: all count as they are.
        continuous_factors: False: the value of a factor is a class, and the score of a unit its
            accuracy on other items than those it was fitted on. True: the value is a number, and
            the score the share of its variance that the unit explains linearly, or a discrete
            variable by the means of its categories.
        num_train, num_test: items to fit on and to score on, drawn without overlap; of fewer items,
            all in that proportion.
        seed: of the draw.

    Returns:
        The mean over the factors of the gap between the two best scores, from 0 to 1. Where values
        are classes, the second best is at chance at least, so that a perfect code of a factor with
        V values gives 1 - 1 / V. A single unit is compared with a constant one.

    Raises:
        ArgumentError: shapes or types do not fit, a number is not finite, or no factor has two
            values.

    Source: arXiv:1711.00848, section 3; the classifier and the numbers are disentanglement_lib's.
    """
    generator = random_generator(seed)
    items = check_items(codes, factors, discrete, kl)
    train, test = split_items(generator, len(items.codes), num_train, num_test)
    units = [*items.codes.T, *items.discrete.T]
    if len(units) == 1:
        units.append(np.zeros(len(items.codes), dtype=np.int64))
    gaps = []
    for factor, values in zip(items.factors.T, items.values, strict=True):
        if continuous_factors:
            target = values[factor[train]]
            scores = [_explained(unit[train], target) for unit in units]
        else:
            scores = [
                _accuracy(unit[train], factor[train], unit[test], factor[test]) for unit in units
            ]
        second, best = sorted(scores)[-2:]
        gaps.append(best - second)
    return float(np.mean(gaps))


def _accuracy(
    unit: Floats | Integers, classes: Integers, test_unit: Floats | Integers, test_classes: Integers
) -> float:
    if unit.dtype == np.int64:
        return _accuracy_by_category(unit, classes, test_unit.astype(np.int64), test_classes)
    from sklearn.svm import LinearSVC

    # The primal problem of more items than features, whose solver draws nothing at random.
    machine = LinearSVC(C=0.01, class_weight="balanced", dual=False)
    return accuracy(fitted(machine, unit[:, None], classes), test_unit[:, None], test_classes)


def _accuracy_by_category(
    categories: Integers, classes: Integers, test_categories: Integers, test_classes: Integers
) -> float:
    shape = max(categories.max(), test_categories.max()) + 1, max(classes.max(), 0) + 1
    weights = 1.0 / np.bincount(classes)[classes]
    frequency = np.zeros(shape)
    np.add.at(frequency, (categories, classes), weights)
    return float(np.mean(frequency.argmax(axis=1)[test_categories] == test_classes))


def _explained(unit: Floats | Integers, target: Floats) -> float:
    """R^2 of the target given the unit; 0 where one of them is constant."""
    total = ((target - target.mean()) ** 2).sum()
    if unit.dtype == np.int64:
        counts = np.bincount(unit)
        sums = np.bincount(unit, weights=target - target.mean())
        explained = (sums[counts > 0] ** 2 / counts[counts > 0]).sum()
    else:
        centred = unit - unit[0]
        centred = centred - centred.mean()
        size = (centred**2).sum()
        explained = (centred @ (target - target.mean())) ** 2 / size if size else 0.0
    return min(float(explained / total), 1.0) if total else 0.0
