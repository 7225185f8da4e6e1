"""A small model, what damages its files, and whether two models are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from fastjvae import JointVAE
from fastjvae.model.pretrained import model_config

SPEC = {"cont": 3, "disc": [4, 2]}
SIZE = (2, 16, 20)


def small_model() -> JointVAE:
    return JointVAE(SIZE, SPEC, temperature=0.5)


def same(first: JointVAE, second: JointVAE) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def edit(path: Path, change: dict[str, Any]) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


def checkpoint_state(step: int) -> dict[str, Any]:
    """What a checkpoint of a run holds, with the model's part in its real form."""
    model = small_model()
    rest = dict.fromkeys(("config", "optimizer", "rng", "metrics", "data"), 0)
    return {**rest, "step": step, "model": model.state_dict(), "model_config": model_config(model)}
