"""One categorical variable on a data set: what an evaluation says of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastjvae._numbers import runs_of
from fastjvae.metrics._items import Integers
from fastjvae.metrics.clusters import cluster_accuracy, commonest_labels
from fastjvae.metrics.effect import percent

_LONGEST = 56  # characters of what may be long in a line of the table


@dataclass(frozen=True)
class Labelled:
    """The labels that a training saw: the first categories of a variable are their classes."""

    images: int
    variable: int  # its number
    names: list[str]  # of the classes, in the order of the categories


@dataclass(frozen=True)
class Variable:
    """One categorical variable on a data set."""

    kl: float  # nats; information + imbalance
    information: float  # H(category mean) - mean H(p), nats: tells images apart
    imbalance: float  # KL(category mean || uniform), nats
    shares: list[float]  # of the images whose most probable category is this one
    unused: list[int]  # categories that are most probable for no image
    accuracy_majority: float | None  # of argmax alpha as a classifier; None without labels
    accuracy_one_to_one: float | None
    names: list[str | None] | None = None  # the commonest label of each category, with labels
    effect: float | None = None  # share of the decoded image that depends on it
    # With every category as the class that training was told it is; None where it was told none.
    accuracy_labelled: float | None = None


def variable_of(
    kl: float,
    imbalance: float,
    size: int,
    categories: Integers,
    effect: float,
    labels: Integers | None,
    label_names: Sequence[str] | None,
    classes: Sequence[str] | None = None,
) -> Variable:
    """What an evaluation says of a variable of ``size`` categories.

    Args:
        kl, imbalance: nats.
        categories: (M,) the most probable one of each image.
        effect: share of the decoded image.
        labels: (M,) from 0.
        label_names: of the labels; by default their numbers.
        classes: names of those that training was told its first categories are.
    """
    counts = np.bincount(categories, minlength=size)
    majority, one_to_one, as_told = None, None, None
    names: list[str | None] | None = None
    if labels is not None:
        majority = cluster_accuracy(categories, labels)
        one_to_one = cluster_accuracy(categories, labels, "one-to-one")
        names = commonest_labels(categories, labels, size, label_names)
        if classes is not None:
            as_told = float((categories == labels).mean())
    if classes is not None:
        names = [*classes, *(names or [None] * size)[len(classes) :]]
    return Variable(
        kl=kl,
        information=kl - imbalance,
        imbalance=imbalance,
        shares=(counts / len(categories)).tolist(),
        unused=np.flatnonzero(counts == 0).tolist(),
        accuracy_majority=majority,
        accuracy_one_to_one=one_to_one,
        names=names,
        effect=effect,
        accuracy_labelled=as_told,
    )


def agreement(variable: Variable) -> float:
    agreeing = variable.accuracy_majority
    return variable.information if agreeing is None else agreeing


def variable_lines(number: int, variable: Variable) -> list[str]:
    """Describe one categorical variable in a few lines of text."""
    lines = [
        f"  c{number}, {len(variable.shares)} categories",
        f"    KL                {variable.kl:.3f} nats = {variable.information:.3f} information"
        f" + {variable.imbalance:.3f} imbalance",
        "    share of images   " + fitting([f"{100 * s:.0f}%" for s in variable.shares], " "),
        f"    unused categories {in_words('', variable.unused)}",
    ]
    if variable.effect is not None:
        lines.append(f"    effect            {percent(variable.effect)} of the picture")
    if variable.accuracy_majority is not None:
        lines.append(
            f"    accuracy          {variable.accuracy_majority:.4f} majority,"
            f" {variable.accuracy_one_to_one:.4f} one-to-one"
        )
    if variable.accuracy_labelled is not None:
        lines.append(f"    as labelled       {variable.accuracy_labelled:.4f}")
    return lines


def in_words(prefix: str, numbers: Sequence[int]) -> str:
    """Numbers in ascending order, those that follow one another as a range; as many as fit a line.

    >>> in_words("z", [0, 1, 2, 5, 8, 9])
    'z0..z2, z5, z8, z9'
    """
    parts: list[str] = []
    for first, last in runs_of(numbers):
        names = [f"{prefix}{number}" for number in range(first, last + 1)]
        parts += names if len(names) < 3 else [f"{names[0]}..{names[-1]}"]
    return fitting(parts, ", ") or "none"


def fitting(parts: Sequence[str], separator: str) -> str:
    """The first parts that fit the rest of a line, and dots where there are more."""
    text = ""
    for part in parts:
        longer = f"{text}{separator}{part}" if text else part
        if len(longer) > _LONGEST:
            return f"{text}{separator}..."
        text = longer
    return text
