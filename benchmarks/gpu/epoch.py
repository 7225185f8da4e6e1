"""Training end to end by fastjvae's own loop, with its loading, its log and its checkpoints."""

import dataclasses
import io
import tempfile
import time
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from benchmarks.gpu.parts import Deadline, Save, say
from benchmarks.training.problems import DEVICE, mnist_like
from benchmarks.training.processes import synchronize
from fastjvae.data import ImageData
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.recipes import recipe
from fastjvae.training.trainer import Trainer

CUDA = DEVICE == "cuda"
IMAGES = 60_000 if CUDA else 64  # as in MNIST
_FIRST = 20 if CUDA else 1  # steps before the time begins
# Batch size, steps and settings.
_CASES: list[tuple[int, int, dict[str, Any]]] = [
    (64, 2_000, {}),
    (64, 500, {"cuda_graph": False}),
    (64, 2_000, {"networks": "triton"}),
    (1_024, 300, {}),
    (1_024, 300, {"networks": "triton"}),
    (1_024, 300, {"precision": "bf16"}),
]


def measure(save: Save, until: Deadline) -> None:
    """Measure the cases one after the other, as far as the time goes."""
    data, rows = ImageData("made", mnist_like(IMAGES)), []
    for batch, steps, changes in _CASES if CUDA else [(16, 3, {})]:
        if until.left_s < 1:
            break
        row: dict[str, Any] = {"batch_size": batch, "steps": steps, "settings": changes}
        try:
            seconds, row["said"] = _seconds(data, batch, steps, changes)
            row["images_per_s"] = batch * (steps - _FIRST) / seconds
            row["epoch_s"] = IMAGES / row["images_per_s"]
        except Exception as error:  # the others are measured all the same
            row["error"] = f"{type(error).__name__}: {error}"[:1_000]
        say(f"end to end: {row}")
        rows.append(row)
        save(rows)


def _seconds(data: ImageData, batch: int, steps: int, changes: dict[str, Any]) -> tuple[float, str]:
    """Seconds of the steps after the first ones, and what was said meanwhile."""
    settings = {"device": DEVICE, "figures": False, "batch_size": batch, "steps": steps, **changes}
    config = dataclasses.replace(recipe("mnist"), **settings)
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()) as said:
        trainer = Trainer(config, data, RunFolder(Path(folder) / "run"))
        for _ in range(_FIRST):
            trainer.train_step()
        synchronize()
        begin = time.perf_counter()
        trainer.train()
        return time.perf_counter() - begin, said.getvalue()[-500:]
