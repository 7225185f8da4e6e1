"""A data set and settings so small that a training run takes a second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastjvae.training.settings.objective import CapacityConfig
from fastjvae.training.settings.train import TrainConfig

IMAGES = 40
# Settings of categories that are shared by groups of images.
SHARED = {
    "disc_measure": "shared",
    "group": 2,
    "neighbours": 3,
    "augment": 0.5,
    "overclusters": 6,
}


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


def tiny_settings(data: Path, **changes: Any) -> dict[str, Any]:
    """What any run has: 5 steps an epoch, 13 steps."""
    return {
        "dataset": "arrays",
        "data_root": str(data),
        "cont": 2,
        "disc": (4,),
        "batch_size": 8,
        "steps": 13,
        "log_every": 4,
        "checkpoint_every": 5,
        "device": "cpu",
        **changes,
    }


def tiny_config(data: Path, **changes: Any) -> TrainConfig:
    """A run of a JointVAE, with capacities that move within its steps."""
    settings: dict[str, Any] = {
        "lr": 1e-3,
        "cont_capacity": CapacityConfig(0.0, 2.0, 10, 30.0),
        "disc_capacity": CapacityConfig(0.0, 1.5, 10, 30.0),
        **changes,
    }
    return TrainConfig(**tiny_settings(data, **settings))


def tiny_flags(data: Path, out: Path, **changes: Any) -> list[str]:
    """The command line of :func:`tiny_config`."""
    capacities = {
        "cont-capacity.hi": 2.0,
        "cont-capacity.iters": 10,
        "disc-capacity.hi": 1.5,
        "disc-capacity.iters": 10,
    }
    if changes.get("objective", "joint") != "joint":  # which has others
        capacities = {}
    return flags_of("train", data, out, **{"recipe": "paper", "lr": 1e-3, **capacities, **changes})


def seeds_flags(data: Path, out: Path, seeds: str, **changes: Any) -> list[str]:
    """The command line of :func:`tiny_config` for several seeds."""
    return [*tiny_flags(data, out, **changes), "--no-figures", "--seeds", seeds]


def seeds_results(folder: Path) -> dict[str, Any]:
    """What several seeds have left behind, side by side."""
    results: dict[str, Any] = json.loads((folder / "seeds.json").read_text())
    return results


def flags_of(command: str, data: Path, out: Path, **changes: Any) -> list[str]:
    """The command line of :func:`tiny_settings`; a change replaces a flag of its name."""
    flags: dict[str, Any] = {
        "data-root": data,
        "out": out,
        "cont": 2,
        "disc": 4,
        "batch-size": 8,
        "steps": 13,
        "log-every": 4,
        "checkpoint-every": 5,
        "device": "cpu",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return [command, "arrays", *(word for k, v in flags.items() for word in (f"--{k}", str(v)))]


def fails(argv: list[str], code: int, capsys: Any) -> str:
    """Run a command that must fail with one sentence on stderr; returns it."""
    from fastjvae.cli import main

    assert main(argv) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fastjvae: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return str(err)


def assert_same_state(first: Any, second: Any) -> None:
    """Bitwise equality of nested states."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same_state(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            assert_same_state(a, b)
    else:
        assert first == second
