"""``benchmarks/README.md`` and its plots, from the committed results of the training benchmarks.

    python -m benchmarks.report

reads ``quick.json``, ``epoch.json``, ``step.json``, ``layers.json`` and ``gpu.json`` in
``benchmarks/results``; of a file that is not there the page says "not measured".
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import layers
from benchmarks.gpu import report as gpu
from benchmarks.markdown import spread_cell, table_line
from benchmarks.quick import LABELS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER = Path(__file__).parent
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
INTRODUCTION = """\
# What training costs

Written by `python -m benchmarks.report` from the JSON in `benchmarks/results`; `make quick`
measures a short version on your machine, `make bench-training` everything here.

Two baselines, both in `benchmarks/training/baselines.py`: **published**, the way of the paper's
authors (single pictures through torchvision's transforms in a DataLoader, noise drawn on the CPU,
cross-entropy on probabilities, Adam as it comes, every loss read in every step), and **tuned**, an
eager PyTorch model as an expert writes it (channels_last, fused Adam, uint8 images in memory by
index, cross-entropy on logits, no waiting); **compile** is `torch.compile` of the latter. fastjvae
keeps freed memory in its process (`fastjvae/allocator.py`); with `-same-allocator` the baseline
does so too.

Every provider runs in a process of its own. Blocks of some steps alternate, round after round.
Times are medians over the blocks, with quartiles in brackets; a ratio is taken within each round.
Not in any time: imports, preparing data, compilation, the first steps, checkpoints. A loss stands
beside each time: after the same number of steps from the same weights, on the same images and the
same noise (fastjvae's trainer: on its own, against itself on the reference). A disagreement with
`fastjvae.backend("reference")` beyond the tolerance of `benchmarks/training/agreement.py` ends the
measurement. Losses and KL are in nats per image; the KL of each unit is in the JSON.
"""
NOT_MEASURED = "not measured"


class ReportError(Exception):
    """A file that is no result of a benchmark; one sentence."""


# --- reading --------------------------------------------------------------------------------------


def load(path: Path) -> Any:
    """The content of a JSON file, None where it is not there.

    Raises:
        ReportError: it cannot be read.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ReportError(f"cannot read {path}: {error}") from error


def rows_of(content: Any) -> list[dict[str, Any]]:
    """What pytest-benchmark wrote: facts and times in ms, in the order of COLOURS."""
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


# --- sections -------------------------------------------------------------------------------------


def quick(results: Path) -> Iterator[str]:
    yield from ["## On one machine, briefly", ""]
    content = load(results / "quick.json")
    if content is None:
        yield f"`python -m benchmarks.quick`: {NOT_MEASURED}."
        return
    about = load(results / "quick-about.json")
    yield from _machine(about, "python -m benchmarks.quick")
    yield from ["", "| batches of 64 | median (quartiles) |", "|---|--:|"]
    for key, label in LABELS.items():
        yield table_line([label, _spread(content.get(key))])


def epoch(results: Path) -> Iterator[str]:
    yield from ["## End to end, with loading and logging", ""]
    content = load(results / "epoch.json")
    if content is None:
        yield f"`benchmarks/training/bench_epoch.py`: {NOT_MEASURED}."
        return
    rows = rows_of(content)
    loops = [row for row in rows if row["measurement"] == "end to end"]
    yield from _machine(rows[0]["environment"], "benchmarks/training/bench_epoch.py", content)
    if loops:
        yield ""
        yield (
            f"{loops[0]['images']:,} pictures of 28x28 made in memory, trained at"
            f" {loops[0]['problem']}. `fastjvae` is its trainer as the command line runs it,"
            " `fastjvae-step` the same step without loading and logging."
        )
        yield from ["", *_times(loops, ("images_per_s", "peak_mib"))]
        yield from _own_loop(loops)
    sizes = [row for row in rows if row["measurement"] == "data set size"]
    if sizes:
        yield from _sizes(sizes)
    yield from ["", "![Times end to end](results/epoch.png)"]


def _own_loop(loops: list[dict[str, Any]]) -> Iterator[str]:
    own = next((row for row in loops if row["provider"] == "fastjvae"), {})
    yield ""
    if share := own.get("loading_and_logging_share"):
        yield f"- Loading and logging in a step of fastjvae: {_percent(share)}."
    if "checkpoint_s" in own:
        yield f"- A checkpoint of fastjvae takes {1e3 * own['checkpoint_s']:.0f} ms (one run)."
    for row in loops:
        if row["provider"] in ("published", "fastjvae") and row.get("peak_mib"):
            yield (
                f"- Peak memory of training {row['images']:,} images, {row['provider']}:"
                f" {row['peak_mib']:,.0f} MiB, {row['imports_mib']:,.0f} of them before it began"
                " (PyTorch and other imports)."
            )


def _sizes(sizes: list[dict[str, Any]]) -> Iterator[str]:
    yield from ["", "fastjvae over the size of the data set:", ""]
    yield table_line(["images", "ms a step", "images/s", "to the smallest", "peak, MiB"])
    yield table_line(["--:"] * 5)
    for row in sizes:
        yield table_line(
            [
                f"{row['images']:,}", _spread(row["ms"]), f"{row['images_per_s']:,.0f}",
                _spread(row["speed_to_smallest"], 3), _number(row.get("peak_mib")),
            ]
        )  # fmt: skip
    speeds = [row["images_per_s"] for row in sizes]
    away = max(speeds) / min(speeds) - 1
    yield ""
    yield f"The fastest is {100 * away:.1f} % faster than the slowest."


def step(results: Path) -> Iterator[str]:
    yield from ["## A step alone", ""]
    content = load(results / "step.json")
    if content is None:
        yield f"`benchmarks/training/bench_step.py`: {NOT_MEASURED}."
        return
    rows = rows_of(content)
    yield from _machine(rows[0]["environment"], "benchmarks/training/bench_step.py", content)
    yield ""
    yield (
        "GFLOP/s count the multiplications and additions of convolutions and matrix products,"
        " forward and backward (`torch.utils.flop_counter`); their share is that of a product of"
        " two 2048 x 2048 float32 matrices in the same rounds."
    )
    for problem in dict.fromkeys(row["problem"] for row in rows):
        of_problem = [row for row in rows if row["problem"] == problem]
        product = of_problem[0]["matmul_gflops"]
        yield from ["", f"### {problem}", "", f"Matrix product: {product:,.0f} GFLOP/s.", ""]
        columns = ("images_per_s", "gflops", "share_of_matmul", "page_faults", "peak_mib")
        yield from _times(of_problem, (*columns, "launches", "peak_gpu_mib"))
    yield from ["", "![Times of a step](results/step.png)"]


def by_layer(results: Path) -> Iterator[str]:
    yield from ["## Convolutions, one by one", ""]
    content = load(results / "layers.json")
    if content is None:
        yield f"`python -m benchmarks.layers`: {NOT_MEASURED}."
        return
    yield from _machine(content["environment"], "python -m benchmarks.layers")
    yield ""
    yield (
        "Medians for batches of 64. The limit is the pass's operations at the rate of a product of"
        " two 2048 x 2048 matrices in the same run."
    )
    yield from ["", *layers.table(content["rows"])]


def on_a_gpu(results: Path) -> Iterator[str]:
    yield from ["## On a GPU", ""]
    content = load(results / "gpu.json")
    if content is None:
        yield f"`make gpu`: {NOT_MEASURED}."
        return
    yield from _machine(content["environment"], "make gpu")
    yield from gpu.section(content)


# --- parts of sections ----------------------------------------------------------------------------

COLUMNS = {
    "images_per_s": "images/s",
    "gflops": "GFLOP/s",
    "share_of_matmul": "of the matrix product",
    "page_faults": "page faults a step",
    "peak_mib": "peak, MiB",
    "launches": "launches",
    "peak_gpu_mib": "peak on the GPU, MiB",
}


def _machine(about: Any, script: str, content: Any = None) -> Iterator[str]:
    if about is None:
        yield f"- Script: `{script}`; the machine was not recorded"
        return
    device = about.get("device") or f"{about['processor']}, threads: {about['threads']}"
    versions = {name: about.get(name) for name in ("python", "torch", "triton", "fastjvae")}
    yield f"- Machine: {device}"
    yield f"- Versions: {', '.join(f'{name} {v}' for name, v in versions.items() if v)}"
    if content is None:
        yield f"- Script: `{script}`"
        return
    rounds = [row["stats"]["rounds"] for row in content["benchmarks"]]
    commit = content.get("commit_info", {})
    of = f", commit {commit['id'][:12]}" if commit.get("id") else ""
    dirty = " with local changes" if of and commit.get("dirty") else ""
    number = f"{min(rounds)}" if min(rounds) == max(rounds) else f"{min(rounds)} to {max(rounds)}"
    yield f"- Script: `{script}`, {number} blocks of each{of}{dirty}"


def _times(rows: list[dict[str, Any]], columns: Iterable[str]) -> Iterator[str]:
    """Baselines over fastjvae in a sentence, the weakest ratio first; then a table."""
    ratios = [row for row in rows if "times_fastjvae" in row and row["provider"] != "fastjvae-step"]
    ratios.sort(key=lambda row: row["times_fastjvae"]["median"])
    if ratios:
        parts = [f"{row['provider']} {_spread(row['times_fastjvae'])}" for row in ratios]
        yield f"Time over fastjvae's: {'; '.join(parts)}."
        yield ""
    shown = [name for name in columns if any(row.get(name) is not None for row in rows)]
    numbers = ["ms a step", *(COLUMNS[name] for name in shown)]
    results = ["steps", "loss", "KL_z", "KL_c", "reference: loss", "KL_z", "KL_c"]
    yield table_line(["provider", *numbers, *results])
    yield table_line(["---", *["--:"] * (len(numbers) + len(results))])
    for row in rows:
        cells = [_cell(name, row.get(name)) for name in shown]
        yield table_line([row["provider"], _spread(row["ms"]), *cells, *_outcomes(row)])


def _outcomes(row: dict[str, Any]) -> Iterator[str]:
    outcome = row.get("outcome")
    yield "-" if outcome is None else str(outcome["steps"])
    for values in (outcome, row.get("reference")):
        if values is None:
            yield from ["-"] * 3
        else:
            yield f"{values['loss']:.2f}"
            yield f"{sum(values['kl_cont']):.5f}"
            yield f"{sum(values['kl_disc']):.5f}"


def _cell(name: str, value: Any) -> str:
    return _percent(value) if name == "share_of_matmul" and value else _number(value)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _percent(value: dict[str, Any]) -> str:
    low, high = value["iqr"]
    return f"{100 * value['median']:.1f} % ({100 * low:.1f} - {100 * high:.1f})"


def _spread(value: dict[str, Any] | None, decimals: int = 2) -> str:
    """Median and quartiles; "not measured" of what is not there."""
    return NOT_MEASURED if value is None else spread_cell(value, decimals)


# --- plots ----------------------------------------------------------------------------------------


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


# --- command line ---------------------------------------------------------------------------------


def markdown(results: Path) -> str:
    """The whole page.

    Raises:
        ReportError: a file there is no result.
    """
    lines = [INTRODUCTION]
    for section in (quick, epoch, step, by_layer, on_a_gpu):
        try:
            lines += [*section(results), ""]
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            name = {"by_layer": "layers", "on_a_gpu": "gpu"}.get(section.__name__, section.__name__)
            raise ReportError(f"{results / name}.json holds no results: {error!r}") from error
    lines += [
        "`make bench` measures every operation (`benchmarks/operations/bench_kernels.py`);"
        " [kernels/README.md](../kernels/README.md) has what they compile to.",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=Path, default=FOLDER / "results", help="their folder")
    parser.add_argument("--out", type=Path, default=FOLDER / "README.md", help="the page")
    options = parser.parse_args(arguments)
    try:
        options.out.write_text(markdown(options.results), encoding="utf-8")
        for name, plot in (("epoch", plot_epoch), ("step", plot_steps)):
            if (content := load(options.results / f"{name}.json")) is not None:
                plot(content).savefig(options.results / f"{name}.png", dpi=150)
    except ReportError as error:
        raise SystemExit(f"error: {error}") from error
    except OSError as error:
        reason = error.strerror or error
        raise SystemExit(f"error: cannot write {error.filename}: {reason}") from error
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
