"""Numbers: checks that an argument is one, Python's or NumPy's and no boolean; as text, in runs."""

import math
from collections.abc import Iterable
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
        return f"a value of type {type(value).__name__} that is too long to show"
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST - 17].rstrip()}[...]{text[-12:].lstrip()}"


def decimal(value: float) -> str:
    """Two decimals with a true minus sign, and none before 0.

    >>> decimal(0.254), decimal(-0.001)
    ('0.25', '0.00')
    """
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")


def runs_of(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The first and the last of ascending numbers that follow one another.

    >>> runs_of([3, 7, 8, 9])
    [(3, 3), (7, 9)]
    """
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs
