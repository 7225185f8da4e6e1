"""Grids of factors of variation, every combination once, and parts of them."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from fastjvae.errors import ArgumentError


@dataclass(frozen=True)
class Grid:
    """The factors of a data set that has every combination of their values once.

    Attributes:
        sizes: the number of values of each factor; images are in the order of the factors, the
            last one varying fastest.
        names: what the values are called, of the factors whose values have names.
        example: of a part, in the words of ``--grid``.
    """

    sizes: Mapping[str, int]
    names: Mapping[str, tuple[str, ...]]
    example: str

    def __len__(self) -> int:
        """The number of images."""
        return math.prod(self.sizes.values())


SHAPES = ("square", "ellipse", "heart")

# Of dSprites, and of sprites.
GRID = {"shape": len(SHAPES), "scale": 6, "orientation": 40, "x": 32, "y": 32}
SPRITES = Grid(GRID, {"shape": SHAPES}, "scale=5 or x=0..31/4")

SHAPES3D = Grid(
    {"floor_hue": 10, "wall_hue": 10, "object_hue": 10, "scale": 8, "shape": 4, "orientation": 15},
    {"shape": ("cube", "cylinder", "sphere", "capsule")},
    "shape=sphere or orientation=0..14/2",
)

MPI3D = Grid(
    {
        "object_color": 6,
        "object_shape": 6,
        "object_size": 2,
        "camera_height": 3,
        "background_color": 3,
        "horizontal_axis": 40,
        "vertical_axis": 40,
    },
    {
        "object_color": ("white", "green", "red", "blue", "brown", "olive"),
        "object_shape": ("cone", "cube", "cylinder", "hexagonal", "pyramid", "sphere"),
        "object_size": ("small", "large"),
        "camera_height": ("top", "center", "bottom"),
        "background_color": ("purple", "sea-green", "salmon"),
    },
    "object_shape=sphere or vertical_axis=0..39/4",
)
MPI3D_COMPLEX = replace(
    MPI3D,
    sizes={**MPI3D.sizes, "object_color": 4, "object_shape": 4},
    names={
        **MPI3D.names,
        "object_color": ("yellow", "green", "olive", "red"),
        "object_shape": ("coffee-cup", "tennis-ball", "croissant", "beer-cup"),
    },
    example="object_shape=croissant or vertical_axis=0..39/4",
)


def check_grid(words: Sequence[str], grids: Sequence[Grid]) -> None:
    """Raise the ArgumentError of :func:`parse_grid` unless this is a part of one of the grids."""
    errors = []
    for grid in grids:
        try:
            parse_grid(words, grid)
        except ArgumentError as error:
            errors.append(error)
        else:
            return
    raise errors[0]


def parse_grid(words: Sequence[str], grid: Grid = SPRITES) -> tuple[tuple[int, ...], ...]:
    """Read a part of the grid: for each of its factors the values in it, by their numbers.

    A word is ``FACTOR=VALUES``; values are numbers from 0, ranges with both ends in them and ranges
    with a step, or names. A factor that no word names keeps all of its values.

    >>> shape, scale, orientation, x, y = parse_grid(["shape=heart", "scale=0,3..5", "x=0..31/8"])
    >>> shape, scale, x
    ((2,), (0, 3, 4, 5), (0, 8, 16, 24))
    >>> len(orientation), len(y)
    (40, 32)

    Raises:
        ArgumentError: a word or value of another form, a factor that the grid has not or that is
            named twice, a value that the factor has not or that is named twice.
    """
    chosen = {name: tuple(range(size)) for name, size in grid.sizes.items()}
    named: set[str] = set()
    for word in words:
        name, equals, values = word.partition("=")
        if not equals:
            raise ArgumentError(f"--grid takes FACTOR=VALUES, such as {grid.example}, got {word!r}")
        if name not in grid.sizes:
            raise ArgumentError(
                f"--grid: a factor is one of {', '.join(grid.sizes)}, got {name!r} in {word!r}"
            )
        if name in named:
            raise ArgumentError(f"--grid must name {name} once, got it again in {word!r}")
        named.add(name)
        chosen[name] = _numbers(name, grid, values, word)
    return tuple(chosen.values())


def grid_words(numbers: Sequence[Sequence[int]], grid: Grid = SPRITES) -> tuple[str, ...]:
    """The one spelling of a part of the grid, for :func:`parse_grid`."""
    return tuple(
        f"{name}={','.join(map(str, values))}"
        for name, values in zip(grid.sizes, numbers, strict=True)
    )


def factors_of_part(numbers: Sequence[Sequence[int]]) -> torch.Tensor:
    """The factors (N, F) int64 of the images of a part, numbered within that part."""
    counts = [len(values) for values in numbers]
    return torch.from_numpy(np.indices(counts, np.int64).reshape(len(counts), -1).T.copy())


def values_of_grid(step: float) -> tuple[tuple[float, ...], ...]:
    """The values that the numbers of dSprites' factors stand for.

    They are a shape's number, a scale, an orientation in radians, and positions from 0 to 1.

    Args:
        step: radians from one orientation to the next.
    """
    scales = tuple(0.5 + 0.1 * scale for scale in range(GRID["scale"]))
    positions = tuple(position / (GRID["x"] - 1) for position in range(GRID["x"]))
    orientations = tuple(step * orientation for orientation in range(GRID["orientation"]))
    return tuple(map(float, range(len(SHAPES)))), scales, orientations, positions, positions


FULL_TURN = 2 * math.pi


def _numbers(name: str, grid: Grid, text: str, word: str) -> tuple[int, ...]:
    numbers: list[int] = []
    known = grid.names.get(name, ())
    for part in text.split(","):
        if part in known:
            numbers.append(known.index(part))
            continue
        match = re.fullmatch(r"([0-9]{1,9})(?:\.\.([0-9]{1,9})(?:/([0-9]{1,9}))?)?", part)
        if match is None or int(match[3] or 1) == 0:
            names = f" or one of {', '.join(known)}" if known else ""
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
        if last > (most := grid.sizes[name] - 1):
            raise ArgumentError(
                f"--grid: {name} has the values 0 to {most}, got {part!r} in {word!r}"
            )
        numbers += range(first, last + 1, int(match[3] or 1))
    if len(set(numbers)) < len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise ArgumentError(f"--grid must name each value once, got {twice} twice in {word!r}")
    return tuple(sorted(numbers))
