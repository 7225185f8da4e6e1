"""A data set and settings so small that a training run takes a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fastjvae.settings import CapacityConfig, TrainConfig

IMAGES = 40


def write_arrays(folder: Path, seed: int = 0, images: int = IMAGES) -> Path:
    """A .npz file of bright 8x8 squares in the corners of 16x16 images; the corner is the label."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, images)
    pixels = generator.integers(0, 60, (images, 1, 16, 16)).astype(np.uint8)
    for image, label in zip(pixels, labels, strict=True):
        row, column = 8 * (label // 2), 8 * (label % 2)
        image[0, row : row + 8, column : column + 8] += 180
    path = folder / f"squares{seed}.npz"
    np.savez(path, images=pixels, labels=labels)
    return path


def tiny_config(data: Path, **changes: Any) -> TrainConfig:
    """5 steps an epoch, 13 steps; capacities that move within them."""
    settings: dict[str, Any] = {
        "dataset": "arrays",
        "data_root": str(data),
        "cont": 2,
        "disc": (4,),
        "batch_size": 8,
        "steps": 13,
        "lr": 1e-3,
        "log_every": 4,
        "checkpoint_every": 5,
        "cont_capacity": CapacityConfig(0.0, 2.0, 10, 30.0),
        "disc_capacity": CapacityConfig(0.0, 1.5, 10, 30.0),
        "device": "cpu",
        **changes,
    }
    return TrainConfig(**settings)


def tiny_flags(data: Path, out: Path, **changes: Any) -> list[str]:
    """The command line of :func:`tiny_config`."""
    flags: dict[str, Any] = {
        "data-root": data,
        "out": out,
        "cont": 2,
        "disc": 4,
        "batch-size": 8,
        "steps": 13,
        "lr": 1e-3,
        "log-every": 4,
        "checkpoint-every": 5,
        "cont-capacity.hi": 2.0,
        "cont-capacity.iters": 10,
        "disc-capacity.hi": 1.5,
        "disc-capacity.iters": 10,
        "device": "cpu",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return ["train", "arrays", *(word for k, v in flags.items() for word in (f"--{k}", str(v)))]
