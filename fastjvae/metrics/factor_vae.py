"""Kim & Mnih's disentanglement score, in the two protocols that are in use."""

from typing import Any, Literal, NamedTuple

import numpy as np

from fastjvae.errors import ArgumentError
from fastjvae.metrics._items import (
    Floats,
    Integers,
    Items,
    check_at_least,
    check_items,
    random_generator,
)
from fastjvae.metrics._votes import ItemsByValue, chunks

Protocol = Literal["disentanglement_lib", "kim_mnih"]

_LEAST_STD = 0.05  # of a unit that takes part, in disentanglement_lib's configuration


class _Settings(NamedTuple):
    observations: int  # items in a vote
    training_votes: int
    held_out_votes: int  # 0: the score is that of the training votes
    variance_items: int | None  # drawn for the global variances; None: all items


_PROTOCOLS = {
    "disentanglement_lib": _Settings(64, 10_000, 5_000, 10_000),
    "kim_mnih": _Settings(200, 800, 0, None),
}


def factor_vae_score(
    codes: Any,
    factors: Any,
    *,
    discrete: Any = None,
    kl: Any = None,
    protocol: Protocol = "disentanglement_lib",
    observations: int | None = None,
    seed: int = 0,
) -> float:
    """Accuracy of naming the factor that is held fixed by the unit that varies least.

    For a vote, one factor and one of its values are drawn, then items that have it; the vote goes
    to the unit with the smallest variance among them, as a fraction of its variance among all.
    Each unit stands for the factor that most of its training votes were about.

    >>> import numpy as np
    >>> factors = np.indices((3, 4, 5)).reshape(3, -1).T  # (60, 3), every combination once
    >>> factor_vae_score(factors, factors)
    1.0
    >>> grid = np.indices((5, 5)).reshape(2, -1).T
    >>> factor_vae_score(grid @ [[1, 1], [1, -1]], grid) < 0.6  # sum and difference of the factors
    True

    Args:
        codes: (M, Z) numbers, the continuous code of each item such as its mean; numpy or torch.
        factors: (M, F) integers, the ground truth. Not every combination has to be there. Left out
            are factors with a single value and values that a single item has.
        discrete: (M, D) integers, the category of each discrete variable. One variable is one unit;
            its variance is Gini's, the chance that two different draws differ.
        kl: (Z + D,) mean KL of each unit, nats; only "kim_mnih" looks at it.
        protocol: "disentanglement_lib" (Locatello et al. 2019): global variances of 10,000 drawn
            items, units below a standard deviation of 0.05 left out, 64 items a vote, 10,000
            training votes, the score on 5,000 others. "kim_mnih" (Kim & Mnih 2018): global
            variances of all items, units below 0.01 nats left out, or below a standard deviation of
            0.05 where ``kl`` is not given, 200 items a vote, and the score on the 800 training
            votes themselves, which lies above chance even for random codes. Constant units, also
            discrete ones, are left out in both.
        observations: items in a vote, instead of the protocol's number; at least 2.
        seed: of all draws.

    Returns:
        From 0 to 1; chance is 1 / F. 0 where no unit is left. Units that vary equally little share
        a vote, so that their order changes nothing.

    Raises:
        ArgumentError: shapes or types do not fit, a number is not finite, or no factor can be held
            fixed.

    Source: arXiv:1802.05983, section 4; disentanglement_lib, ``factor_vae.py`` and its
    configurations. Gini's variance, sum_ij d(c_i, c_j) / (2 n (n - 1)) with d 0 or 1, is the
    unbiased variance where d is the squared difference.
    """
    items = check_items(codes, factors, discrete, kl)
    return factor_vae_of_items(items, protocol, observations, seed)


def factor_vae_of_items(
    items: Items,
    protocol: Protocol = "disentanglement_lib",
    observations: int | None = None,
    seed: int = 0,
) -> float:
    """:func:`factor_vae_score` of checked items."""
    if protocol not in _PROTOCOLS:
        raise ArgumentError(
            f"protocol must be 'disentanglement_lib' or 'kim_mnih', got {protocol!r}"
        )
    settings = _PROTOCOLS[protocol]
    if observations is not None:
        settings = settings._replace(observations=check_at_least("observations", observations, 2))
    generator = random_generator(seed)
    pruned_by_kl = items.kl is not None and protocol == "kim_mnih"
    items = items.pruned() if pruned_by_kl else items
    by_value = ItemsByValue(items.factors)
    chosen = np.arange(len(items.codes))
    if settings.variance_items is not None:
        chosen = generator.integers(len(items.codes), size=settings.variance_items)
    spread = _variances(items, chosen[None])[0]
    active = spread > 0
    if not pruned_by_kl:
        active[: items.codes.shape[1]] &= np.sqrt(spread[: items.codes.shape[1]]) >= _LEAST_STD
    if not active.any():
        return 0.0
    spread[~active] = np.nan  # never the least
    training = _votes(
        generator, items, by_value, spread, settings.training_votes, settings.observations
    )
    judged = training
    if settings.held_out_votes:
        judged = _votes(
            generator, items, by_value, spread, settings.held_out_votes, settings.observations
        )
    named = training.argmax(axis=0)
    return float(judged[named, np.arange(items.units)].sum() / judged.sum())


def _votes(
    generator: np.random.Generator,
    items: Items,
    by_value: ItemsByValue,
    spread: Floats,
    votes: int,
    observations: int,
) -> Floats:
    """(F, Z + D) how many votes about each factor went to each unit."""
    counts = np.zeros((by_value.factors, items.units))
    fixed = by_value.draw_factors(generator, votes)
    groups = by_value.draw_groups(generator, fixed[:, None])
    for some in chunks(votes, observations):
        drawn = by_value.draw_items(generator, groups[some], observations)
        ratio = _variances(items, drawn) / spread
        least = ratio == np.nanmin(ratio, axis=1, keepdims=True)
        np.add.at(counts, fixed[some], least / least.sum(axis=1, keepdims=True))
    return counts


def _variances(items: Items, drawn: Integers) -> Floats:
    """(votes, Z + D) unbiased variance of each unit among the items (votes, observations)."""
    observations = drawn.shape[1]
    variances = []
    for unit in items.codes.T:
        values = unit[drawn]
        values = values - values[:, :1]  # exactly 0 where all are equal, whatever they are
        centred = values - values.mean(axis=1, keepdims=True)
        variances.append((centred**2).sum(axis=1) / (observations - 1))
    variances += [_gini(variable[drawn]) for variable in items.discrete.T]
    return np.stack(variances, axis=1)


def _gini(categories: Integers) -> Floats:
    """Gini's variance of each row (votes, n): sum_ij [c_i differs from c_j] / (2 n (n - 1)).

    Sorted, a category is a run; n^2 - sum (its length)^2 pairs differ. Thousands of categories need
    no more memory than two.
    """
    votes, n = categories.shape
    ordered = np.sort(categories, axis=1)
    begins = np.ones(ordered.shape, dtype=bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=votes * n)
    equal = np.bincount(starts // n, weights=lengths.astype(np.float64) ** 2, minlength=votes)
    gini: Floats = (float(n) ** 2 - equal) / (2.0 * n * (n - 1))
    return gini
