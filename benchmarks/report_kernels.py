"""A Markdown table and a plot of what ``benchmarks/operations/bench_kernels.py`` measured.

    python -m benchmarks.report_kernels kernels.json --out reports

writes ``reports/kernels.md`` and ``reports/kernels.png``, named after the JSON file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.markdown import table_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCRIPT = "benchmarks/operations/bench_kernels.py"
DIRECTIONS = ("forward", "backward", "both")
# In the order of the table's columns. Colours from Paul Tol's "muted" scheme, which can be told
# apart with any colour blindness.
STYLES = {
    "eager": ("#332288", "o"),
    "compile": ("#CC6677", "s"),
    "compile-reduce-overhead": ("#DDCC77", "D"),
    "kernels": ("#117733", "^"),
    "kernels-cudagraph": ("#44AA99", "v"),
}


class ReportError(Exception):
    """A file that is no result of the benchmark; one sentence."""


class Case(NamedTuple):
    """The inputs that every provider was given."""

    operation: str
    direction: str
    spec: str
    rows: int
    dtype: str


class Time(NamedTuple):
    """The time of one provider, in microseconds."""

    median: float
    iqr: float
    rounds: int
    percent_of_copy_bandwidth: float | None


class Measured(NamedTuple):
    """The content of a file of measurements."""

    times: dict[Case, dict[str, Time]]  # by provider, in the order of the file
    environment: dict[str, Any]
    copy_bandwidth: float | None  # bytes per second
    commit: str | None
    on_gpu: bool

    @property
    def providers(self) -> list[str]:
        return [name for name in STYLES if any(name in by_name for by_name in self.times.values())]


# --- reading --------------------------------------------------------------------------------------


def load(path: Path) -> Measured:
    """Read what ``--benchmark-json`` wrote.

    Raises:
        ReportError: the file cannot be read, or is not from this benchmark.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ReportError(f"{path} is not a JSON file: {error}") from error
    foreign = ReportError(
        f"{path} holds no results of {SCRIPT}; write them with"
        f" `python -m pytest {SCRIPT} --benchmark-json={path.name}`"
    )
    try:
        rows = [row for row in content["benchmarks"] if "operation" in row["extra_info"]]
        if not rows:
            raise foreign
        times: dict[Case, dict[str, Time]] = {}
        for row in rows:
            case = Case(*(row["extra_info"][name] for name in Case._fields))
            times.setdefault(case, {})[row["extra_info"]["provider"]] = _time(row)
        first = rows[0]
        return Measured(
            times,
            first["extra_info"]["environment"],
            first["extra_info"].get("copy_bandwidth"),
            _commit(content.get("commit_info", {})),
            first["options"]["timer"] == "EventTimer",
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise foreign from error


def _time(row: dict[str, Any]) -> Time:
    stats = row["stats"]
    return Time(
        1e6 * stats["median"],
        1e6 * stats["iqr"],
        stats["rounds"],
        row["extra_info"].get("percent_of_copy_bandwidth"),
    )


def _commit(info: dict[str, Any]) -> str | None:
    name = info.get("id")
    return f"{name[:12]} with local changes" if name and info.get("dirty") else name and name[:12]


# --- table ----------------------------------------------------------------------------------------


def markdown(measured: Measured) -> str:
    """Where and how it was measured, and one line for each case."""
    return "\n".join([*_head(measured), "", *_table(measured)]) + "\n"


def _head(measured: Measured) -> Iterator[str]:
    about = measured.environment
    device = about.get("device") or f"{about['processor']}, threads: {about['threads']}"
    versions = {name: about.get(name) for name in ("python", "torch", "triton", "runtime")}
    commit = f", commit {measured.commit}" if measured.commit else ""
    clock = (
        "CUDA events, cold L2 cache" if measured.on_gpu else "the host's clock, with warm caches"
    )
    rounds = [time.rounds for by_name in measured.times.values() for time in by_name.values()]
    yield "# Times of the operations"
    yield ""
    yield f"- Device: {device}"
    yield f"- Versions: {', '.join(f'{name} {v}' for name, v in versions.items() if v)}"
    yield f"- fastjvae {about['fastjvae']}{commit}"
    yield f"- Script: `{SCRIPT}`, {min(rounds):,} to {max(rounds):,} rounds by {clock}"
    if measured.copy_bandwidth:
        yield f"- Copy bandwidth: {measured.copy_bandwidth / 1e9:,.0f} GB/s, read and written"
    yield ""
    yield (
        "Times are medians in µs, with the interquartile range in brackets, without compilation and"
        " capture. A ratio above 1 says that the kernels take less time; `compile` is the faster of"
        " the compiled ones. The last column is the kernels' rate on the bytes that any"
        " implementation must move."
    )


def _table(measured: Measured) -> Iterator[str]:
    header = [
        "operation", "pass", "spec", "N", "dtype", *measured.providers,
        "compile / kernels", "eager / kernels", "kernels, % of copy bandwidth",
    ]  # fmt: skip
    yield table_line(header)
    yield table_line(["---", "---", "---", "--:", "---", *["--:"] * (len(header) - 5)])
    for case, by_name in measured.times.items():
        kernels = by_name.get("kernels")
        percent = kernels and kernels.percent_of_copy_bandwidth
        yield table_line(
            [
                case.operation, case.direction, case.spec, f"{case.rows:,}", case.dtype,
                *(_cell(by_name.get(name)) for name in measured.providers),
                _ratio(by_name, ("compile", "compile-reduce-overhead")),
                _ratio(by_name, ("eager",)),
                "-" if percent is None else f"{percent:.0f}",
            ]
        )  # fmt: skip


def _cell(time: Time | None) -> str:
    return "-" if time is None else f"{_three_digits(time.median)} ({_three_digits(time.iqr)})"


def _three_digits(microseconds: float) -> str:
    """12,345, 123, 12.3, 1.23."""
    decimals = 0 if microseconds >= 99.95 else 1 if microseconds >= 9.995 else 2
    return f"{microseconds:,.{decimals}f}"


def _ratio(by_name: dict[str, Time], baselines: Iterable[str]) -> str:
    """The fastest baseline's median over the kernels'."""
    medians = [by_name[name].median for name in baselines if name in by_name]
    if not medians or "kernels" not in by_name:
        return "-"
    return f"{min(medians) / by_name['kernels'].median:.2f}"


# --- plot -----------------------------------------------------------------------------------------


def plot(measured: Measured, spec: str, dtype: str) -> Figure:
    """Medians over N for one specification and dtype: operations in rows, passes in columns.

    Raises:
        ReportError: nothing was measured for them.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

    chosen = {
        case: by_name
        for case, by_name in measured.times.items()
        if (case.spec, case.dtype) == (spec, dtype)
    }
    if not chosen:
        found = sorted({f"{case.spec} {case.dtype}" for case in measured.times})
        raise ReportError(f"nothing was measured for {spec} {dtype}, only {', '.join(found)}")
    operations = list(dict.fromkeys(case.operation for case in chosen))
    directions = [name for name in DIRECTIONS if name in {case.direction for case in chosen}]
    sizes = sorted({case.rows for case in chosen})

    height = 1.2 + 1.9 * len(operations)
    figure = Figure(figsize=(1 + 3.2 * len(directions), height), layout="constrained")
    panels = figure.subplots(
        len(operations), len(directions), sharex=True, sharey="row", squeeze=False
    )
    for row, operation in enumerate(operations):
        for column, direction in enumerate(directions):
            panel = panels[row, column]
            for provider, (colour, marker) in STYLES.items():
                medians = {
                    case.rows: by_name[provider].median
                    for case, by_name in chosen.items()
                    if (case.operation, case.direction) == (operation, direction)
                    and provider in by_name
                }
                if medians:
                    xs = sorted(medians)
                    ys = [medians[x] for x in xs]
                    panel.plot(xs, ys, color=colour, marker=marker, markersize=5, label=provider)
            panel.set_xscale("log", base=2)
            panel.set_yscale("log")
            panel.set_xlim(sizes[0] / 2, sizes[-1] * 2)
            panel.xaxis.set_major_locator(FixedLocator(sizes))
            panel.xaxis.set_minor_locator(NullLocator())
            panel.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_minor_locator(NullLocator())
            panel.yaxis.set_major_formatter(FuncFormatter(lambda time, _: f"{time:,g}"))
            panel.grid(alpha=0.3)
            panel.set_title(f"{operation}, {direction}", fontsize=9)
        panels[row, 0].set_ylabel("median, µs")
    for panel in panels[-1]:
        panel.set_xlabel("N, images")
    figure.align_ylabels(panels[:, 0])
    lines = {line.get_label(): line for panel in panels.flat for line in panel.get_lines()}
    names = [name for name in STYLES if name in lines]
    device = measured.environment.get("device") or measured.environment["processor"]
    figure.legend(
        [lines[name] for name in names],
        names,
        title=f"{spec}, {dtype}; {device}",
        loc="outside upper center",
        ncols=min(len(names), len(directions)),
        frameon=False,
    )
    return figure


# --- command line ---------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("json", type=Path, help="what --benchmark-json wrote")
    parser.add_argument("--out", type=Path, help="folder of the report; by default the JSON's")
    parser.add_argument("--spec", help="specification of the plot; by default the file's first")
    parser.add_argument("--dtype", help="dtype of the plot; by default the file's first")
    options = parser.parse_args(arguments)
    try:
        measured = load(options.json)
        first = next(iter(measured.times))
        figure = plot(measured, options.spec or first.spec, options.dtype or first.dtype)
        folder = options.out or options.json.parent
        table, picture = (folder / f"{options.json.stem}.{suffix}" for suffix in ("md", "png"))
        folder.mkdir(parents=True, exist_ok=True)
        table.write_text(markdown(measured), encoding="utf-8")
        figure.savefig(picture, dpi=150)
    except ReportError as error:
        raise SystemExit(f"error: {error}") from error
    except OSError as error:
        raise SystemExit(
            f"error: cannot write {error.filename or folder}: {error.strerror or error}"
        ) from error
    print(f"wrote {table} and {picture}")


if __name__ == "__main__":
    main()
