"""Titles, labels of rows and columns, and checks of the arguments that figures share."""

import textwrap
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fastjvae.errors import ArgumentError
from fastjvae.functional.latents import LatentSpec
from fastjvae.model.latent_moves import Latent, all_latents

Vector = Tensor | NDArray[Any] | Sequence[float]

_LONGEST_LABEL = 22  # characters beside a row of images: a third of ten small ones at most
_NAMED_STARTS = 3  # discrete variables


def vector(name: str, values: Vector, length: int, meaning: str) -> NDArray[np.float64]:
    """``values`` as an array of shape (length,); ArgumentError if they have another shape."""
    array = to_array(values)
    if array.shape != (length,):
        raise ArgumentError(
            f"{name} must hold {meaning}, shape ({length},), got shape {array.shape}"
        )
    return array


def to_array(values: Vector) -> NDArray[np.float64]:
    """A tensor of any device, an array or numbers as float64."""
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)


def check_names(names: Sequence[Any], size: int) -> None:
    """Raise ArgumentError unless there is a name for each category."""
    if len(names) != size:
        raise ArgumentError(f"names must hold one name per category, {size}, got {len(names)}")


def checked_shares(shares: Vector, size: int) -> NDArray[np.float64]:
    """(K,) shares of images by category; ArgumentError if they have another shape or range."""
    share = vector("shares", shares, size, "the share of images, 0..1, per category")
    if not ((share >= 0) & (share <= 1)).all():
        raise ArgumentError(
            f"shares must lie between 0 and 1, got values from {share.min():g} to {share.max():g}"
        )
    return share


def most_frequent(share: NDArray[np.float64] | None, size: int, most: int) -> list[int]:
    """At most so many categories, in order: the most frequent, without shares the first."""
    order = range(size) if share is None else np.argsort(-share, kind="stable").tolist()
    return sorted(order[:most])


def check_counts(**counts: int | None) -> None:
    """Raise ArgumentError unless every count is at least 1, and ``steps`` of a row at least 2.

    None is no limit.
    """
    for name, count in counts.items():
        least = 2 if name == "steps" else 1
        if count is not None and count < least:
            raise ArgumentError(f"{name} must be at least {least}, got {count}")


def shown_of(shown: int, total: int, what: str) -> list[str]:
    """The note "3 of 10 units" for the title where not everything is shown."""
    return [f"{shown} of {total} {what}"] if shown < total else []


def note_on_categories(spec: LatentSpec, latent: Latent, shown: int) -> list[str]:
    """The note "the first 3 of 10 categories of c0", where a variable has more than are shown."""
    if latent.kind == "z":
        return []
    notes = shown_of(shown, spec.disc[latent.number], f"categories of {latent}")
    return [f"the first {note}" for note in notes]


def note_on_start(spec: LatentSpec, row: Tensor, moving: Sequence[Collection[Latent]]) -> list[str]:
    """The note "from c0 = 3" on the categories in which a figure's rows begin.

    Args:
        spec: of the model.
        row: (L,) the sample row that the figure starts from.
        moving: of each row of the figure the variables that change in it, whose start is not seen.
    """
    variables = [latent for latent in all_latents(spec) if latent.kind == "c"]
    seen = [each for each in variables if any(each not in row for row in moving)]
    if len(seen) > _NAMED_STARTS:
        return [f"from chosen categories of {len(seen)} variables"]
    starts = [f"{each} = {int(row[each.place(spec)].argmax())}" for each in seen]
    return [f"from {', '.join(starts)}"] if starts else []


def short(text: str, lines: int = 1) -> str:
    """A name that is long, such as of a class of labels, in lines of a label; what is over is cut.

    >>> short("Ankle boot"), short("a boot that is as high as the ankle")
    ('Ankle boot', 'a boot that is as…')
    >>> short("a boot that is as high as the ankle", lines=2)
    'a boot that is as high\\nas the ankle'
    """
    return "\n".join(textwrap.wrap(text, _LONGEST_LABEL, max_lines=lines, placeholder="…"))


def in_lines(text: str, width: int) -> str:
    """A text in lines of at most so many characters, broken between words where that goes."""
    lines = [textwrap.wrap(line, width, drop_whitespace=True) for line in text.splitlines()]
    return "\n".join(part for line in lines for part in line)


def full_title(title: str | None, notes: Sequence[str]) -> str:
    """A title with notes behind it in brackets; the notes alone where there is no title."""
    joined = ", ".join(notes)
    return f"{title} ({joined})" if title and joined else title or joined


def axis_title(latent: Latent) -> str:
    """The title of an axis along which a latent variable runs."""
    return f"value of {latent}" if latent.kind == "z" else f"category of {latent}"


def with_kl(latent: Latent, kl_nats: float | None) -> str:
    """The name of a latent variable and its KL, where it is known."""
    return str(latent) if kl_nats is None else f"{latent}  {kl_nats:.2f} nats"
