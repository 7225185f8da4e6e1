"""Tasks of :mod:`benchmarks.training.processes`: a step alone, and the loops of training around it.

Each takes some steps before it is timed, and reports their losses as the fact "outcome", which must
agree with the reference (:mod:`benchmarks.training.agreement`).
"""

import dataclasses
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.training.agreement import outcome_of
from benchmarks.training.baselines import published_loader
from benchmarks.training.problems import DEVICE, Problem, batch_of, mnist_like, pictures
from benchmarks.training.processes import Turns, synchronize
from benchmarks.training.steps import PROVIDERS, Training
from fastjvae.data import ImageData
from fastjvae.training.allocator import keep_freed_memory
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.trainer import Trainer

MATMUL_SIDE = 2_048


def step_alone(turns: Turns, name: str, problem: Problem) -> None:
    """Train on one batch that is where and as the provider wants it."""
    training = _checked_training(turns, name, problem)
    images = training.prepare(batch_of(problem))
    if DEVICE == "cuda":
        images = images.to(DEVICE)
        training.step(images)
        turns.facts["launches"] = _launches(lambda: training.step(images))
    faults: list[int] = []
    while turns.wait():
        before = page_faults()
        training.step(images)
        faults.append(page_faults() - before)
    turns.facts["page_faults"] = statistics.fmean(faults[len(faults) // 2 :] or [0])
    _report_gpu_memory(turns)


def page_faults() -> int:
    """Pages that this process had to be given so far, without reading a disk; 0 on Windows."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def matrix_product(turns: Turns, side: int = MATMUL_SIDE) -> None:
    """Multiply square float32 matrices: 2 side^3 operations a step."""
    a, b = torch.rand(2, side, side, device=DEVICE)
    out = torch.empty_like(a)
    while turns.wait():
        torch.mm(a, b, out=out)


def _checked_training(turns: Turns, name: str, problem: Problem) -> Training:
    """A provider's training, which has reported the losses after its first steps."""
    provider = PROVIDERS[name]
    if provider.keep_freed_memory:
        turns.facts["keeps_freed_memory"] = keep_freed_memory()
    training = provider.build(problem.config, problem.img_size, DEVICE)
    turns.facts["outcome"] = outcome_of(training, problem)
    return training


def _launches(step: Callable[[], Any]) -> int:
    """Kernels and graphs that the host launches in one step."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        step()
        synchronize()
    names = ("LaunchKernel", "GraphLaunch")  # cudaLaunchKernel, hipModuleLaunchKernel, ...
    return sum(
        event.count for event in profiled.key_averages() if any(name in event.key for name in names)
    )


def _report_gpu_memory(turns: Turns) -> None:
    if DEVICE == "cuda":
        turns.facts["peak_gpu_mib"] = torch.cuda.max_memory_allocated() / 2**20


# --- loops ----------------------------------------------------------------------------------------


def published_loop(turns: Turns, problem: Problem, number: int) -> None:
    """The published way: DataLoader, step, losses kept as numbers."""
    training = _checked_training(turns, "published", problem)
    loader = published_loader(pictures(number), problem.config.batch_size)
    kept: dict[str, list[float]] = {}

    def batches() -> Iterator[Tensor]:
        while True:
            for images, _ in loader:
                yield images

    following = batches()
    while turns.wait():
        losses = training.step(next(following))
        kept.setdefault("loss", []).append(losses.loss)
        kept.setdefault("reconstruction", []).append(losses.reconstruction)
        for part in ("kl_cont", "kl_disc"):
            for unit, value in enumerate(getattr(losses, part)):
                kept.setdefault(f"{part}_{unit}", []).append(value)


def tuned_loop(turns: Turns, name: str, problem: Problem, number: int) -> None:
    """A tuned model: resident images by index; now and then the losses' means as a JSON line."""
    training = _checked_training(turns, name, problem)
    images = mnist_like(number).to(DEVICE)
    size, rows = problem.config.batch_size, []
    step = 0
    order = torch.randperm(number).to(DEVICE)
    with tempfile.TemporaryFile("w") as log:
        while turns.wait():
            # The last batch is left out where it is smaller: torch.compile would compile again.
            position = step % (number // size)
            if position == 0:
                order = torch.randperm(number).to(DEVICE)
            losses = training.step(images[order[position * size : (position + 1) * size]])
            parts = losses.loss[None], losses.reconstruction[None], losses.kl_cont, losses.kl_disc
            rows.append(torch.cat(parts))
            step += 1
            if step % problem.config.log_every == 0:
                log.write(json.dumps({"step": step, "means": torch.stack(rows).mean(0).tolist()}))
                log.write("\n")
                log.flush()
                rows.clear()
    _report_gpu_memory(turns)


def trainer_loop(turns: Turns, problem: Problem, number: int) -> None:
    """fastjvae's own loop as the command line runs it, without checkpoints but for a last one."""
    config = dataclasses.replace(
        problem.config, steps=2**31, checkpoint_every=2**31, keep_freed_memory=True
    )
    data = ImageData("made", mnist_like(number))
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
        trainer = _TakingTurns(config, data, RunFolder(Path(folder) / "run"))
        trainer.turns = turns
        try:
            trainer.train()
        except _NoMoreTurns:
            begin = time.perf_counter()
            trainer.save()
            turns.facts["checkpoint_s"] = time.perf_counter() - begin
    _report_gpu_memory(turns)


class _NoMoreTurns(Exception):  # noqa: N818  it is no error
    pass


class _TakingTurns(Trainer):
    """The trainer, which waits for its turn before each step."""

    turns: Turns

    def train_step(self) -> None:
        if not self.turns.wait():
            raise _NoMoreTurns
        super().train_step()
