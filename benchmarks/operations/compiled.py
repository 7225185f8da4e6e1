"""The kernels compiled ahead of time for each target, and what the compiled code needs.

The launchers run as in training, with stand-ins for the kernels that record each launch: what is
compiled has the types, alignments and block shapes of real launches. No GPU is needed.
"""

import re
import subprocess
import tempfile
from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

import fastjvae
from benchmarks import stand_ins
from benchmarks.operations.networks import network_workloads
from benchmarks.operations.workloads import (
    DTYPES,
    SPECS,
    Workload,
    workloads,
    workloads_without_gradients,
)
from fastjvae import LatentSpec

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
# variable, also where it does not start at a multiple of 4; the most units; all rows aligned; the
# largest head of shared information.
CONFIGURATIONS = {
    **SPECS,
    "aligned": LatentSpec(16, (16,)),
    "K=4096": LatentSpec(0, (4096,)),
    "K=4096, shifted": LatentSpec(3, (10, 4096)),
    "Z=4096": LatentSpec(4096),
    "K=256": LatentSpec(3, (10, 256)),
}
ROWS = 1024
KERNELS = stand_ins.kernels()
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


class Launch(NamedTuple):
    """A kernel, and what its launcher called it with."""

    kernel: Any
    arguments: tuple[Any, ...]
    options: dict[str, Any]


class _Recorder:
    """A stand-in for a kernel, which keeps each launch."""

    def __init__(self, kernel: Any, launches: list[Launch]) -> None:
        self.kernel, self.launches = kernel, launches

    def __getitem__(self, _grid: tuple[int, ...]) -> Any:
        return lambda *args, **options: self.launches.append(Launch(self.kernel, args, options))


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """The launches inside the block, on CPU tensors."""
    launches: list[Launch] = []
    recorders = {name: _Recorder(kernel, launches) for name, kernel in KERNELS.items()}
    with (
        stand_ins.replaced(stand_ins.KERNELS, **recorders),
        # Interpreted kernels take CPU tensors; nothing is interpreted here.
        stand_ins.replaced("fastjvae.functional", interpreted=lambda: True),
        fastjvae.backend("triton"),
    ):
        yield launches


def compilations(
    spec: str, dtype: str, target: str, operations: Container[str] | None = None
) -> Iterator[Compilation]:
    """Every launch of the operations, forward and backward."""
    for workload in _workloads(spec, DTYPES[dtype]):
        if operations is not None and workload.operation not in operations:
            continue
        with recorded() as launches:
            outputs = workload.run(*workload.inputs)
            if outputs:
                upstream = [torch.zeros_like(output) for output in outputs]
                torch.autograd.grad(outputs, workload.inputs, upstream)
        for launch in launches:
            yield _compilation(launch, spec, dtype, target)


def _workloads(spec: str, dtype: torch.dtype) -> Iterator[Workload]:
    """Every operation; the networks, which hardly depend on the latent variables, once."""
    problem = (CONFIGURATIONS[spec], ROWS, dtype)
    yield from workloads(*problem)
    yield from workloads_without_gradients(*problem)
    if spec == "mnist":
        yield from network_workloads(ROWS, dtype, "meta")


def _compilation(launch: Launch, spec: str, dtype: str, target: str) -> Compilation:
    """What Triton would specialise on at this launch: ones, multiples of 16, aligned pointers."""
    kernel, arguments, options = launch
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
    # Where there is no GPU, launchers count warps of 32 threads.
    rest["num_warps"] = max(1, rest["num_warps"] * 32 // TARGETS[target].warp_size)
    name = kernel.fn.__name__
    return Compilation(name, spec, dtype, target, signature, constants, attributes, rest)


# --- compiling ------------------------------------------------------------------------------------


def resources(job: Compilation) -> Resources:
    """Compile and read what the assembler says."""
    target = TARGETS[job.target]
    source = ASTSource(KERNELS[job.kernel], job.signature, job.constants, job.attributes)
    compiled = triton.compile(source, target=target, options=job.options)
    read = _read_cubin if target.backend == "cuda" else _read_amdgcn
    found = read(compiled.asm)
    tiles = {name: value for name, value in job.constants.items() if name.startswith("BLOCK")}
    threads = job.options["num_warps"] * target.warp_size
    if "BLOCK_P" in tiles:  # pixels and channels
        elements = tiles["BLOCK_P"] * tiles["BLOCK_C"]
    else:
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
