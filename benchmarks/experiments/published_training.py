"""A whole training the published way, from pictures to a model that is evaluated as any other.

The step and the loader are those of :mod:`benchmarks.training.baselines`. A stopped training goes
on from the end of its last epoch, with the numbers that it would have drawn.
"""

import dataclasses
import io
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.training.baselines import PublishedTraining, published_loader
from fastjvae import JointVAE
from fastjvae.data import load
from fastjvae.files import write_bytes
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.train import TrainConfig, build_model

_PICTURE_SIZE = (28, 28)  # as they come
_IMAGE_SIZE = (1, 32, 32)  # as the loader makes them, one by one


class Trained(NamedTuple):
    """A trained model, and the seconds that its steps took, by their median speed in an epoch."""

    model: JointVAE
    seconds: float


def train_the_published_way(config: TrainConfig, run: RunFolder) -> Trained:
    """Train with a recipe's sizes, capacities, batch size, learning rate, steps and seed.

    Args:
        config: of mnist or fashion-mnist; ``steps`` is given.
        run: gets a checkpoint at the end of every epoch, and the model at the end.
    """
    assert config.steps is not None
    pictures = load(dataclasses.replace(config, image_size=_PICTURE_SIZE).source("train")).images
    torch.manual_seed(config.seed)
    training = PublishedTraining(config, _IMAGE_SIZE, "cpu")
    loader = published_loader(pictures, config.batch_size)
    path = run.path / "published.pt"
    step_seconds = _resume(training, path)
    while training.steps < config.steps:
        began, first = time.perf_counter(), training.steps
        for images, _ in loader:
            training.step(images)
            if training.steps == config.steps:
                break
        step_seconds.append((time.perf_counter() - began) / (training.steps - first))
        _save(training, step_seconds, path)
    model = build_model(config, _IMAGE_SIZE)
    model.load_state_dict(training.model.state_dict())
    model.save_pretrained(run.path)
    return Trained(model, config.steps * statistics.median(step_seconds))


def _save(training: PublishedTraining, step_seconds: list[float], path: Path) -> None:
    buffer = io.BytesIO()
    state = {
        "model": training.model.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "steps": training.steps,
        "step_seconds": step_seconds,
        "random": torch.get_rng_state(),
    }
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def _resume(training: PublishedTraining, path: Path) -> list[float]:
    """Seconds a step of each epoch so far; what ``path`` holds is continued."""
    if not path.exists():
        return []
    state = torch.load(path, weights_only=True)
    training.model.load_state_dict(state["model"])
    training.optimizer.load_state_dict(state["optimizer"])
    training.steps = state["steps"]
    torch.set_rng_state(state["random"])
    step_seconds: list[float] = state["step_seconds"]
    return step_seconds
