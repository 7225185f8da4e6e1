"""Scores of several methods with their spread over seeds (paper fig. 6)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastjvae._numbers import is_finite, is_real
from fastjvae.errors import ArgumentError, DataError
from fastjvae.figures.labels import Vector, in_lines, to_array
from fastjvae.figures.metric_names import is_share, metric_title
from fastjvae.figures.page import CHARACTER, COLOURS, TEXT, Figure, add_plot, fit, new_page
from fastjvae.files import read_json

_HEIGHT, _PER_METHOD = 330, 110  # pixels of the page
_LONGEST, _LEAST_LINE = 14, 26  # characters of a method's name on a line, and of a title
_JITTER = 0.22  # to either side of a method's place, so that equal scores do not hide each other


def metric_comparison(
    scores: Mapping[str, Vector], *, metric: str = "score", title: str | None = None
) -> Figure:
    """Every score as a dot, one per seed, with the mean and the standard deviation of each method.

    >>> from fastjvae import figures
    >>> figure = figures.metric_comparison({"joint": [0.91, 0.87, 0.9], "beta": [0.71, 0.78]})

    Args:
        scores: by method, in the order shown, one score per seed.
        metric: what the scores are, beside the axis: the name of a number in an evaluation, such as
            ``accuracy_majority``, which is put in words by :func:`metric_title`, or any text. Of
            one that lies between 0 and 1 the bars, a deviation to either side, end there.
        title: above the figure.

    Raises:
        ArgumentError: there is no method, one has no scores, or a score is not finite.
    """
    if not scores:
        raise ArgumentError("a comparison needs the scores of at least one method, got none")
    arrays = {method: to_array(values) for method, values in scores.items()}
    for method, values in arrays.items():
        if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
            raise ArgumentError(
                f"the scores of {method} must be one finite number per seed, got {values.tolist()}"
            )
    figure = new_page()
    axes = add_plot(figure)
    between_0_and_1 = is_share(metric) and all(
        0 <= value <= 1 for values in arrays.values() for value in values
    )
    for place, (method, values) in enumerate(arrays.items()):
        colour = COLOURS[place % len(COLOURS)]
        beside = place + _JITTER * np.linspace(-1, 1, len(values)) * (len(values) > 1)
        axes.plot(beside, values, "o", ms=4, mew=0, color=colour, alpha=0.6, label=method)
        mean = values.mean()
        bar = None
        if len(values) > 1:
            bar = np.full((2, 1), values.std(ddof=1))  # below and above the mean
            if between_0_and_1:  # no score lies further on; rounding may put a mean just over 1
                bar = np.minimum(bar, np.maximum([[mean], [1 - mean]], 0))
        axes.errorbar(
            [place], [mean], bar,
            fmt="_", ms=22, mew=1.6, color=colour, ecolor=colour, elinewidth=1.1, capsize=4,
        )  # fmt: skip
    names = [in_lines(method, _LONGEST) for method in arrays]
    ticks = [f"{n}\nn = {len(each)}" for n, each in zip(names, arrays.values(), strict=True)]
    axes.set_xticks(range(len(arrays)), ticks, **TEXT)
    axes.set_xlim(-0.5, len(arrays) - 0.5)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(in_lines(metric_title(metric), _HEIGHT // CHARACTER), **TEXT)
    longest = max(len(line) for name in names for line in name.splitlines())
    width = len(arrays) * max(_PER_METHOD, 14 * longest)  # a letter may be wider than most
    if title:
        axes.set_title(in_lines(title, max(width // CHARACTER, _LEAST_LINE)), loc="left", **TEXT)
    fit(figure, {axes: (0, 0, width, _HEIGHT)})
    return figure


def read_scores(files: Mapping[str, Sequence[Path]], metric: str) -> dict[str, list[float]]:
    """One metric of every method, from what ``fastjvae evaluate --json`` prints.

    Args:
        files: by method, the JSON files of its seeds.
        metric: the name of a number in them, such as ``reconstruction``; of numbers that share a
            name the end of the path that tells them apart, such as ``variables.0.kl``.

    Raises:
        DataError: a file is missing or no JSON, or has no such number or several; says which.
    """
    return {method: [read_score(p, metric) for p in paths] for method, paths in files.items()}


def read_score(path: Path, metric: str) -> float:
    """One metric of one evaluation, see :func:`read_scores`."""
    if not path.exists():
        raise DataError(f"{path} does not exist")
    numbers = dict(_numbers(read_json(path, DataError)))
    wanted = tuple(metric.split("."))
    found = {place: n for place, n in numbers.items() if place[-len(wanted) :] == wanted}
    if len(found) > 1:
        names = ", ".join(".".join(place) for place in found)
        raise DataError(f"{path} has several numbers named {metric}: give one of {names}")
    if not found:
        names = ", ".join(".".join(place) for place in numbers if not place[-1].isdigit())
        raise DataError(f"{path} has no number named {metric}; it has {names or 'none'}")
    number = next(iter(found.values()))
    if number is None or not math.isfinite(number):
        raise DataError(f"{path} has no finite number for {metric}, its value is {number}")
    return number


_Place = tuple[str, ...]


def _numbers(value: Any, place: _Place = ()) -> Iterator[tuple[_Place, float | None]]:
    """Every number in nested JSON with the names on the way to it; None for a null."""
    if isinstance(value, dict | list):
        for name, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _numbers(each, (*place, str(name)))
    elif place and (value is None or is_real(value)):
        yield place, float(value) if is_finite(value) or isinstance(value, float) else None
