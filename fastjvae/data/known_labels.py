"""The labels that training may see: chosen of a data set by number and seed, or given."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastjvae._numbers import runs_of
from fastjvae.data.forms import integers
from fastjvae.errors import ArgumentError, DataError

UNKNOWN = -1


def chosen_labels(labels: Tensor, number: int, seed: int) -> Tensor:
    """Labels of ``number`` images, as many of each class as of every other as far as it goes.

    >>> chosen_labels(torch.tensor([0, 0, 0, 0, 1, 1, 2, 2]), 6, seed=0).tolist()
    [-1, 0, 0, -1, 1, 1, 2, 2]

    Args:
        labels: (N,) int64.
        number: of the images whose labels are known.
        seed: decides which images of a class they are, and which classes have one more.

    Returns:
        (N,) int64, -1 where the label is not known.

    Raises:
        ArgumentError: there are fewer labels than that, of an image each and from 0.
    """
    possible = (labels >= 0).nonzero().squeeze(1).numpy()
    if number > len(possible):
        raise ArgumentError(
            f"--labelled takes at most the {len(possible):,} labelled images that there are to"
            f" train on, got {number:,}"
        )
    # Of numpy's generators the one whose numbers are the same in every version.
    order = possible[np.random.RandomState(seed).permutation(len(possible))]
    ordered = labels.numpy()[order]
    turn = np.empty_like(order)  # how many images of its class come before an image
    for each in np.unique(ordered):
        own = ordered == each
        turn[own] = np.arange(own.sum())
    known = torch.full_like(labels, UNKNOWN)
    chosen = torch.from_numpy(order[np.argsort(turn, kind="stable")[:number]])
    known[chosen] = labels[chosen]
    return known


def given_labels(
    known: Any, count: int, names: Sequence[str] | None = None
) -> tuple[Tensor, tuple[str, ...] | None]:
    """Known labels that were given in Python, as numbers and the names of these.

    >>> given_labels(["dog", None, "cat", None], 4)
    (tensor([ 1, -1,  0, -1]), ('cat', 'dog'))

    Args:
        known: (N,) integers, -1 where the label is not known; or strings, None where it is not.
        count: N.
        names: of the label numbers, where they have some; by default strings in their order.

    Returns:
        (N,) int64, and the names, None of integers without any.

    Raises:
        DataError: another form, a negative number beside -1, a string that is no name, or no label.
    """
    where = "known_labels"
    array = np.asarray(known.cpu() if isinstance(known, Tensor) else known)
    strings = array.dtype.kind in "UO" and any(isinstance(each, str) for each in array.flat)
    if strings:
        if array.shape != (count,):
            raise DataError(f"{where} must have the shape ({count},), got {array.shape}")
        found = sorted({each for each in array.tolist() if each is not None})
        names = tuple(found if names is None else names)
        if foreign := [each for each in found if each not in names]:
            raise DataError(
                f"{where} has {foreign[0]!r}, and the labels are {', '.join(names[:10])}"
            )
        numbers = {name: number for number, name in enumerate(names)}
        array = np.array([UNKNOWN if n is None else numbers[n] for n in array], dtype=np.int64)
    elif array.dtype.kind == "O":
        raise DataError(
            f"{where} must be integers, -1 where a label is not known, or strings, None where it is"
            f" not, got {array.flat[0]!r} among them"
        )
    numbered = integers(where, "labels", array, rank=1, count=count)
    assert numbered is not None
    least, most = int(numbered.min()), int(numbered.max())
    if least < UNKNOWN or most < 0:
        raise DataError(
            f"{where} must be class numbers from 0, and -1 where a label is not known, with at"
            f" least one that is known, got numbers from {least} to {most}"
        )
    if names is not None and most >= len(names):
        raise DataError(f"{where} has the label {most}, and there are {len(names)} names of labels")
    return numbered, None if names is None else tuple(names)


def in_ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as text, those that follow one another as a range.

    >>> in_ranges([3, 7, 8, 9])
    '3, 7..9'
    """
    return ", ".join("..".join(dict.fromkeys(map(str, ends))) for ends in runs_of(numbers))


def from_ranges(text: str) -> list[int]:
    """The numbers of a text of :func:`in_ranges`.

    >>> from_ranges("3, 7..9")
    [3, 7, 8, 9]

    Raises:
        ValueError: it is none.
    """
    numbers: list[int] = []
    for part in text.split(", "):
        first, _, last = part.partition("..")
        numbers += range(int(first), int(last or first) + 1)
    return numbers
