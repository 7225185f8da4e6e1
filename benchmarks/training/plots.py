"""Plots of the times of a training step, and of training end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# In the order of tables and bars.
# Paul Tol's "muted" scheme, which can be told apart with any colour blindness.
COLOURS = {
    "published": "#882255",
    "tuned": "#332288",
    "tuned-same-allocator": "#88CCEE",
    "compile": "#CC6677",
    "compile-same-allocator": "#DDCC77",
    "compile-reduce-overhead": "#999933",
    "fastjvae": "#117733",
    "fastjvae-cudagraph": "#44AA99",
    "fastjvae-step": "#44AA99",
}


def rows_of(content: Any) -> list[dict[str, Any]]:
    """Facts and times in ms of what pytest-benchmark wrote, in the order of COLOURS."""
    rows = [
        {
            **row["extra_info"],
            "ms": {
                "median": 1e3 * row["stats"]["median"],
                "iqr": [1e3 * row["stats"]["q1"], 1e3 * row["stats"]["q3"]],
            },
        }
        for row in content["benchmarks"]
    ]
    order = {provider: place for place, provider in enumerate(COLOURS)}
    return sorted(rows, key=lambda row: order.get(row["provider"], len(order)))


def plot_steps(content: Any) -> Figure:
    """A panel of bars for each problem."""
    rows = rows_of(content)
    problems = list(dict.fromkeys(row["problem"] for row in rows))
    columns = min(3, len(problems))
    figure, panels = _panels(-(-len(problems) // columns), columns)
    for panel, problem in zip(panels, problems, strict=False):
        _bars(panel, [row for row in rows if row["problem"] == problem])
        panel.set_title(problem, fontsize=10)
    for panel in panels[len(problems) :]:
        panel.set_visible(False)
    return figure


def plot_epoch(content: Any) -> Figure:
    """Bars of the loops, and speed over the size of the data set."""
    rows = rows_of(content)
    figure, (left, right) = _panels(1, 2)
    _bars(left, [row for row in rows if row["measurement"] == "end to end"])
    left.set_title("end to end", fontsize=10)
    sizes = [row for row in rows if row["measurement"] == "data set size"]
    speeds = [row["images_per_s"] for row in sizes]
    right.plot([row["images"] for row in sizes], speeds, marker="o", color=COLOURS["fastjvae"])
    right.set_xscale("log")
    right.set_ylim(0, 1.2 * max(speeds, default=1.0))
    right.set_xlabel("images in the data set")
    right.set_ylabel("images/s of fastjvae")
    right.grid(alpha=0.3)
    return figure


def _panels(rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * columns, 0.4 + 2.6 * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _bars(panel: Axes, rows: list[dict[str, Any]]) -> None:
    """Medians with quartiles, the first row on top."""
    names = [row["provider"] for row in rows]
    medians = [row["ms"]["median"] for row in rows]
    below = [row["ms"]["median"] - row["ms"]["iqr"][0] for row in rows]
    above = [row["ms"]["iqr"][1] - row["ms"]["median"] for row in rows]
    colours = [COLOURS.get(name, "#999999") for name in names]
    panel.barh(names, medians, xerr=[below, above], color=colours)
    panel.invert_yaxis()
    panel.set_xlabel("ms a step")
    panel.grid(axis="x", alpha=0.3)
