"""The disentanglement metric of the beta-VAE paper (Higgins et al. 2017)."""

from typing import Any

import numpy as np

from fastjvae.metrics._classifiers import accuracy, fitted, order_of_columns
from fastjvae.metrics._items import (
    Floats,
    Integers,
    Items,
    check_at_least,
    check_items,
    random_generator,
)
from fastjvae.metrics._votes import ItemsByValue, chunks


def beta_vae_score(
    codes: Any,
    factors: Any,
    *,
    discrete: Any = None,
    kl: Any = None,
    observations: int = 64,
    num_train: int = 10_000,
    num_test: int = 5_000,
    seed: int = 0,
) -> float:
    """Accuracy of a linear classifier that names the factor in which pairs of items agree.

    For a vote, one factor is drawn and then pairs of items that share a value of it, each pair its
    own value. The classifier sees the mean absolute difference of the two codes in each unit.

    >>> import numpy as np
    >>> factors = np.indices((3, 4, 5)).reshape(3, -1).T
    >>> beta_vae_score(factors, factors, num_train=300, num_test=100)
    1.0

    Args:
        codes, factors, discrete: as of :func:`fastjvae.metrics.factor_vae_score`. The difference of
            a discrete variable in a pair is 0 or 1.
        kl: (Z + D,) nats; units below 0.01 count as constant. None: all count as they are.
        observations: pairs in a vote.
        num_train, num_test: votes to fit the classifier on, and to score it on.
        seed: of all draws.

    Returns:
        From 0 to 1; chance is 1 / F.

    Raises:
        ArgumentError: as of :func:`fastjvae.metrics.factor_vae_score`.

    Source: Higgins et al., ICLR 2017, section 3; the numbers and the classifier, scikit-learn's
    logistic regression on unscaled differences, are those of disentanglement_lib.
    """
    items = check_items(codes, factors, discrete, kl)
    return beta_vae_of_items(items, observations, num_train, num_test, seed)


def beta_vae_of_items(
    items: Items,
    observations: int = 64,
    num_train: int = 10_000,
    num_test: int = 5_000,
    seed: int = 0,
) -> float:
    """:func:`beta_vae_score` of checked items."""
    from sklearn.linear_model import LogisticRegression

    check_at_least("observations", observations, 1)
    check_at_least("num_train", num_train, 1)
    check_at_least("num_test", num_test, 1)
    generator = random_generator(seed)
    items = items.pruned()
    by_value = ItemsByValue(items.factors)
    features, fixed = _votes(generator, items, by_value, num_train, observations)
    columns = order_of_columns(features)
    classifier = fitted(LogisticRegression(max_iter=1000), features[:, columns], fixed)
    features, fixed = _votes(generator, items, by_value, num_test, observations)
    return accuracy(classifier, features[:, columns], fixed)


def _votes(
    generator: np.random.Generator,
    items: Items,
    by_value: ItemsByValue,
    votes: int,
    observations: int,
) -> tuple[Floats, Integers]:
    """Mean differences (votes, Z + D) and the factors (votes,) that were held fixed."""
    fixed = by_value.draw_factors(generator, votes)
    features = np.empty((votes, items.units))
    for some in chunks(votes, observations):
        each_pair = np.repeat(fixed[some, None], observations, axis=1)
        groups = by_value.draw_groups(generator, each_pair)
        one, other = (by_value.draw_items(generator, groups, observations) for _ in range(2))
        differences = [np.abs(unit[one] - unit[other]) for unit in items.codes.T]
        differences += [variable[one] != variable[other] for variable in items.discrete.T]
        features[some] = np.stack([each.mean(axis=1) for each in differences], axis=1)
    return features, fixed
