"""What the rows of a traversal start from, by --base, and how far they go, by --range."""

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from fastjvae.cli.command import ModelCommand
from fastjvae.cli.figures.command import ModelFigure
from fastjvae.errors import ArgumentError
from fastjvae.files import printable
from fastjvae.model.editing import read_picture
from fastjvae.model.latent_moves import encode_row, telling_categories


class Start(NamedTuple):
    """A sample row (L,) that a figure's rows start from, and its name for the title."""

    row: Tensor | None = None  # None: the figure chooses, and says so itself
    name: str | None = None


class SweepFigure(ModelFigure):
    """A figure in which latent variables of one model run through their values."""

    range: tuple[float, float] | None = None
    """first and last value of a unit's sweep, in standard deviations of its prior; by default its
    5 % to 95 % quantile, in equal steps of probability"""
    base: str | None = None
    """what the rows start from: a picture FILE, image:N of the data set, or category:K, the prior's
    mean there (category:K,L of two variables); by default the category from which most is seen"""

    @cached_property
    def start(self) -> Start:
        """What --base says.

        Raises:
            ArgumentError: it says nothing that the model or the data set has.
        """
        return start_of(self.base, self)


def start_of(base: str | None, command: ModelCommand) -> Start:
    """What --base says to the model and the data of a command, see :class:`SweepFigure`."""
    if base is None:
        return Start()
    kind, _, rest = base.partition(":")
    numbers = rest.split(",") if kind in ("image", "category") else []
    if numbers and all(number.isdecimal() for number in numbers):
        if kind == "category":
            return _category(list(map(int, numbers)), base, command)
        if len(numbers) == 1:
            return _image(int(rest), command)
    if not Path(base).is_file():
        raise ArgumentError(
            f"--base is a picture file that is there, image:N such as image:3, or category:K such"
            f" as category:2, got {base}"
        )
    model = command.model
    row = encode_row(model, read_picture(base, model.img_size))[0]
    return Start(row, f"from {printable(Path(base).name)}")


def _category(categories: list[int], base: str, command: ModelCommand) -> Start:
    """The prior's mean in these categories; those of further variables are chosen."""
    spec = command.model.spec
    if len(categories) > len(spec.disc):
        raise ArgumentError(
            f"--base {base} names {len(categories)} categories, and the model has"
            f" {len(spec.disc)} discrete variables"
        )
    row = telling_categories(command.model, dict(enumerate(categories)))
    return Start(row, f"from {', '.join(f'c{d} = {k}' for d, k in enumerate(categories))}")


def _image(number: int, command: ModelCommand) -> Start:
    images = command.data.images
    if number >= len(images):
        raise ArgumentError(
            f"--base image:N counts the images of {command.data.name} from 0 to"
            f" {len(images) - 1}, got image:{number}"
        )
    return Start(encode_row(command.model, images[number : number + 1])[0], f"from image {number}")
