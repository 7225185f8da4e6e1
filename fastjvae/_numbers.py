"""Which arguments count as numbers, Python's and NumPy's but not booleans, and how one is shown."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import TypeGuard

_LONGEST = 60  # characters of a value in a message


def is_integer(value: object) -> TypeGuard[int]:
    """Whether ``value`` is an integer."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_real(value: object) -> TypeGuard[float]:
    """Whether ``value`` is an integer or a real number."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_finite(value: object) -> TypeGuard[float]:
    """Whether ``value`` is a number that a float can hold, and no NaN."""
    try:
        return is_real(value) and math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def shown(value: object) -> str:
    """A value as part of a message, of a length that can be read."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # Python shows no integer of thousands of digits
        return f"a {type(value).__name__} too large to show"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 15]}...{text[-12:]}"
