"""Disentanglement, completeness and informativeness (Eastwood & Williams 2018)."""

from typing import Any, NamedTuple

import numpy as np

from fastjvae.metrics._classifiers import accuracy, fitted, order_of_columns
from fastjvae.metrics._items import (
    Floats,
    Integers,
    Items,
    check_items,
    random_generator,
    split_items,
    unit_score,
)


class DCI(NamedTuple):
    """The three scores, each from 0 to 1."""

    disentanglement: float  # each unit matters for one factor only
    completeness: float  # each factor is told by one unit only
    informativeness: float  # accuracy of the trees on items they were not fitted on
    informativeness_train: float  # and on those that they were fitted on


def dci(
    codes: Any,
    factors: Any,
    *,
    discrete: Any = None,
    kl: Any = None,
    num_train: int = 10_000,
    num_test: int = 5_000,
    seed: int = 0,
) -> DCI:
    """Which units matter how much for predicting each factor by gradient boosted trees.

    For every factor, scikit-learn's ``GradientBoostingClassifier`` as it comes predicts its value
    from all units; R (Z + D, F) are the importances of the units for it. A row of R that is spread
    over several factors is a unit that mixes them, a column that is spread over several units a
    factor that is scattered: one minus the entropy to the base of their number, in the mean
    weighted by the sums of the rows or of the columns.

    The run time grows with ``num_train``, with the number of units, where a discrete variable
    counts once per category, and with the values of all factors together, for each of which 100
    trees are grown; it does not grow with the number of items.

    >>> import numpy as np
    >>> factors = np.indices((3, 4)).reshape(2, -1).T.repeat(20, axis=0)
    >>> [round(score, 2) for score in dci(factors, factors)]
    [1.0, 1.0, 1.0, 1.0]

    Args:
        codes: (M, Z) numbers.
        factors: (M, F) integers, the ground truth; those with a single value are left out.
        discrete: (M, D) integers; the trees see the categories one by one, the importances of one
            variable are added up.
        kl: (Z + D,) nats; units below 0.01 count as constant. None: all count as they are.
        num_train, num_test: items to fit on and to test on, drawn without overlap; of fewer items,
            all in that proportion.
        seed: of the draw and of the trees.

    Returns:
        :class:`DCI`; disentanglement and completeness are 0 where no unit matters at all.

    Raises:
        ArgumentError: shapes or types do not fit, a number is not finite, or no factor has two
            values.

    Source: Eastwood & Williams, ICLR 2018, section 2, with the trees of disentanglement_lib. That
    draws its test items anew from all combinations of the factors, so that some of them have been
    fitted on; here none has, and informativeness is the lower for it on small grids.
    """
    items = check_items(codes, factors, discrete, kl)
    return dci_of_items(items, num_train, num_test, seed)


def dci_of_items(
    items: Items, num_train: int = 10_000, num_test: int = 5_000, seed: int = 0
) -> DCI:
    """:func:`dci` of checked items."""
    from sklearn.ensemble import GradientBoostingClassifier

    generator = random_generator(seed)
    items = items.pruned()
    train, test = split_items(generator, len(items.codes), num_train, num_test)
    features, owners = _features(items, np.concatenate([train, test]))
    columns = order_of_columns(features)
    features, owners = features[:, columns], owners[columns]
    fit, other = features[: len(train)], features[len(train) :]
    trees_seed = int(generator.integers(2**31))
    importances, known, told = [], [], []
    for factor in items.factors.T:
        trees = fitted(GradientBoostingClassifier(random_state=trees_seed), fit, factor[train])
        importance = getattr(trees, "feature_importances_", np.zeros(len(owners)))
        sums = np.zeros(items.units)
        np.add.at(sums, owners, importance)
        importances.append(sums)
        known.append(accuracy(trees, fit, factor[train]))
        told.append(accuracy(trees, other, factor[test]))
    matrix = np.stack(importances, axis=1)
    return DCI(
        concentration(matrix), concentration(matrix.T), float(np.mean(told)), float(np.mean(known))
    )


def concentration(importance: Floats) -> float:
    """One minus the entropy of the rows (rows, n) to the base n, weighted by their sums.

    1: each row has one entry that is not 0; 0: all entries of a row are alike, or all are 0. An
    entry below 0, as scikit-learn's importances can be by a rounding, is 0.

    >>> [round(concentration(each), 9) for each in (np.eye(3), np.ones((3, 3)), np.zeros((3, 3)))]
    [1.0, 0.0, 0.0]
    """
    from scipy.special import entr

    importance = np.maximum(importance, 0.0)
    sums = importance.sum(axis=1)
    counting = ~(sums <= 0)  # what is not finite counts, and shows
    rows = importance[counting] / sums[counting, None]
    if not len(rows):
        return 0.0
    entropy = entr(rows).sum(axis=1) / np.log(max(importance.shape[1], 2))
    return unit_score(float(np.average(1.0 - entropy, weights=sums[counting])))


def _features(items: Items, chosen: Integers) -> tuple[Floats, Integers]:
    """Columns (n, Z + sum K) of the chosen items, categories one-hot, and the unit of each."""
    columns = [items.codes[chosen]]
    owners = [*range(items.codes.shape[1])]
    for number, variable in enumerate(items.discrete[chosen].T):
        categories = np.unique(variable)
        columns.append((variable[:, None] == categories).astype(np.float64))
        owners += [items.codes.shape[1] + number] * len(categories)
    return np.concatenate(columns, axis=1), np.array(owners)
