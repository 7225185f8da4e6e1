"""Make the run folders that lie here, which later code must load, resume and evaluate.

    python tests/old_runs/make.py

They are as fastjvae 0.1.0 left them, without figures. What keeps each of them below 50 kB: every
weight and every moment of Adam is the same constant, and the finished seeds have no checkpoints.
Later code would write them in a form of its own, and no test would read the old one any more: do
not make them anew. A further form of the files gets a further folder.
"""

from __future__ import annotations

import gzip
import io
import signal
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch.optim.optimizer import register_optimizer_step_post_hook

from fastjvae import load
from fastjvae.cli import main

HERE = Path(__file__).resolve().parent
CONSTANT = 2.0**-8  # exact in every format, and small enough for finite losses
MOST_BYTES = 50_000

TINY = ["--cont", "2", "--batch-size", "16", "--device", "cpu", "--no-figures"]
# What the recipe of the digits has and a JointVAE of the paper has not.
PLAIN = [
    *("--group", "1", "--neighbours", "0", "--augment", "0", "--initialisation", "torch"),
    *("--discrete-capacity", "kl", "--overclusters", "0", "--refits"),
]


def make(folder: Path) -> None:
    """Train every run in a folder, each for a few steps."""
    train = ["train", "digits", *TINY]
    lines = ["--log-every", "2"]  # the third step is on no line of metrics.jsonl yet
    stopped = [*lines, "--steps", "8", "--checkpoint-every", "2"]
    run(folder / "joint", [*train, *stopped, *PLAIN], stop_after=3)
    shared = [*lines, "--steps", "700", "--warmup", "5", "--refits", "2", "350"]
    run(folder / "shared", [*train, *shared], stop_after=3)
    factor = ["--objective", "factor", "--factor.layers", "2", "--factor.width", "32"]
    stopped = [*lines, "--steps", "8"]
    run(folder / "factor", [*train, *stopped, *factor], stop_after=3)
    noise = ["--noise-units", "1"]
    run(folder / "infogan", ["infogan", "digits", *TINY, *stopped, *noise], stop_after=3)
    short = [*lines, "--steps", "3"]
    information = ["--discrete-capacity", "information"]
    run(folder / "finished", [*train, *short, *PLAIN, *information])
    run(folder / "seeds", [*train, *short, *PLAIN, "--seeds", "0,1"])
    for path in (folder / "seeds").rglob("checkpoint.pt"):
        path.unlink()  # finished seeds are compared without

    for path in folder.rglob("checkpoint*.pt"):
        state = torch.load(path, weights_only=True)
        for part in ("model", "objective", "optimizer"):
            fill(state.get(part))
        torch.save(state, path)
    for path in folder.rglob("model.safetensors"):
        tensors = load_tensors(path.read_bytes())
        fill(tensors)
        path.write_bytes(save_tensors(tensors, metadata={"format": "pt"}))

    load(folder / "finished").save_pretrained(folder / "pretrained")
    export = ["--to", "published", "--out", str(folder / "published")]
    assert main(["export", str(folder / "finished"), *export]) == 0


def run(folder: Path, words: list[str], stop_after: int | None = None) -> None:
    """Train to the end, or until a SIGTERM that comes in a step."""
    with stopping_in(stop_after):
        code = main([*words, "--out", str(folder)])
    assert code == (0 if stop_after is None else 128 + signal.SIGTERM), code


@contextmanager
def stopping_in(step: int | None) -> Iterator[None]:
    """Send this process SIGTERM when Adam has changed all parameters so many times."""

    def stop(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        of_networks = len(optimizer.state) > 2  # and not of the two parameters that a refit has
        if of_networks and {int(each["step"]) for each in optimizer.state.values()} == {step}:
            signal.raise_signal(signal.SIGTERM)

    hook = register_optimizer_step_post_hook(stop)
    try:
        yield
    finally:
        hook.remove()


def fill(state: Any) -> None:
    """Give every floating tensor of a nested state the constant, apart from Adam's step counts."""
    if isinstance(state, torch.Tensor) and state.is_floating_point():
        state.fill_(CONSTANT)
    elif isinstance(state, dict):
        for name, value in state.items():
            if name != "step":
                fill(value)
    elif isinstance(state, list | tuple):
        for value in state:
            fill(value)


def pack(folder: Path, file: Path) -> None:
    """Write a .tar.gz that depends on the files' names and contents alone."""

    def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        made = tarfile.TarInfo(entry.name)
        made.type, made.size, made.mode = entry.type, entry.size, 0o755 if entry.isdir() else 0o644
        return made

    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for path in sorted(folder.rglob("*")):
            if path.name != ".lock":
                name = path.relative_to(folder.parent).as_posix()
                tar.add(path, name, recursive=False, filter=anonymous)
    file.write_bytes(gzip.compress(content.getvalue(), mtime=0))
    assert file.stat().st_size < MOST_BYTES, f"{file} has {file.stat().st_size} bytes"


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as made:
        make(Path(made))
        for each in sorted(Path(made).iterdir()):
            pack(each, HERE / f"{each.name}.tar.gz")
