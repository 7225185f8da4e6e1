"""Which arguments count as numbers: Python's and NumPy's, but not booleans."""

from __future__ import annotations

from numbers import Integral, Real
from typing import TypeGuard


def is_integer(value: object) -> TypeGuard[int]:
    """Whether ``value`` is an integer."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_real(value: object) -> TypeGuard[float]:
    """Whether ``value`` is an integer or a real number."""
    return isinstance(value, Real) and not isinstance(value, bool)
