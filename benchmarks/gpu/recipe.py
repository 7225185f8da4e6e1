"""The main job by the command line, to its accuracy: ``fastjvae train digits``."""

import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.gpu.parts import Deadline, Save, python, say
from benchmarks.training.problems import DEVICE

_SEEDS = (0, 1) if DEVICE == "cuda" else (0,)
_FLAGS = [] if DEVICE == "cuda" else ["--steps", "3", "--refits"]


def measure(save: Save, until: Deadline) -> None:
    """Train some seeds, one after the other, as far as the time goes."""
    rows: list[dict[str, Any]] = []
    for seed in _SEEDS:
        if until.left_s < 5:
            break
        rows.append(_row(seed, until.left_s))
        say(f"train digits: {rows[-1]}")
        save(rows)


def _row(seed: int, limit_s: float) -> dict[str, Any]:
    row: dict[str, Any] = {"seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        words = ["train", "digits", "--seed", str(seed), "--out", str(run), "--no-figures"]
        begin = time.perf_counter()
        try:
            done = subprocess.run(
                python("fastjvae", *words, *_FLAGS),
                capture_output=True,
                text=True,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {**row, "error": f"took more than {limit_s:.0f} s"}
        row["seconds"] = time.perf_counter() - begin
        if done.returncode:
            return {**row, "error": done.stderr[-1_000:]}
        evaluation = json.loads((run / "evaluation.json").read_text())
        records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        speeds = [record["images_per_s"] for record in records]
        return {
            **row,
            "accuracy_majority": evaluation["variables"][0]["accuracy_majority"],
            "reconstruction": evaluation["reconstruction"],
            "images_per_s": statistics.median(speeds),
            "said": done.stderr[-500:],
        }
