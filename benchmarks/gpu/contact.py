"""Checks that training runs on a GPU, at the paper's sizes, one process each.

A fault of the device ends its process, and with it no other check.

    python -m benchmarks.gpu.contact "graph paper"    # one of them
"""

import dataclasses
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import fastjvae
from benchmarks.gpu.parts import Deadline, Save, python, say
from benchmarks.gpu.variants import VARIANTS
from benchmarks.training.agreement import (
    check_agreement,
    outcome_of,
    reference_outcome,
    trainer_outcomes,
)
from benchmarks.training.problems import DEVICE, batch_of, mnist_like, problem_of
from benchmarks.training.steps import PROVIDERS, obstacle
from fastjvae.data import ImageData
from fastjvae.training.infogan.settings import InfoGANConfig
from fastjvae.training.infogan.trainer import InfoGANTrainer
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.objective import build_objective
from fastjvae.training.settings.recipes import recipe
from fastjvae.training.settings.train import TrainConfig, build_model
from fastjvae.training.trainer import Trainer

CUDA = DEVICE == "cuda"
_JOBS = 8 if CUDA else 1
_MOST_S = 90.0  # of one check, most of which is compiling
_IMAGES = 200  # four batches an epoch, the last one smaller
_STEPS = 15 if CUDA else 3


class _CheckError(Exception):
    """What a check found wrong; one sentence."""


def measure(save: Save, until: Deadline, names: list[str] | None = None) -> None:
    """Run every check, some at a time."""
    found: dict[str, Any] = {}

    def run(name: str) -> None:
        limit = min(_MOST_S, until.left_s)
        if limit < 1:
            found[name] = {"ok": None, "said": "no time was left"}
        elif name not in _DRY and not CUDA:
            found[name] = {"ok": None, "said": "needs a GPU"}
        else:
            found[name] = _in_a_process(name, limit)
        state = {True: "ok", False: "FAILED", None: "left out"}[found[name]["ok"]]
        say(f"{state:8s} {name}: {found[name]['said'][:300]}")
        save(found)

    with ThreadPoolExecutor(_JOBS) as pool:
        list(pool.map(run, CHECKS if names is None else names))


def _in_a_process(name: str, limit_s: float) -> dict[str, Any]:
    try:
        done = subprocess.run(
            python("benchmarks.gpu.contact", name),
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"ok": False, "said": f"took more than {limit_s:.0f} s"}
    last = done.stdout.strip().rpartition("\n")[2]
    try:
        result: dict[str, Any] = json.loads(last)
    except ValueError:
        return {"ok": False, "said": f"ended with {done.returncode}: {done.stderr[-2_000:]}"}
    return result


def main(name: str) -> None:
    """One check, in this process; the last line is its result."""
    try:
        result = {"ok": True, "said": str(CHECKS[name]())}
    except Exception as error:
        result = {"ok": False, "said": f"{type(error).__name__}: {error}"[:2_000]}
    print(f"\n{json.dumps(result)}", flush=True)
    os._exit(0)  # a broken device must not hang at the end


# --- checks: each returns what it found, or raises ------------------------------------------------


def _trainer(folder: str, **changes: Any) -> Trainer:
    run, resuming = changes.pop("run", "run"), changes.pop("resuming", False)
    settings: dict[str, Any] = {
        "device": DEVICE, "figures": False, "checkpoint_every": 10**6, **changes
    }  # fmt: skip
    config: TrainConfig = dataclasses.replace(recipe("mnist"), **settings)
    data = ImageData("made", mnist_like(_IMAGES))
    return Trainer(config, data, RunFolder(Path(folder) / run), resuming=resuming)


def _parameters(trainer: Trainer) -> Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def _graph(**changes: Any) -> str:
    """Training with a CUDA graph beside training without one, over two shapes of batches."""
    rows, said = {}, io.StringIO()
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(said):
        for graph in (False, True):
            trainer = _trainer(folder, run=str(graph), cuda_graph=graph, **changes)
            for _ in range(_STEPS):
                trainer.train_step()
            rows[graph] = trainer.recorder.read()
    if "goes on without" in said.getvalue():
        raise _CheckError(said.getvalue().strip())
    apart = (rows[True] - rows[False]).abs() / rows[False].abs().clamp_min(1e-2)
    if not apart.max() <= 2e-2:
        raise _CheckError(f"the graph's losses are {float(apart.max()):.2g} away, relative")
    return f"losses with and without a graph differ by up to {float(apart.max()):.2g}, relative"


def _backends() -> str:
    """The loss and every gradient by the kernels beside those by the reference, both sizes."""
    worst = 0.0
    for size in ("32x32x1", "64x64x3"):
        problem = problem_of(size)
        model = build_model(problem.config, problem.img_size).to(DEVICE)
        x, objective = batch_of(problem).to(DEVICE), build_objective(problem.config)
        found = []
        for name in ("triton", "reference"):
            with fastjvae.backend(name):  # type: ignore[arg-type]
                loss = model.loss(x, 7, objective, seed=3).loss
                found.append([loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))])
        for ours, right in zip(*found, strict=True):
            worst = max(worst, float((ours - right).norm() / right.norm().clamp_min(1e-12)))
    if not worst < 1e-3:
        raise _CheckError(f"loss or gradients are {worst:.2g} away from the reference's")
    return f"loss and gradients are up to {worst:.2g} away from the reference's, relative"


def _resume(first: str = DEVICE) -> str:
    """Training at once, and in two runs of which the first may be on another device."""
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()) as said:
        once = _trainer(folder, steps=_STEPS, run="once")
        once.train()
        _trainer(folder, steps=2, device=first).train()
        rest = _trainer(folder, steps=_STEPS, resuming=True)
        rest.train()
    if "goes on without" in said.getvalue():
        raise _CheckError(said.getvalue().strip())
    apart = float((_parameters(once) - _parameters(rest)).abs().max())
    if first == DEVICE and apart:
        raise _CheckError(f"a resumed run ends {apart:.2g} away from one that was not stopped")
    return "a resumed run ends as one that was not stopped" if first == DEVICE else "went on"


def _infogan() -> str:
    config = InfoGANConfig(dataset="mnist", steps=_STEPS, device=DEVICE, figures=False)
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):
        data = ImageData("made", mnist_like(_IMAGES))
        InfoGANTrainer(config, data, RunFolder(Path(folder) / "run")).train()
    return "trains"


def _provider(name: str) -> str:
    """The losses of a provider of the benchmarks beside the reference's."""
    problem = problem_of("32x32x1", 64 if CUDA else 512)
    training = PROVIDERS[name].build(problem.config, problem.img_size, DEVICE)
    outcome = outcome_of(training, problem)
    share = check_agreement(name, outcome, reference_outcome(problem))
    return f"{share:.2g} of the allowed error after {problem.checked_steps} steps"


def _trainer_agrees() -> str:
    """The trainer beside itself on the reference, as ``make quick`` asks before it measures."""
    problem = problem_of("32x32x1", 64)
    return f"{check_agreement('the trainer', *trainer_outcomes(problem)):.2g} of the allowed error"


CHECKS: dict[str, Callable[[], str]] = {
    "backends": _backends,
    **{f"graph {name}": partial(_graph, **changes) for name, changes in VARIANTS.items()},
    "resume": _resume,
    "resume a run of the CPU": partial(_resume, "cpu"),
    "infogan": _infogan,
    **{f"provider {name}": partial(_provider, name) for name in PROVIDERS if not obstacle(name)},
    "trainer": _trainer_agrees,
}
_DRY = {"resume", "infogan", "provider fastjvae"}  # where there is no GPU

if __name__ == "__main__":
    main(sys.argv[1])
