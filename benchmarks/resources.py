"""What every kernel needs of a GPU, compiled ahead of time for each target; no GPU is needed.

    python -m benchmarks.resources                # every production configuration, as a table
    python -m benchmarks.resources --json FILE    # every single result as JSON, too
    python -m benchmarks.resources --write FILE   # the tables into a Markdown file, too
    python -m benchmarks.resources --every        # one line for each kernel and configuration
    python -m benchmarks.resources --quick        # one configuration per kernel, dtype and target

The launchers run as in training, with stand-ins for the kernels that record each launch: what is
compiled has the types, alignments and block shapes of real launches. Exits with 1 where a kernel
spills registers, has a stack frame or needs more registers than its budget.

Instructions per element are those of the compiled code times the threads of a block over the
elements of its tiles, each loop counted once. Bytes are those of all kernels of the operation, see
`benchmarks.operations.traffic`, over the minimum.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Container, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import fastjvae
from benchmarks.environment import environment
from benchmarks.operations.workloads import DTYPES, SPECS, workloads
from fastjvae import LatentSpec
from fastjvae.files import write_bytes
from fastjvae_kernels import blocks, launch

TARGETS = {
    "sm_75": GPUTarget("cuda", 75, 32),
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_86": GPUTarget("cuda", 86, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "sm_100": GPUTarget("cuda", 100, 32),
    "sm_120": GPUTarget("cuda", 120, 32),
    "gfx90a": GPUTarget("hip", "gfx90a", 64),
    "gfx942": GPUTarget("hip", "gfx942", 64),
    "gfx1100": GPUTarget("hip", "gfx1100", 32),
}
# Registers of a thread. On NVIDIA 64 where a block has more than 512 threads, all of a
# multiprocessor's otherwise; blocks of 128 threads may have 80, with which 6 of them run at once:
# a thread of the joint kernels then holds the addresses of four elements in up to eleven matrices
# whose rows are not aligned. AMD has 512 for each lane of a SIMD: 128 leave four waves.
BUDGET = {"cuda": 80, "hip": 128}
# The specifications of the benchmarks, and those at the limits of the block shapes: the largest
# variable, also where it does not start at a multiple of 4; the most units; all rows aligned.
CONFIGURATIONS = {
    **SPECS,
    "aligned": LatentSpec(16, (16,)),
    "K=4096": LatentSpec(0, (4096,)),
    "K=4096, shifted": LatentSpec(3, (10, 4096)),
    "Z=4096": LatentSpec(4096),
}
ROWS = 1024
KERNELS = tuple(name for name, _ in inspect.getmembers(launch) if name.endswith("_kernel"))
_TYPES = {
    torch.float32: "*fp32",
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.uint8: "*u8",
    torch.int32: "*i32",
    torch.int64: "*i64",
}


class Compilation(NamedTuple):
    """A recorded launch as the compiler takes it."""

    kernel: str
    spec: str
    dtype: str
    target: str
    signature: dict[str, str]
    constants: dict[str, Any]
    attributes: dict[tuple[int, ...], list[list[Any]]]
    options: dict[str, int]


@dataclass(frozen=True)
class Resources:
    """What one kernel needs on one target."""

    target: str
    kernel: str
    spec: str
    dtype: str
    configuration: str
    registers: int  # of a thread
    stack_bytes: int
    spills: int
    scalar_spills: int  # AMD: scalar registers kept in lanes of a vector register, not in memory
    shared_bytes: int
    widest_load_bits: int
    widest_store_bits: int
    instructions_per_element: float

    @property
    def complaint(self) -> str | None:
        """What is wrong with it, or None."""
        budget = BUDGET[TARGETS[self.target].backend]
        if self.stack_bytes or self.spills:
            return f"stack frame of {self.stack_bytes} bytes, {self.spills} spills"
        if self.registers > budget:
            return f"{self.registers} registers, the budget is {budget}"
        return None


# --- recording ------------------------------------------------------------------------------------


class _Recorder:
    """Stands in for a kernel: keeps the arguments of each launch."""

    def __init__(self, kernel: Any, launches: list[tuple[Any, tuple[Any, ...], dict[str, Any]]]):
        self.kernel, self.launches = kernel, launches

    def __getitem__(self, _grid: tuple[int, ...]) -> Any:
        return lambda *args, **options: self.launches.append((self.kernel, args, options))


@contextmanager
def recorded(lanes: int) -> Iterator[list[tuple[Any, tuple[Any, ...], dict[str, Any]]]]:
    """Launches inside the block as (kernel, arguments, options), for warps of so many lanes."""
    launches: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
    with ExitStack() as stack:
        for name in KERNELS:
            stand_in = _Recorder(getattr(launch, name), launches)
            stack.enter_context(patch.object(launch, name, stand_in))
        stack.enter_context(patch.object(blocks, "_lanes", lambda _device: lanes))
        stack.enter_context(patch("fastjvae.functional.backends.choice._interpreted", lambda: True))
        stack.enter_context(fastjvae.backend("triton"))
        yield launches


def compilations(
    spec: str, dtype: str, target: str, operations: Container[str] | None = None
) -> Iterator[Compilation]:
    """Every launch of the operations, forward and backward."""
    for workload in workloads(CONFIGURATIONS[spec], ROWS, DTYPES[dtype]):
        if operations is not None and workload.operation not in operations:
            continue
        with recorded(TARGETS[target].warp_size) as launches:
            outputs = workload.run(*workload.inputs)
            torch.autograd.grad(outputs, workload.inputs, [torch.zeros_like(o) for o in outputs])
        for kernel, arguments, options in launches:
            yield _compilation(kernel, arguments, options, spec, dtype, target)


def _compilation(
    kernel: Any,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    spec: str,
    dtype: str,
    target: str,
) -> Compilation:
    """What Triton would specialise on at this launch: ones, multiples of 16, aligned pointers."""
    signature: dict[str, str] = {}
    constants = {name: value for name, value in options.items() if name in kernel.arg_names}
    attributes: dict[tuple[int, ...], list[list[Any]]] = {}
    parameters = dict(zip(kernel.arg_names, kernel.params, strict=True))
    for index, (name, value) in enumerate(zip(kernel.arg_names, arguments, strict=False)):
        specialise = not parameters[name].do_not_specialize
        divisible = False
        if isinstance(value, Tensor):
            signature[name] = _TYPES[value.dtype]
            divisible = value.data_ptr() % 16 == 0
        elif isinstance(value, float):
            signature[name] = "fp32"
        elif value == 1 and specialise:
            constants[name] = 1
        else:
            signature[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            divisible = specialise and value % 16 == 0
        found = [["tt.divisibility", 16]] if divisible else []
        if isinstance(value, Tensor) and TARGETS[target].backend == "hip":
            found.append(["tt.pointer_range", 32])  # below 2 GiB, as every array here
        if found:
            attributes[(index,)] = found
    signature = {name: signature.get(name, "constexpr") for name in kernel.arg_names}
    rest = {name: value for name, value in options.items() if name not in constants}
    name = kernel.fn.__name__
    return Compilation(name, spec, dtype, target, signature, constants, attributes, rest)


# --- compiling ------------------------------------------------------------------------------------


def resources(job: Compilation) -> Resources:
    """Compile and read what the assembler says."""
    target = TARGETS[job.target]
    source = ASTSource(getattr(launch, job.kernel), job.signature, job.constants, job.attributes)
    compiled = triton.compile(source, target=target, options=job.options)
    read = _read_cubin if target.backend == "cuda" else _read_amdgcn
    found = read(compiled.asm)
    tiles = {name: value for name, value in job.constants.items() if name.startswith("BLOCK")}
    threads = job.options["num_warps"] * target.warp_size
    rows = tiles.get("BLOCK_N", job.constants.get("ROWS", 1))
    elements = rows * sum(size for name, size in tiles.items() if name != "BLOCK_N")
    flags = [name for name, value in job.constants.items() if value is True]
    configuration = " ".join([*(f"{n[6:] or 'B'}{v}" for n, v in tiles.items()), *flags])
    return Resources(
        job.target,
        job.kernel.removesuffix("_kernel"),
        job.spec,
        job.dtype,
        f"{configuration} {job.options['num_warps']} warps",
        shared_bytes=compiled.metadata.shared,
        instructions_per_element=found.pop("instructions") * threads / elements,
        **found,
    )


def _read_cubin(asm: dict[str, Any]) -> dict[str, Any]:
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(asm["cubin"])
        usage = _output(tools / "cuobjdump", "--dump-resource-usage", path)
        code = _output(tools / "nvdisasm", "-c", path)
    instructions = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]+)", code)

    def widest(access: str) -> int:
        widths = [
            int(width[1]) if (width := re.search(r"\.(64|128|256)\b", name)) else 32
            for name in instructions
            if name.startswith(access)
        ]
        return max(widths, default=0)

    return {
        "registers": int(re.search(r"REG:(\d+)", usage)[1]),  # type: ignore[index]
        "stack_bytes": int(re.search(r"STACK:(\d+)", usage)[1]),  # type: ignore[index]
        "spills": sum(name.startswith(("LDL", "STL")) for name in instructions),
        "scalar_spills": 0,
        "instructions": len(instructions),
        "widest_load_bits": widest("LDG"),
        "widest_store_bits": widest("STG"),
    }


def _read_amdgcn(asm: dict[str, Any]) -> dict[str, Any]:
    text = asm["amdgcn"]

    def metadata(name: str) -> int:
        return int(re.search(rf"\.{name}:\s*(\d+)", text)[1])  # type: ignore[index]

    instructions = re.findall(r"^\t([vs]_\w+|global_\w+|buffer_\w+|ds_\w+|flat_\w+)", text, re.M)

    def widest(access: str) -> int:
        widths = [
            32 * int(width[1]) if (width := re.search(r"(?:dwordx|_b)(2|3|4)$", name)) else 32
            for name in instructions
            if re.match(rf"(global|buffer|flat)_{access}", name)
        ]
        wide = [int(w) for n in instructions for w in re.findall(rf"_{access}_b(64|96|128)$", n)]
        return max([*widths, *wide], default=0)

    return {
        "registers": metadata("vgpr_count"),
        "stack_bytes": metadata("private_segment_fixed_size"),
        "spills": metadata("vgpr_spill_count"),
        "scalar_spills": metadata("sgpr_spill_count"),
        "instructions": len(instructions),
        "widest_load_bits": widest("load"),
        "widest_store_bits": widest("store"),
    }


def _output(*command: object) -> str:
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True)
    return result.stdout


# --- the table ------------------------------------------------------------------------------------


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
                *(
                    _range([getattr(row, name) for row in group])
                    for name in (
                        "registers",
                        "stack_bytes",
                        "spills",
                        "scalar_spills",
                        "shared_bytes",
                    )
                ),
                f"{max(row.widest_load_bits for row in group)},"
                f" {max(row.widest_store_bits for row in group)}",
                _range([round(row.instructions_per_element) for row in group]),
            ]
            lines.append(f"| {' | '.join([kernel, target, *cells])} |")
    return "\n".join(lines)


def every_configuration(rows: list[Resources]) -> str:
    """One Markdown line per compiled kernel."""
    names = [field.name for field in fields(Resources)]
    lines = [
        f"| {' | '.join(name.replace('_', ' ') for name in names)} |", "|---" * len(names) + "|"
    ]  # fmt: skip
    for row in rows:
        cells = [getattr(row, name) for name in names]
        cells = [f"{cell:.0f}" if isinstance(cell, float) else str(cell) for cell in cells]
        lines.append(f"| {' | '.join(cells)} |")
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


def _between_marks(path: Path, text: str) -> None:
    """Replace what stands between the comments that mark the generated part."""
    before, mark, rest = path.read_text().partition("<!-- resources: generated")
    comment, _, after = rest.partition("<!-- end of resources -->")
    if not after:
        raise SystemExit(f"{path} has no comments that mark the place of the tables")
    first_line = comment.split("\n", 1)[0]
    path.write_text(f"{before}{mark}{first_line}\n\n{text}\n\n<!-- end of resources -->{after}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="also write every single result there")
    parser.add_argument("--every", action="store_true", help="print every configuration")
    parser.add_argument("--quick", action="store_true", help="the MNIST specification alone")
    parser.add_argument("--write", type=Path, help="put the tables into this Markdown file")
    arguments = parser.parse_args()
    if launch.INTERPRETED:
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
        _between_marks(arguments.write, text)
    print(every_configuration(rows) if arguments.every else text)
    for complaint in bad:
        print(complaint, file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
