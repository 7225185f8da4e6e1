"""Unsupervised Disentanglement Ranking: which of several models to trust, without labels."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from fastjvae.errors import ArgumentError
from fastjvae.metrics._items import Floats, finite_numbers, unit_score

INFORMATIVE_NATS = 0.01  # a unit counts above this KL (Duan et al. 2020, I_KL)


def udr(codes: Sequence[Any], kls: Sequence[Any]) -> Floats:
    """Score models by how far the others learned the same units (Duan et al., ICLR 2020).

    The idea is that disentangled models are alike and entangled ones differ, each in its own way:
    two models trained from different seeds agree where each unit of one has a single counterpart in
    the other, up to order and sign. For models i and j, R(a, b) is the absolute rank correlation of
    unit a of i and unit b of j, both informative (KL above 0.01 nats; d_i and d_j of them), so that
    any monotone change of a unit leaves the score as it is::

        UDR_ij = (sum_b r(b)^2 / sum_a R(a, b)  +  sum_a r(a)^2 / sum_b R(a, b)) / (d_i + d_j)

    where r(b) = max_a R(a, b) and r(a) = max_b R(a, b); a unit that is like no other adds 0. The
    score of a model is the median over its pairs.

    >>> import numpy as np
    >>> a = np.random.default_rng(0).normal(size=(500, 2))
    >>> rotated = a @ np.array([[0.8, -0.6], [0.6, 0.8]])
    >>> udr([a, -a[:, ::-1], rotated], [[1.0, 1.0]] * 3).round(1)
    array([0.7, 0.7, 0.4])

    Args:
        codes: per model (M, Z) numbers, the codes of the same M items in the same order, such as
            the means of the continuous units; Z may differ from model to model.
        kls: per model (Z,) mean KL of each unit, nats.

    Returns:
        (models,) float64, each between 0 and 1. A pair in which a model has no informative unit
        scores 0.

    Raises:
        ArgumentError: there are fewer than two models, the shapes do not fit, or a value is not
            finite.

    Source: arXiv:1905.12614, the equation of UDR_ij. It divides by the number of units of both
    models together; the authors' code (disentanglement_lib) averages the two sums each by itself,
    which is the same where d_i = d_j and differs where models of different sizes are pooled.
    """
    standardised = [_standardise(_ranks(each)) for each in _informative_units(codes, kls)]
    pairs = np.zeros((len(standardised), len(standardised)))
    for i, j in combinations(range(len(standardised)), 2):
        first, second = standardised[i], standardised[j]
        if first.shape[1] and second.shape[1]:
            pairs[i, j] = pairs[j, i] = _relative_strength(_rank_correlation(first, second))
    return np.array([np.median(np.delete(row, i)) for i, row in enumerate(pairs)])


def _relative_strength(similarity: Floats) -> float:
    """Pair score of similarities R (d_i, d_j): each unit's closest counterpart, against all."""
    strengths = [
        np.divide(
            similarity.max(axis=axis) ** 2, total, out=np.zeros_like(total), where=total > 0
        ).sum()
        for axis in (0, 1)
        for total in [similarity.sum(axis=axis)]
    ]
    return float(sum(strengths) / sum(similarity.shape))


def _rank_correlation(first: Floats, second: Floats) -> Floats:
    """|Spearman's rho| of every two units, from standardised ranks."""
    correlation: Floats = np.abs(first.T @ second) / len(first)
    return unit_score(correlation)


def _ranks(codes: Floats) -> Floats:
    from scipy.stats import rankdata

    return np.asarray(rankdata(codes, axis=0), dtype=np.float64)


def _standardise(values: Floats) -> Floats:
    """Columns of mean 0 and variance 1; a constant column, which is like no other, becomes 0."""
    constant = (values == values[:1]).all(axis=0)  # its computed variance may differ from 0
    centred = values - values.mean(axis=0)
    return np.where(constant, 0.0, centred / np.where(constant, 1.0, values.std(axis=0)))


def _informative_units(codes: Sequence[Any], kls: Sequence[Any]) -> list[Floats]:
    """The checked codes, without the units that carry next to nothing."""
    if len(codes) < 2:
        raise ArgumentError(f"udr compares at least 2 models, got {len(codes)}")
    if len(codes) != len(kls):
        raise ArgumentError(
            f"udr needs codes and kls of the same models, got {len(codes)} and {len(kls)}"
        )
    arrays = [finite_numbers(f"codes[{i}]", each, "(M, Z)", 2) for i, each in enumerate(codes)]
    units = []
    for i, (array, each) in enumerate(zip(arrays, kls, strict=True)):
        if len(array) != len(arrays[0]) or len(array) < 2:
            raise ArgumentError(
                "the codes of all models must be of the same items, at least 2 of them,"
                f" got {len(arrays[0])} in codes[0] and {len(array)} in codes[{i}]"
            )
        kl = finite_numbers(f"kls[{i}]", each, "(Z,)", 1)
        if len(kl) != array.shape[1]:
            raise ArgumentError(
                f"kls[{i}] must have one number per unit, got {len(kl)} for {array.shape[1]} units"
            )
        units.append(array[:, kl > INFORMATIVE_NATS])
    return units
