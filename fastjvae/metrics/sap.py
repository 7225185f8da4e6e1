"""Separated attribute predictability (Kumar et al. 2018)."""

from typing import Any, Literal

import numpy as np

from fastjvae.errors import ArgumentError
from fastjvae.metrics._classifiers import accuracy, fitted
from fastjvae.metrics._items import (
    Floats,
    Integers,
    Items,
    check_items,
    random_generator,
    split_items,
    unit_score,
)


def sap_score(
    codes: Any,
    factors: Any,
    *,
    discrete: Any = None,
    kl: Any = None,
    classifier: Literal["thresholds", "svm"] = "thresholds",
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
        codes: (M, Z) numbers.
        factors: (M, F) integers, the ground truth; those with a single value are left out.
        discrete: (M, D) integers; a category predicts the class that is most frequent in it, the
            classes weighted equally.
        kl: (Z + D,) nats; units below 0.01 count as constant. None: all count as they are.
        classifier: how a unit of ``codes`` predicts one of V classes. "thresholds": by V - 1
            thresholds on its value (the paper). "svm": by disentanglement_lib's linear support
            vector machine, which cannot tell more than about four values in a row apart, and gives
            the factor itself a low score. Both weight the classes equally.
        continuous_factors: False: the value of a factor is a class, and the score of a unit its
            accuracy on other items than those it was fitted on, the mean over the classes; for
            "svm" over the items. True: the value is a number, and the score the share of its
            variance that the unit explains linearly, or a discrete variable by the means of its
            categories, on ``num_train`` items.
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

    Source: arXiv:1711.00848, section 3; the numbers of items are disentanglement_lib's, whose own
    score is ``classifier="svm"``: numbers of the default do not compare with published ones.
    """
    items = check_items(codes, factors, discrete, kl)
    return sap_of_items(items, classifier, continuous_factors, num_train, num_test, seed)


def sap_of_items(
    items: Items,
    classifier: Literal["thresholds", "svm"] = "thresholds",
    continuous_factors: bool = False,
    num_train: int = 10_000,
    num_test: int = 5_000,
    seed: int = 0,
) -> float:
    """:func:`sap_score` of checked items."""
    if classifier not in ("thresholds", "svm"):
        raise ArgumentError(f"classifier must be 'thresholds' or 'svm', got {classifier!r}")
    generator = random_generator(seed)
    items = items.pruned()
    train, test = split_items(generator, len(items.codes), num_train, num_test)
    if continuous_factors:  # nothing is held out
        train = generator.permutation(len(items.codes))[:num_train]
    variables = [*items.discrete.T]
    if items.units == 1:
        variables.append(np.zeros(len(items.codes), dtype=np.int64))
    gaps = []
    for factor, values in zip(items.factors.T, items.values, strict=True):
        if continuous_factors:
            target = values[factor[train]]
            scores = [_explained(unit[train], target) for unit in items.codes.T]
            scores += [_explained_by_category(each[train], target) for each in variables]
        else:
            given, asked = factor[train], factor[test]
            balanced = classifier == "thresholds"
            machine = _thresholds if balanced else _support_vectors
            scores = [machine(unit[train], given, unit[test], asked) for unit in items.codes.T]
            scores += [
                _by_category(each[train], given, each[test], asked, balanced) for each in variables
            ]
        second, best = sorted(scores)[-2:]
        gaps.append(best - second)
    return float(np.mean(gaps))


def _thresholds(unit: Floats, classes: Integers, test: Floats, test_classes: Integers) -> float:
    from sklearn.tree import DecisionTreeClassifier

    leaves = max(len(np.unique(classes)), 2)
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, class_weight="balanced", random_state=0)
    tree = fitted(tree, unit[:, None], classes)
    return _mean_accuracy(tree.predict(test[:, None]), test_classes, balanced=True)


def _support_vectors(
    unit: Floats, classes: Integers, test: Floats, test_classes: Integers
) -> float:
    from sklearn.svm import LinearSVC

    # The primal problem of more items than features, whose solver draws nothing at random.
    machine = LinearSVC(C=0.01, class_weight="balanced", dual=False)
    return accuracy(fitted(machine, unit[:, None], classes), test[:, None], test_classes)


def _by_category(
    categories: Integers,
    classes: Integers,
    test_categories: Integers,
    test_classes: Integers,
    balanced: bool,
) -> float:
    frequency = np.zeros((max(categories.max(), test_categories.max()) + 1, classes.max() + 1))
    np.add.at(frequency, (categories, classes), 1.0 / np.bincount(classes)[classes])
    return _mean_accuracy(frequency.argmax(axis=1)[test_categories], test_classes, balanced)


def _mean_accuracy(predicted: Integers, classes: Integers, balanced: bool) -> float:
    weights = 1.0 / np.bincount(classes)[classes] if balanced else None
    return float(np.average(predicted == classes, weights=weights))


def _explained(unit: Floats, target: Floats) -> float:
    """R^2 of the target given the unit; 0 where one of them is constant."""
    from_mean = target - target.mean()
    centred = unit - unit[0]  # exactly 0 where all are equal
    centred = centred - centred.mean()
    # By a power of 2, which rounds nothing: the squares of tiny numbers would be 0, or next to it.
    centred = np.ldexp(centred, -int(np.frexp(np.abs(centred).max())[1]))
    total, size = (from_mean**2).sum(), (centred**2).sum()
    if not total or not size:
        return 0.0
    slope = (centred @ from_mean) / size
    return unit_score(float(slope**2 * (size / total)))


def _explained_by_category(categories: Integers, target: Floats) -> float:
    """R^2 of the target given the means of its categories; 0 where it is constant."""
    from_mean = target - target.mean()
    counts = np.bincount(categories)
    sums = np.bincount(categories, weights=from_mean)
    total = (from_mean**2).sum()
    explained = (sums[counts > 0] ** 2 / counts[counts > 0]).sum()
    return unit_score(float(explained / total)) if total else 0.0
