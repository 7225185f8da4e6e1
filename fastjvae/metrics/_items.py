"""Codes and factors as every metric takes them: checked once, in one form."""

from __future__ import annotations

from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray

from fastjvae._numbers import is_integer
from fastjvae.errors import ArgumentError

# Below this KL a unit carries nothing (Kim & Mnih 2018 prune there).
COLLAPSED_NATS = 0.01
_ROUNDING = 1e-6  # of sums of many terms of up to 1

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Items(NamedTuple):
    """M items with their codes and their factors; a factor with one value only is left out."""

    codes: Floats  # (M, Z), columns contiguous
    discrete: Integers  # (M, D), the position of each category among those that appear
    factors: Integers  # (M, F), the position of each value among those that appear
    values: tuple[Floats, ...]  # F vectors, what stands at each position
    kl: Floats | None  # (Z + D,) nats

    @property
    def units(self) -> int:
        """Z + D: a discrete variable is one unit."""
        return int(self.codes.shape[1] + self.discrete.shape[1])

    def pruned(self) -> Items:
        """These items with a constant, which never wins, for each unit that carries nothing."""
        if self.kl is None or not (collapsed := self.kl < COLLAPSED_NATS).any():
            return self
        codes, discrete = self.codes.copy(order="F"), self.discrete.copy()
        codes[:, collapsed[: codes.shape[1]]] = 0
        discrete[:, collapsed[codes.shape[1] :]] = 0
        return self._replace(codes=codes, discrete=discrete)


def check_items(codes: Any, factors: Any, discrete: Any = None, kl: Any = None) -> Items:
    """Check the arrays that a metric is given.

    Args:
        codes: (M, Z) finite numbers, Z may be 0; numpy, torch or nested lists.
        factors: (M, F) integers, at least one column with two values.
        discrete: (M, D) integers, the category of each discrete variable, or None.
        kl: (Z + D,) nats or None, for :meth:`Items.pruned`.

    Raises:
        ArgumentError: a shape, a type or a number is wrong, or there is nothing to measure.
    """
    units = finite_numbers("codes", codes, "(M, Z)", 2)
    if too_large := int((np.abs(units) > np.finfo(np.float32).max).sum()):
        raise ArgumentError(
            f"codes must lie within the range of float32, got {too_large} numbers that do not"
        )
    columns = _integers("factors", factors, "(M, F)")
    categories = _integers(
        "discrete", np.zeros((len(units), 0), int) if discrete is None else discrete, "(M, D)"
    )
    if not len(units) == len(columns) == len(categories) > 0:
        raise ArgumentError(
            "codes, factors and discrete must have one row per item and at least 1,"
            f" got {len(units)}, {len(columns)} and"
            f" {'no discrete' if discrete is None else len(categories)} rows"
        )
    if not units.shape[1] + categories.shape[1]:
        raise ArgumentError(f"there must be at least 1 unit, got codes of shape {units.shape}")
    units = np.array(units, order="F")
    categories = np.array([_positions(each) for each in categories.T], dtype=np.int64).reshape(
        categories.shape[::-1]
    )
    nats = None if kl is None else _check_kl(kl, units.shape[1], len(categories))
    levels = [np.unique(each, return_inverse=True) for each in columns.T]
    levels = [each for each in levels if len(each[0]) > 1]
    if not levels:
        raise ArgumentError(
            "at least 1 factor must have 2 different values or more,"
            f" got factors of shape {columns.shape} without one"
        )
    return Items(
        codes=units,
        discrete=categories.T,
        factors=np.stack([positions for _, positions in levels], axis=1),
        values=tuple(values.astype(np.float64) for values, _ in levels),
        kl=nats,
    )


def finite_numbers(name: str, values: Any, form: str, dimensions: int) -> Floats:
    """A float64 array of ``values``; ArgumentError unless they have that form and are finite."""
    try:
        array = np.asarray(_off_torch(values), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name} must be {form} numbers: {error}") from error
    if array.ndim != dimensions:
        raise ArgumentError(f"{name} must have shape {form}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ArgumentError(
            f"{name} must be finite, got {int((~np.isfinite(array)).sum())} numbers that are not"
        )
    return array


def check_at_least(name: str, value: object, least: int) -> int:
    """The value; ArgumentError unless it is an integer and not below ``least``."""
    if not is_integer(value) or value < least:
        raise ArgumentError(f"{name} must be an integer of at least {least}, got {value!r}")
    return int(value)


def random_generator(seed: int) -> np.random.Generator:
    """The source of a metric's random draws."""
    return np.random.default_rng(check_at_least("seed", seed, 0))


@overload
def unit_score(score: float) -> float: ...
@overload
def unit_score(score: Floats) -> Floats: ...
def unit_score(score: Any) -> Any:
    """Scores of 0 to 1 without what rounding has added; what is further outside is no score.

    Raises:
        FloatingPointError: a score is not finite, or outside by more than a rounding.
    """
    return _without_rounding(score, 0.0, 1.0)


def at_least_0(value: float) -> float:
    """A number of at least 0 without what rounding has taken from it, as :func:`unit_score`."""
    return float(_without_rounding(value, 0.0, np.finfo(np.float64).max))


def _without_rounding(values: Any, least: float, most: float) -> Any:
    """The nearest numbers within the bounds; only what is a rounding away from them is moved."""
    values = np.asarray(values)
    if not ((values >= least - _ROUNDING) & (values <= most + _ROUNDING)).all():
        raise FloatingPointError(f"numbers from {least} to {most:g} have come out as {values}")
    within = np.clip(values, least, most)
    return within if within.ndim else float(within)


def split_items(
    generator: np.random.Generator, items: int, num_train: int, num_test: int
) -> tuple[Integers, Integers]:
    """Indices to train and to test on, without an overlap; of fewer items, the same shares.

    disentanglement_lib draws both from all combinations of the factors; here there are only the
    items given, and what was trained on is no test.
    """
    check_at_least("num_train", num_train, 1)
    check_at_least("num_test", num_test, 1)
    order: Integers = generator.permutation(items)
    if items < num_train + num_test:
        num_train = round(items * (num_train / (num_train + num_test)))
        num_train = min(max(num_train, 1), items - 1)
    return order[:num_train], order[num_train:][:num_test]


def _integers(name: str, values: Any, form: str) -> NDArray[Any]:
    try:
        array = np.asarray(_off_torch(values))
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name} must be {form} integers: {error}") from error
    if array.ndim != 2:
        raise ArgumentError(f"{name} must have shape {form}, got {array.shape}")
    kind = array.dtype.kind
    if kind not in "biuf" or (kind == "f" and not (np.isfinite(array) & (array % 1 == 0)).all()):
        raise ArgumentError(f"{name} must be integers, got {array.dtype} with other values")
    return array


def _check_kl(kl: Any, cont: int, disc: int) -> Floats:
    nats = finite_numbers("kl", kl, "(Z + D,)", 1)
    if len(nats) != cont + disc:
        raise ArgumentError(
            f"kl must have one number per unit, got {len(nats)} for {cont} continuous units and"
            f" {disc} discrete variables"
        )
    return nats


def _positions(categories: NDArray[Any]) -> Integers:
    return np.unique(categories, return_inverse=True)[1].astype(np.int64)


def _off_torch(values: Any) -> Any:
    if not isinstance(values, torch.Tensor):
        return values
    values = values.detach().cpu()
    return (values.double() if values.is_floating_point() else values).numpy()
