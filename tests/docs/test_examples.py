"""The examples run, and train on two processes as on one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from examples import in_ci

from fastjvae import JointVAE

FOLDER = Path(__file__).parents[2] / "docs" / "examples"
# What each needs, and how it is started on two processes.
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
EXAMPLES = {
    "own_loop": ("torch", TORCHRUN, []),
    "with_accelerate": ("accelerate", TORCHRUN, []),
    "with_fabric": ("lightning_fabric", [], ["--devices", "2"]),
}


def run(name: str, out: Path, processes: int) -> list[tuple[float, float]]:
    """Run an example for a few steps; the reconstruction and KL that it prints."""
    needs, launcher, flags = EXAMPLES[name]
    if find_spec(needs) is None:
        pytest.skip(f"the package {needs} is not installed")
    several = processes > 1
    command = [
        sys.executable, *(launcher if several else []), str(FOLDER / f"{name}.py"),
        "--steps", "6", "--batch-size", "16", "--log-every", "2", "--out", str(out),
        *(flags if several else ["--cpu"]),
    ]  # fmt: skip
    # What tests set for themselves is no setting of a user's.
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "TRITON"))}
    outer["CUDA_VISIBLE_DEVICES"] = ""  # two processes find out by themselves that there is no GPU
    done = subprocess.run(command, env=outer, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"reconstruction ([\d.e+-]+), KL ([\d.e+-]+) nats", done.stdout)
    assert len(lines) == 3, done.stdout
    return [(float(reconstruction), float(kl)) for reconstruction, kl in lines]


def test_an_example_trains(tmp_path: Path):
    lines = run("own_loop", tmp_path, 1)
    assert lines[-1][0] < lines[0][0]


@in_ci
@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_trains_on_two_processes_as_on_one(name: str, tmp_path: Path):
    one, two = (run(name, tmp_path / str(count), count) for count in (1, 2))
    for (reconstruction, kl), (other, other_kl) in zip(one, two, strict=True):
        assert other == pytest.approx(reconstruction, rel=1e-4)
        assert other_kl == pytest.approx(kl, rel=1e-3, abs=1e-4)
    assert one[-1][0] < one[0][0]
    assert JointVAE.from_pretrained(tmp_path / "2").latent_dim == 20
