"""The KL of each latent variable during training (paper fig. 7a)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastjvae.errors import ArgumentError
from fastjvae.figures.labels import check_counts
from fastjvae.figures.page import (
    COLOURS,
    OTHERS,
    TEXT,
    Figure,
    add_plot,
    fit,
    new_page,
    title_above,
)

Records = Sequence[Mapping[str, Any]]
Series = NDArray[np.float64]  # (records, values)

_WIDTH, _HEIGHT = 450, 330  # of a panel, in pixels of the page
_BESIDE, _BELOW = 140, 130  # from one panel to the next: room for labels, axes and titles
_LABEL_HEIGHT = 20
_INACTIVE = 0.02  # of the largest KL: such units lie on the axis, where labels would pile up


def kl_growth(records: Records, *, title: str | None = None, max_units: int = 9) -> Figure:
    """KL of each latent variable during training, and their sums beside the capacities.

    Args:
        records: as in ``metrics.jsonl``: ``step``; ``kl_cont`` (Z values) and ``kl_disc`` (D
            values), empty or absent in a model without; and, where there are any,
            ``capacity_cont``, ``capacity_disc`` and ``information`` (D values), the part of
            ``kl_disc`` that tells images apart. All in nats. A line stands where ``phase`` changes.
        title: above the figure.
        max_units: number of units, and of discrete variables, with a colour and a label: the most
            informative at the end of training. The others are grey.

    Raises:
        ArgumentError: there are no records, or they do not all have the same entries.
    """
    if not records:
        raise ArgumentError("the growth of the KL needs at least one record, got none")
    check_counts(max_units=max_units)
    figure, steps = new_page(), _series(records, "step")
    panels: list[_Panel] = []
    for name, kind in (("cont", "continuous unit"), ("disc", "discrete variable")):
        kl, capacity = _series(records, f"kl_{name}"), _series(records, f"capacity_{name}")
        several = kl.shape[1] > 1
        if kl.shape[1]:
            panels.append(_Panel(figure, steps, kind.capitalize() + "s" * several))
            panels[-1].draw_units(kl, "z" if name == "cont" else "c", max_units)
            if name == "disc":
                panels[-1].draw_information(_series(records, "information"))
        if several:
            panels.append(_Panel(figure, steps, f"Sum of the {kind}s"))
            panels[-1].draw(kl.sum(axis=1), color=COLOURS[0], lw=1.6, label="sum of KL")
        if kl.shape[1] and capacity.any():
            panels[-1].draw(capacity[:, 0], color="black", lw=1.1, ls="--", label="capacity")
    if not panels:
        raise ArgumentError("the records hold neither kl_cont nor kl_disc")
    height = max(_HEIGHT, *(_LABEL_HEIGHT * len(panel.labels) for panel in panels))
    columns = 2 if len(panels) == 4 else len(panels)
    boxes = {}
    for i, panel in enumerate(panels):
        panel.draw_phases(_phases(records))
        panel.finish(height)
        row, column = divmod(i, columns)
        left, top = column * (_WIDTH + _BESIDE), row * (height + _BELOW)
        boxes[panel.axes] = (left, top, _WIDTH, height)
    if title:
        title_above(panels[0].axes, title, height)
    fit(figure, boxes)
    return figure


class _Panel:
    """Nats over training steps; coloured units have their label at the end of their line."""

    def __init__(self, figure: Figure, steps: Series, title: str) -> None:
        self.axes = add_plot(figure)
        self.steps = steps[:, 0]
        self.title = title
        self.time = "training steps"
        self.colours: dict[int, str] = {}  # of units
        self.labels: list[tuple[float, str, str]] = []  # nats at the end, text, colour

    def draw(self, values: NDArray[np.float64], **style: Any) -> None:
        if len(values) == 1:  # one value makes no line
            style |= {"marker": "o", "ms": 4, "clip_on": False}
        self.axes.plot(self.steps, values, **style)

    def draw_units(self, kl: Series, prefix: str, max_units: int) -> None:
        """Draw a line per unit, in colour those that carry most at the end."""
        ends = np.where(np.isfinite(kl[-1]), kl[-1], 0.0)
        order = np.argsort(-ends, kind="stable")[:max_units].tolist()
        active = [unit for unit in order if ends[unit] >= _INACTIVE * ends.max()]
        self.colours = {unit: COLOURS[i % len(COLOURS)] for i, unit in enumerate(active)}
        self.labels = [(ends[u], f"{prefix}{u}", self.colours[u]) for u in reversed(active)]
        for unit in range(kl.shape[1]):
            colour = self.colours.get(unit, OTHERS)
            self.draw(kl[:, unit], color=colour, lw=1.1, zorder=2 + (colour != OTHERS))
        if len(active) < kl.shape[1]:
            self.title += f" ({len(active)} of {kl.shape[1]} labelled)"

    def draw_information(self, information: Series) -> None:
        """Draw a dotted line per variable, and what dots mean."""
        for unit in range(information.shape[1]):
            self.draw(information[:, unit], color=self.colours.get(unit, OTHERS), lw=1.1, ls=":")
        if information.shape[1]:
            self.axes.plot([], [], color="0.3", lw=1.1, ls="-", label="KL")
            self.axes.plot([], [], color="0.3", lw=1.1, ls=":", label="information")

    def draw_phases(self, ends: Mapping[str, float]) -> None:
        """Draw a line at the end of each phase but the last, and name them below."""
        if len(ends) > 1:
            self.time += f": {' | '.join(ends)}"
        for step in list(ends.values())[:-1]:
            self.axes.axvline(step, color=OTHERS, lw=1.1, zorder=0)

    def finish(self, height: int) -> None:
        """Set scales and texts; ``height`` is the panel's in pixels of the page."""
        from matplotlib.ticker import MaxNLocator, StrMethodFormatter

        axes = self.axes
        largest = axes.dataLim.y1
        top = 1.06 * largest if largest > 0 else 1.0
        axes.set_xlim(0, max(self.steps[-1], 1))
        axes.set_ylim(0, top)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.set_xlabel(self.time, **TEXT)
        axes.set_ylabel("KL (nats)", **TEXT)
        axes.set_title(self.title, loc="left", **TEXT)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=TEXT["fontsize"])
        heights = _apart([nats / top for nats, _, _ in self.labels], _LABEL_HEIGHT / height)
        for y, (_, text, colour) in zip(heights, self.labels, strict=True):
            axes.text(1.02, y, text, color=colour, va="center", transform=axes.transAxes, **TEXT)


def _phases(records: Records) -> dict[str, float]:
    """The last step of each phase, by name."""
    return {record["phase"]: record["step"] for record in records if "phase" in record}


def _series(records: Records, name: str) -> Series:
    """One entry of all records: (records, values), without values where no record has it."""
    present = [name in record for record in records]
    if not any(present) and name != "step":
        return np.zeros((len(records), 0))
    if not all(present):
        raise ArgumentError(f"record {present.index(False)} has no {name!r}")
    try:  # a null is a NaN
        values = [np.atleast_1d(np.asarray(record[name], dtype=np.float64)) for record in records]
    except (TypeError, ValueError, OverflowError) as error:
        raise ArgumentError(f"{name!r} must be numbers in every record: {error}") from error
    if len({value.shape for value in values}) > 1:
        sizes = sorted({value.size for value in values})
        raise ArgumentError(f"all records must hold equally many values of {name!r}, got {sizes}")
    return np.stack(values)


def _apart(wanted: Sequence[float], distance: float) -> Sequence[float]:
    """Heights in 0..1 near the ``wanted`` ones, ascending and at least ``distance`` apart."""
    if not wanted:
        return []
    ladder = distance * np.arange(len(wanted))
    # Above the ladder, heights need only not decrease: half way between pushing up and down.
    above = np.asarray(wanted) - ladder
    pushed_up = np.maximum.accumulate(above)
    pushed_down = np.minimum.accumulate(above[::-1])[::-1]
    heights = ladder + np.clip((pushed_up + pushed_down) / 2, 0, 1 - ladder[-1])
    return heights.tolist()  # type: ignore[no-any-return]
