"""Compares what providers compute: losses after some steps, beside those of the reference."""

import dataclasses
import io
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from functools import cache
from pathlib import Path
from typing import Any

import torch

import fastjvae
from benchmarks.training.problems import DEVICE, SEED, Problem, batch_of, mnist_like
from benchmarks.training.steps import FastTraining, Training
from fastjvae.data import ImageData
from fastjvae.training.device import TF32, allow_tf32, tf32
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.settings.train import build_model
from fastjvae.training.trainer import Trainer


class DisagreementError(Exception):
    """A provider does not compute what the reference does."""


# What two runs may differ by, as a share and in nats. Rounding differs, and Adam's first steps are
# as long as the learning rate whatever the gradient's size: one near 0 may move a weight either
# way. A KL is the difference of numbers near 1, which leaves an error of some 1e-7 nats.
ALLOWED = {
    "loss": (1e-4, 0.0),
    "reconstruction": (1e-4, 0.0),
    "kl_cont": (1e-3, 5e-6),
    "kl_disc": (1e-3, 5e-6),
}

# The same of a run whose networks round to 8 bits of mantissa, half a unit of which is 2e-3,
# against one that does not. The mean of a large batch is far nearer than that of two images.
ALLOWED_IN_BF16 = {
    "loss": (2e-3, 0.0),
    "reconstruction": (2e-3, 0.0),
    "kl_cont": (0.1, 1e-3),
    "kl_disc": (0.1, 1e-3),
}

Outcome = dict[str, Any]  # the number of steps, and loss and its parts in nats per image


def outcome_of(training: Training, problem: Problem) -> Outcome:
    """Losses of the last of some steps from given weights on given images and noise."""
    config = problem.config
    training.load(build_model(config, problem.img_size))
    generator = torch.Generator().manual_seed(SEED)
    rows = config.batch_size
    with _without_tf32():
        for step in range(problem.checked_steps):
            normal = torch.randn(rows, config.cont, generator=generator).to(DEVICE)
            uniform = torch.rand(rows, sum(config.disc), generator=generator).to(DEVICE)
            images = training.prepare(batch_of(problem, step)).to(DEVICE)
            losses = training.step(images, normal, uniform)
    _, height, width = problem.img_size
    return {
        "steps": problem.checked_steps,
        "loss": float(losses.loss) * height * width,
        "reconstruction": float(losses.reconstruction),
        "kl_cont": [float(value) for value in losses.kl_cont],
        "kl_disc": [float(value) for value in losses.kl_disc],
    }


@cache
def reference_outcome(problem: Problem) -> Outcome:
    """:func:`outcome_of` fastjvae's reference."""
    with fastjvae.backend("reference"):
        training = FastTraining(problem.config, problem.img_size, DEVICE)
        return outcome_of(training, problem)


def trainer_outcomes(problem: Problem) -> tuple[Outcome, Outcome]:
    """Losses after some steps of fastjvae's trainer, and of its float32 on the reference."""
    ours = _trainer_outcome(problem)
    with fastjvae.backend("reference"):
        return ours, _trainer_outcome(problem.with_precision("fp32"))


def _trainer_outcome(problem: Problem) -> Outcome:
    steps = problem.checked_steps
    config = dataclasses.replace(problem.config, steps=steps, log_every=1, keep_freed_memory=False)
    data = ImageData("made", mnist_like(steps * config.batch_size))
    with tempfile.TemporaryDirectory() as folder, _without_tf32(), redirect_stderr(io.StringIO()):
        run = RunFolder(Path(folder) / "run")
        Trainer(config, data, run).train()
        last = read_metrics(run)[-1]
    return {"steps": steps, **{part: last[part] for part in ALLOWED}}


@contextmanager
def _without_tf32() -> Iterator[None]:
    """On a GPU cuDNN's convolutions round to 10 bits by default: too few to compare."""
    before = tf32()
    allow_tf32(TF32(before.matmul, cudnn=False))
    try:
        yield
    finally:
        allow_tf32(before)


def check_agreement(
    name: str,
    outcome: Outcome,
    expected: Outcome,
    allowed: Mapping[str, tuple[float, float]] = ALLOWED,
) -> float:
    """The largest deviation, in units of what is allowed.

    Raises:
        DisagreementError: it is more than 1, or a number is not finite.
    """
    if outcome["steps"] != expected["steps"]:
        raise DisagreementError(
            f"{name} took {outcome['steps']} steps and the reference {expected['steps']}"
        )
    worst = 0.0
    for part, (share, nats) in allowed.items():
        ours = torch.tensor(outcome[part]).double().reshape(-1)
        exact = torch.tensor(expected[part]).double().reshape(-1)
        errors = (ours - exact).abs() / (nats + share * exact.abs())
        largest = float(errors.nan_to_num(nan=float("inf")).max()) if len(exact) else 0.0
        if largest > 1.0:
            raise DisagreementError(
                f"{name} disagrees with the reference after {outcome['steps']} steps: {part} is"
                f" {outcome[part]} and should be {expected[part]}, nats; the largest error is"
                f" {largest:.3g} times the allowed {share:g} of it + {nats:g}"
            )
        worst = max(worst, largest)
    return worst


class Agreement:
    """Compares processes with the reference before they are timed, and keeps what was compared.

    Args:
        problems: of every process that trains, by name.
        trainers: those among them that run fastjvae's own trainer, whose images and noise are its
            own. It is compared with itself on the reference, in this process.
    """

    def __init__(self, problems: Mapping[str, Problem], trainers: Collection[str] = ()) -> None:
        self.problems, self.trainers = problems, trainers
        self.compared: dict[str, dict[str, Any]] = {}

    def __call__(self, name: str, facts: Mapping[str, Any]) -> None:
        """Check one process by the facts that it reported.

        Raises:
            DisagreementError: it computes something else.
        """
        if (problem := self.problems.get(name)) is None:
            return
        exact = problem.with_precision("fp32")
        if name in self.trainers:
            outcome, expected = trainer_outcomes(problem)
        else:
            outcome, expected = facts["outcome"], reference_outcome(exact)
        allowed = ALLOWED if problem == exact else ALLOWED_IN_BF16
        share = check_agreement(name, outcome, expected, allowed)
        self.compared[name] = {
            "outcome": outcome, "reference": expected, "error_to_allowed": share
        }  # fmt: skip
