"""scikit-learn's classifiers as the metrics use them: seeded, silent, also with a single class."""

import warnings
from typing import Any

import numpy as np

from fastjvae.metrics._items import Floats, Integers


def fitted(classifier: Any, features: Floats, classes: Integers) -> Any:
    """The classifier, fitted; where there is one class only, one that always answers it.

    Without warnings: a classifier that did not converge is used as it is.
    """
    from sklearn.dummy import DummyClassifier

    if (classes == classes[0]).all():
        classifier = DummyClassifier(strategy="most_frequent")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return classifier.fit(features, classes)


def accuracy(classifier: Any, features: Floats, classes: Integers) -> float:
    """Share of items whose class a fitted classifier names."""
    with np.errstate(all="ignore"):
        return float(np.mean(classifier.predict(features) == classes))


def order_of_columns(features: Floats) -> list[int]:
    """An order that depends on the content of the columns and not on where they stand.

    Solvers add up in the order of the columns, and trees break ties by it.
    """
    return sorted(range(features.shape[1]), key=lambda column: features[:, column].tobytes())
