"""Registers, stack, shared memory and bytes of every kernel on each target, without a GPU.

    python -m benchmarks.resources                # every production configuration, as a table
    python -m benchmarks.resources --json FILE    # every single result as JSON, too
    python -m benchmarks.resources --write FILE   # the tables into a Markdown file, too
    python -m benchmarks.resources --every        # one line for each kernel and configuration
    python -m benchmarks.resources --quick        # one configuration per kernel, dtype and target

Exits with 1 where a kernel spills registers, has a stack frame or needs more registers than its
budget (:mod:`benchmarks.operations.compiled`).

Instructions per element are those of the compiled code times the threads of a block over the
elements of its tiles, each loop counted once. Bytes are those of all kernels of the operation
(:mod:`benchmarks.operations.traffic`), over the minimum.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Container, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from pathlib import Path

from benchmarks.environment import environment
from benchmarks.markdown import table_line, write_between_marks
from benchmarks.operations.compiled import (
    CONFIGURATIONS,
    TARGETS,
    Compilation,
    Resources,
    compilations,
    resources,
)
from benchmarks.operations.workloads import DTYPES
from fastjvae.files import write_bytes
from fastjvae.functional.backends.choice import interpreted

_RANGES = ("registers", "stack_bytes", "spills", "scalar_spills", "shared_bytes")


def survey(
    specs: Iterable[str],
    dtypes: Iterable[str],
    targets: Iterable[str],
    operations: Container[str] | None = None,
) -> list[Resources]:
    """Resources of every kernel that the operations (None: all of them) launch.

    What several specifications have in common is compiled and listed once.
    """
    dtypes, targets = tuple(dtypes), tuple(targets)
    jobs: dict[str, Compilation] = {}
    for spec in specs:
        for dtype in dtypes:
            for target in targets:
                for job in compilations(spec, dtype, target, operations):
                    jobs.setdefault(repr(job._replace(spec="", dtype="")), job)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(resources, jobs.values(), chunksize=4))


def count_traffic() -> dict[str, dict[str, dict[str, float]]]:
    """What :mod:`benchmarks.operations.traffic` counts, in a process with the interpreter."""
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.operations.traffic"],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def table(rows: list[Resources]) -> str:
    """One Markdown line per kernel and target: ranges over data types and specifications."""
    lines = [
        "| kernel | target | compiled | registers | stack | spills | scalar spills |"
        " shared, bytes | widest load, store, bits | instructions per element |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for kernel in dict.fromkeys(row.kernel for row in rows):
        for target in TARGETS:
            group = [row for row in rows if (row.kernel, row.target) == (kernel, target)]
            cells = [
                str(len(group)),
                *(_range([getattr(row, name) for row in group]) for name in _RANGES),
                f"{max(row.widest_load_bits for row in group)},"
                f" {max(row.widest_store_bits for row in group)}",
                _range([round(row.instructions_per_element) for row in group]),
            ]
            lines.append(table_line([kernel, target, *cells]))
    return "\n".join(lines)


def every_configuration(rows: list[Resources]) -> str:
    """One Markdown line per compiled kernel."""
    names = [field.name for field in fields(Resources)]
    lines = [table_line(name.replace("_", " ") for name in names), "|---" * len(names) + "|"]
    for row in rows:
        cells = [getattr(row, name) for name in names]
        cells = [f"{cell:.0f}" if isinstance(cell, float) else str(cell) for cell in cells]
        lines.append(table_line(cells))
    return "\n".join(lines)


def traffic_table(traffic: dict[str, dict[str, dict[str, float]]]) -> str:
    """Bytes per image of every operation and specification, fp32 with uint8 targets."""
    lines = [
        "| operation | latents | forward, bytes per image | to the minimum | backward, bytes per"
        " image | to the minimum | both to the minimum |",
        "|---|---|---|---|---|---|---|",
    ]
    for spec, operations in traffic.items():
        for name, counted in operations.items():
            lines.append(
                f"| {name} | {spec} | {counted['forward_bytes']:,.0f} |"
                f" {counted['forward_to_minimum']:.3f} | {counted['backward_bytes']:,.0f} |"
                f" {counted['backward_to_minimum']:.3f} | {counted['to_minimum']:.3f} |"
            )
    return "\n".join(lines)


def _listed(complaints: list[str]) -> list[str]:
    """A list of them; nothing where there are none."""
    if not complaints:
        return []
    return ["Beyond the budget:", "\n".join(f"- {complaint}" for complaint in complaints)]


def _range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}-{high}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="also write every single result there")
    parser.add_argument("--every", action="store_true", help="print every configuration")
    parser.add_argument("--quick", action="store_true", help="the MNIST specification alone")
    parser.add_argument("--write", type=Path, help="put the tables into this Markdown file")
    arguments = parser.parse_args()
    if interpreted():
        raise SystemExit("kernels are compiled here: unset TRITON_INTERPRET")

    specs = ["mnist"] if arguments.quick else list(CONFIGURATIONS)
    rows = survey(specs, DTYPES, TARGETS)
    traffic = count_traffic()
    about = environment()
    if arguments.json:
        columns = [field.name for field in fields(Resources)]
        result = {
            "about": about,
            "columns": columns,
            "resources": [[getattr(row, name) for name in columns] for row in rows],
            "traffic": traffic,
        }
        write_bytes(arguments.json, json.dumps(result).encode())  # thousands of rows: no indents
    versions = f"Triton {about['triton']}, PyTorch {about['torch']}."
    bad = [
        f"{row.kernel} on {row.target}, {row.spec}, {row.dtype}: {row.complaint}"
        for row in rows
        if row.complaint
    ]
    text = "\n\n".join([versions, *_listed(bad), table(rows), traffic_table(traffic)])
    if arguments.write:
        write_between_marks(
            arguments.write, text, "<!-- resources: generated", "<!-- end of resources -->"
        )
    print(every_configuration(rows) if arguments.every else text)
    for complaint in bad:
        print(complaint, file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
