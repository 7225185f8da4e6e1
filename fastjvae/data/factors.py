"""The five factors of variation of dSprites, which sprites shares, and parts of their grid."""

import math
import re
from collections.abc import Sequence

from fastjvae.errors import ArgumentError

SHAPES = ("square", "ellipse", "heart")

# Values of each factor; images are in the order of the factors, the last one varying fastest.
GRID = {"shape": len(SHAPES), "scale": 6, "orientation": 40, "x": 32, "y": 32}


def parse_grid(words: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Read a part of the grid: for each of its factors the values in it, by their numbers.

    A word is ``FACTOR=VALUES``; values are numbers from 0, ranges with both ends in them and ranges
    with a step, and shapes may be named. A factor that no word names keeps all of its values.

    >>> shape, scale, orientation, x, y = parse_grid(["shape=heart", "scale=0,3..5", "x=0..31/8"])
    >>> shape, scale, x
    ((2,), (0, 3, 4, 5), (0, 8, 16, 24))
    >>> len(orientation), len(y)
    (40, 32)

    Raises:
        ArgumentError: a word or value of another form, a factor that is not one of the five or is
            named twice, a value that the factor has not or that is named twice.
    """
    chosen = {name: tuple(range(size)) for name, size in GRID.items()}
    named: set[str] = set()
    for word in words:
        name, equals, values = word.partition("=")
        if not equals:
            raise ArgumentError(
                f"--grid takes FACTOR=VALUES, such as scale=5 or x=0..31/4, got {word!r}"
            )
        if name not in GRID:
            raise ArgumentError(
                f"--grid: a factor is one of {', '.join(GRID)}, got {name!r} in {word!r}"
            )
        if name in named:
            raise ArgumentError(f"--grid must name {name} once, got it again in {word!r}")
        named.add(name)
        chosen[name] = _numbers(name, values, word)
    return tuple(chosen.values())


def grid_words(numbers: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """The one spelling of a part of the grid, for :func:`parse_grid`."""
    return tuple(
        f"{name}={','.join(map(str, values))}" for name, values in zip(GRID, numbers, strict=True)
    )


def values_of_grid(step: float) -> tuple[tuple[float, ...], ...]:
    """The values that the factors' numbers stand for.

    They are a shape's number, a scale, an orientation in radians, and positions from 0 to 1.

    Args:
        step: radians from one orientation to the next.
    """
    scales = tuple(0.5 + 0.1 * scale for scale in range(GRID["scale"]))
    positions = tuple(position / (GRID["x"] - 1) for position in range(GRID["x"]))
    orientations = tuple(step * orientation for orientation in range(GRID["orientation"]))
    return tuple(map(float, range(len(SHAPES)))), scales, orientations, positions, positions


FULL_TURN = 2 * math.pi


def _numbers(name: str, text: str, word: str) -> tuple[int, ...]:
    numbers: list[int] = []
    for part in text.split(","):
        if name == "shape" and part in SHAPES:
            numbers.append(SHAPES.index(part))
            continue
        match = re.fullmatch(r"([0-9]{1,9})(?:\.\.([0-9]{1,9})(?:/([0-9]{1,9}))?)?", part)
        if match is None or int(match[3] or 1) == 0:
            names = f" or one of {', '.join(SHAPES)}" if name == "shape" else ""
            raise ArgumentError(
                f"--grid: a value of {name} is a number, a range such as 0..5, or one with a step "
                f"such as 0..5/2{names}, got {part!r} in {word!r}"
            )
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise ArgumentError(
                f"--grid: a range goes from the smaller number to the larger one, as "
                f"{last}..{first} does, got {part!r} in {word!r}"
            )
        if last >= GRID[name]:
            raise ArgumentError(
                f"--grid: {name} has the values 0 to {GRID[name] - 1}, got {part!r} in {word!r}"
            )
        numbers += range(first, last + 1, int(match[3] or 1))
    if len(set(numbers)) < len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise ArgumentError(f"--grid must name each value once, got {twice} twice in {word!r}")
    return tuple(sorted(numbers))
