"""A training step by every provider, on one batch that is where the provider wants it.

Time, images per second, operations per second, peak memory, and the kernels that the GPU runs.
"""

from typing import Any

import torch

from benchmarks.gpu.parts import Deadline, Save, say
from benchmarks.gpu.timing import in_turns
from benchmarks.training.problems import DEVICE, Problem, batch_of, flops_per_image, problem_of
from benchmarks.training.processes import synchronize
from benchmarks.training.steps import PROVIDERS, Training, obstacle

CUDA = DEVICE == "cuda"
NAMES = ("published", "tuned", "compile-reduce-overhead", "fastjvae", "fastjvae-cudagraph")
CASES = [(size, batch) for batch in (64, 1_024) for size in ("32x32x1", "64x64x3")]
_TURNS, _BLOCK_S = (7, 0.12) if CUDA else (2, 0.01)
_LEAST_S = {"compile-reduce-overhead": 45.0}  # to begin with
_WARM_UP = 5 if CUDA else 1


def measure(save: Save, until: Deadline) -> None:
    """Measure the cases one after the other, as far as the time goes."""
    rows: list[dict[str, Any]] = []
    for size, batch in CASES if CUDA else [("32x32x1", 4)]:
        if until.left_s < (15 if CUDA else 1):
            say(f"no time is left for {size}, B = {batch}")
            continue
        rows += _case(problem_of(size, batch), until)
        save(rows)


def _case(problem: Problem, until: Deadline) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    works = {}
    for name in NAMES:
        if obstacle(name) or until.left_s < _LEAST_S.get(name, 1.0):
            continue
        rows[name] = row = {"problem": problem.name, "provider": name}
        try:
            training, images, row["peak_mib"] = _prepared(name, problem)
        except Exception as error:  # the others are measured all the same
            row["error"] = f"{type(error).__name__}: {error}"[:1_000]
            say(f"{problem.name} {name}: {row['error']}")
            continue
        works[name] = lambda training=training, images=images: training.step(images)
    batch = problem.config.batch_size
    flops = batch * flops_per_image(problem)
    for name, seconds in in_turns(works, turns=_TURNS, block_s=_BLOCK_S).items():
        row = rows[name]
        row["ms"] = {key: _times(1e3, value) for key, value in seconds.to_json().items()}
        row["images_per_s"] = batch / seconds.median
        row["tflops"] = flops / seconds.median / 1e12
        if CUDA and until.left_s > 10:
            row["kernels"] = _kernels(works[name])
        say(
            f"{problem.name} {name}: {1e3 * seconds.median:.3f} ms,"
            f" {row['images_per_s']:,.0f} images/s, peak {row['peak_mib'] or 0:.0f} MiB"
        )
    return list(rows.values())


def _times(factor: float, value: Any) -> Any:
    return [factor * each for each in value] if isinstance(value, list) else factor * value


def _prepared(name: str, problem: Problem) -> tuple[Training, torch.Tensor, float | None]:
    """A training after its first steps, its images, and the most memory that they took, MiB."""
    if CUDA:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
    if name.startswith("compile"):
        torch.compiler.reset()
    training = PROVIDERS[name].build(problem.config, problem.img_size, DEVICE)
    images = training.prepare(batch_of(problem)).to(DEVICE)
    for _ in range(_WARM_UP):
        training.step(images)
    synchronize()
    peak = (torch.cuda.max_memory_allocated() - held) / 2**20 if CUDA else None
    return training, images, peak


def _kernels(work: Any, steps: int = 3) -> dict[str, float]:
    """Kernels of a step, and the time that the GPU works in it."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiled:
        for _ in range(steps):
            work()
        synchronize()
    kernels = [e for e in profiled.events() if e.device_type == torch.autograd.DeviceType.CUDA]
    return {
        "number": len(kernels) / steps,
        "busy_ms": sum(event.time_range.elapsed_us() for event in kernels) / steps / 1e3,
    }
