"""The kernels' operations beside PyTorch eager and compiled, for the paper's MNIST latents."""

from typing import Any

import torch

from benchmarks.gpu.parts import Deadline, Save, say
from benchmarks.gpu.timing import in_turns
from benchmarks.operations.providers import (
    CUDA,
    DEVICE,
    PROVIDERS,
    begin_step,
    passes_of,
    problem_of,
)
from benchmarks.operations.workloads import DTYPES, SPECS, Workload, workloads

_ROWS = (1_024, 64, 16_384) if CUDA else (4,)
# Compiling takes seconds each.
_COMPILED = {"joint_latent", "joint_loss"}
_COMPILE_LEAST_S = 20.0
_TURNS, _BLOCK_S = (7, 0.02) if CUDA else (2, 0.001)


def measure(save: Save, until: Deadline) -> None:
    """Measure forward and both passes, the most important sizes first, as far as the time goes."""
    rows: list[dict[str, Any]] = []
    for dtype in ("fp32", "bf16") if CUDA else ("fp32",):
        for number in _ROWS:
            for workload in workloads(SPECS["mnist"], number, DTYPES[dtype], DEVICE):
                if until.left_s < 1:
                    return
                names = [name for name in PROVIDERS if _is_measured(name, workload, number, until)]
                for name in names:
                    row = {"operation": workload.operation, "rows": number, "dtype": dtype}
                    rows.append({**row, "provider": name, **_times(name, workload)})
                save(rows)
                say(f"{workload.operation}, N = {number}, {dtype}: {', '.join(names)}")


def _is_measured(name: str, workload: Workload, number: int, until: Deadline) -> bool:
    if not CUDA:
        return name == "eager"
    if not name.startswith("compile"):
        return True
    first = number == _ROWS[0] and workload.operation in _COMPILED
    fp32 = workload.inputs[0].dtype == torch.float32
    return first and fp32 and until.left_s > _COMPILE_LEAST_S


def _times(name: str, workload: Workload) -> dict[str, Any]:
    """Microseconds of the passes, or what went wrong."""
    try:
        with passes_of(name, problem_of(workload)) as passes:

            def forward() -> None:
                begin_step()
                passes.forward()

            def both() -> None:
                begin_step()
                passes.both()

            forward(), both()
            works = {"forward": forward, "both": both}
            found = in_turns(works, turns=_TURNS, block_s=_BLOCK_S)
    except Exception as error:  # the others are measured all the same
        return {"error": f"{type(error).__name__}: {error}"[:600]}
    return {
        f"{direction}_us": {
            "median": 1e6 * seconds.median,
            "iqr": [1e6 * seconds.low, 1e6 * seconds.high],
        }
        for direction, seconds in found.items()
    }
