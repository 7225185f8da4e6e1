"""Sections of ``benchmarks/README.md`` about training: lines of Markdown from a file of results."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from benchmarks import layers
from benchmarks.markdown import spread_cell, table_line
from benchmarks.quick import LABELS
from benchmarks.training.plots import rows_of

NOT_MEASURED = "not measured"
PARTS = "python -m benchmarks.training.parts"
EPOCH, STEP = "benchmarks/training/bench_epoch.py", "benchmarks/training/bench_step.py"


def quick(content: Mapping[str, Any], about: Any) -> Iterator[str]:
    """From ``quick.json``, and ``quick-about.json`` where there is one."""
    yield from machine(about, "python -m benchmarks.quick")
    yield from ["", "| batches of 64 | median (quartiles) |", "|---|--:|"]
    for key, label in LABELS.items():
        yield table_line([label, _spread(content.get(key))])


def epoch(content: Any) -> Iterator[str]:
    """From ``epoch.json``."""
    rows = rows_of(content)
    loops = [row for row in rows if row["measurement"] == "end to end"]
    yield from machine(rows[0]["environment"], EPOCH, content)
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


def step(content: Any) -> Iterator[str]:
    """From ``step.json``."""
    rows = rows_of(content)
    yield from machine(rows[0]["environment"], STEP, content)
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


def by_layer(content: Any) -> Iterator[str]:
    """From ``layers.json``."""
    yield from machine(content["environment"], "python -m benchmarks.layers")
    yield ""
    yield (
        "Medians for batches of 64. The limit is the pass's operations at the rate of a product of"
        " two 2048 x 2048 matrices in the same run."
    )
    yield from ["", *layers.table(content["rows"])]


def parts(content: Any) -> Iterator[str]:
    """From ``parts.json``."""
    yield from machine(content["environment"], PARTS)
    yield ""
    yield (
        "32x32x1, one thread, in ms. A step of two images is the fixed cost. The limit of what"
        " multiplies is its operations at the rate of a product of two 2048 x 2048 float32"
        " matrices, that of Adam its bytes at the rate of a copy."
    )
    kinds = list(dict.fromkeys(map(_kind, content["parts"])))
    yield from ["", table_line(["part", *(f"B = {b}, {p}" for b, p in kinds), "limit at B = 64"])]
    yield table_line(["---", *["--:"] * (len(kinds) + 1)])
    for name in dict.fromkeys(row["part"] for row in content["parts"]):
        rows = {_kind(row): row for row in content["parts"] if row["part"] == name}
        limit = rows[kinds[-1]]["limit_ms"]
        cells = [_spread(rows[kind]["ms"]) for kind in kinds]
        yield table_line([name, *cells, "-" if limit is None else f"{limit:.2f}"])
    sums = [
        sum(row["ms"]["median"] for row in content["parts"] if _kind(row) == kind) for kind in kinds
    ]
    least = sum(row["limit_ms"] or 0.0 for row in content["parts"] if _kind(row) == kinds[-1])
    yield table_line(["together", *(f"{ms:.2f}" for ms in sums), f"{least:.2f}"])
    yield from ["", "What was tried for single parts, in turns with what is there:", ""]
    yield table_line(["part", "form", "ms"])
    yield table_line(["---", "---", "--:"])
    for row in content["tries"]:
        yield table_line([row["part"], row["form"], _spread(row["ms"], 3)])


def _kind(row: dict[str, Any]) -> tuple[int, str]:
    return row["batch_size"], row["precision"]


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


def machine(about: Any, script: str, content: Any = None) -> Iterator[str]:
    """Where and how it was measured; with the blocks of what pytest-benchmark wrote."""
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
