"""The settings that a study has tried, and how good each was."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fastjvae.errors import ArgumentError
from fastjvae.figures.page import COLOURS, OTHERS, TEXT, Axes, Figure, add_plot, fit, new_page

_WIDTH, _HEIGHT = 360, 300  # of a panel, in pixels of the page
_BESIDE, _BELOW = 100, 120  # from one panel to the next
_COLUMNS = 3


class StudyRow(NamedTuple):
    """A trial: its settings by name, and the scores of its seeds."""

    settings: Mapping[str, Any]
    scores: Sequence[float]
    pruned: bool = False
    chosen: bool = False


def study(
    rows: Sequence[StudyRow],
    log: Mapping[str, bool],
    *,
    by: str,
    importances: Mapping[str, float] | None = None,
) -> Figure:
    """A panel for each setting: the scores of the trials over the values that they have tried.

    A trial is a dot at the mean of its seeds, with a line from the lowest to the highest; in grey
    where it was left early. The chosen one is a ring.

    Args:
        rows: the trials, with at least one score each.
        log: the settings by name, and whether the axis of each is logarithmic.
        by: the name of the score.
        importances: the share of each setting in the differences, 0 to 1, above its panel.

    Raises:
        ArgumentError: there is no trial, or one without scores.
    """
    if not rows or not all(row.scores for row in rows):
        raise ArgumentError("the figure of a study needs trials with scores")
    figure = new_page()
    boxes = {}
    for number, (name, is_log) in enumerate(log.items()):
        axes = add_plot(figure)
        tried = [row for row in rows if name in row.settings]
        positions = _positions(axes, [row.settings[name] for row in tried], is_log)
        for row, x in zip(tried, positions, strict=True):
            colour = OTHERS if row.pruned else COLOURS[0]
            axes.plot([x, x], [min(row.scores), max(row.scores)], color=colour, lw=0.8)
            axes.plot([x], [statistics.fmean(row.scores)], "o", color=colour, ms=4)
            if row.chosen:
                mean = statistics.fmean(row.scores)
                axes.plot([x], [mean], "o", color=COLOURS[1], ms=10, mfc="none", mew=1.5)
        share = (importances or {}).get(name)
        axes.set_title("" if share is None else f"importance {share:.2f}", loc="left", **TEXT)
        axes.set_xlabel(name, **TEXT)
        if number % _COLUMNS == 0:
            axes.set_ylabel(f"{by}, mean and range of the seeds", **TEXT)
        row_number, column = divmod(number, _COLUMNS)
        left, top = column * (_WIDTH + _BESIDE), row_number * (_HEIGHT + _BELOW)
        boxes[axes] = (left, top, _WIDTH, _HEIGHT)
    fit(figure, boxes)
    return figure


def _positions(axes: Axes, values: Sequence[Any], is_log: bool) -> list[float]:
    """Where values lie: numbers where they are, words and lists of numbers side by side."""
    if values and all(type(value) in (int, float) for value in values):
        if is_log and min(values) > 0:
            low, high = math.log10(min(values)), math.log10(max(values))
            axes.set_xscale("log")
            if high - low < 3:  # else a decade has a label of its own
                ticks = sorted(set(values)) if len(set(values)) <= 8 else _spread(low, high)
                axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
                axes.minorticks_off()
        return [float(value) for value in values]
    words = sorted({_word(value) for value in values})
    axes.set_xticks(range(len(words)), words, **TEXT)
    axes.set_xlim(-0.5, max(len(words) - 0.5, 0.5))
    return [float(words.index(_word(value))) for value in values]


def _spread(low: float, high: float) -> list[float]:
    """Four numbers from 10^low to 10^high, evenly spread over a logarithmic axis."""
    return [float(f"{10 ** (low + (high - low) * part / 3):.2g}") for part in range(4)]


def _word(value: Any) -> str:
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
