"""The section of ``benchmarks/README.md`` about a GPU, from ``gpu.json``."""

from collections.abc import Iterator
from typing import Any

from benchmarks.markdown import spread_cell, table_line
from benchmarks.training.steps import PROVIDERS


def section(whole: dict[str, Any]) -> Iterator[str]:
    """The lines below the machine: what ran, and every part's table."""
    contact = whole.get("contact", {})
    wrong = [name for name, check in contact.items() if check["ok"] is False]
    ran = sum(check["ok"] is not None for check in contact.values())
    yield f"- Checks of training: {ran}, of which {len(wrong)} failed{_named(wrong)}"
    if suite := whole.get("suite"):
        passed = sum(suite[name].get("passed", 0) for name in ("gpu", "kernels") if name in suite)
        failed = suite["failed"]
        yield f"- Tests: {passed} passed, {len(failed)} failed{_named(failed)}"
    for name, part in whole["parts"].items():
        if part["exit_code"] != 0:
            why = "its time ran out" if part["exit_code"] is None else "it failed"
            yield f"- Not finished: {name}, {why} after {part['seconds']:.0f} s"
    for heading, rows, table in (
        ("A step alone", whole.get("steps"), _steps),
        ("End to end, with loading and logging", whole.get("epoch"), _epoch),
        ("`fastjvae train digits`", whole.get("recipe"), _recipe),
        ("Operations", whole.get("operations"), _operations),
    ):
        measured = [row for row in rows or () if "error" not in row]
        if measured:
            yield from ["", f"### {heading}", "", *table(measured)]


def _named(names: list[str]) -> str:
    return f": {', '.join(names)}" if names else ""


def _steps(rows: list[dict[str, Any]]) -> Iterator[str]:
    heads = ("ms a step", "images/s", "TFLOP/s", "peak, MiB", "kernels", "GPU busy, ms")
    yield table_line(["problem", "provider", *heads])
    yield table_line(["---", "---", *["--:"] * len(heads)])
    order = {name: place for place, name in enumerate(PROVIDERS)}
    problems = list(dict.fromkeys(row["problem"] for row in rows))
    for row in sorted(rows, key=lambda r: (problems.index(r["problem"]), order[r["provider"]])):
        kernels = row.get("kernels", {})
        cells = [
            spread_cell(row["ms"], 3), f"{row['images_per_s']:,.0f}", f"{row['tflops']:.2f}",
            _number(row["peak_mib"], 0), _number(kernels.get("number"), 0),
            _number(kernels.get("busy_ms"), 3),
        ]  # fmt: skip
        yield table_line([row["problem"], row["provider"], *cells])


def _epoch(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield table_line(["batches of", "steps", "settings", "images/s", "s an epoch of 60,000"])
    yield table_line(["--:", "--:", "---", "--:", "--:"])
    for row in rows:
        settings = ", ".join(f"{name} = {value}" for name, value in row["settings"].items())
        numbers = (f"{row['images_per_s']:,.0f}", f"{row['epoch_s']:.2f}")
        yield table_line(
            [f"{row['batch_size']:,}", f"{row['steps']:,}", settings or "paper's", *numbers]
        )


def _recipe(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield table_line(["seed", "seconds", "accuracy (majority)", "reconstruction, nats"])
    yield table_line(["--:"] * 4)
    for row in rows:
        numbers = (row["seconds"], row["accuracy_majority"], row["reconstruction"])
        cells = [f"{value:.{digits}f}" for value, digits in zip(numbers, (1, 3, 1), strict=True)]
        yield table_line([str(row["seed"]), *cells])


def _operations(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield table_line(["operation", "N", "dtype", "provider", "forward, us", "both passes, us"])
    yield table_line(["---", "--:", "---", "---", "--:", "--:"])
    for row in rows:
        yield table_line(
            [
                row["operation"], f"{row['rows']:,}", row["dtype"], row["provider"],
                spread_cell(row["forward_us"], 1), spread_cell(row["both_us"], 1),
            ]
        )  # fmt: skip


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:,.{decimals}f}"
