"""One run on several machines: two of torchrun's agents on the loopback device, as on two nodes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from runs import assert_same_losses
from tiny_runs import tiny_flags, write_arrays

from fastjvae.cli import main
from fastjvae.model.checkpoint import read_checkpoint
from fastjvae.training.run_folder import RunFolder, read_metrics

_DEADLINE_S = 120


class _Agent:
    """``torchrun`` on one of two nodes, with one process."""

    def __init__(self, rank: int, port: int, flags: list[str], log: Path) -> None:
        self.log = log
        command = [
            sys.executable, "-m", "torch.distributed.run", "--nnodes", "2",
            "--node-rank", str(rank), "--master-addr", "127.0.0.1", "--master-port", str(port),
            "--nproc-per-node", "1", "-m", "fastjvae", *flags,
        ]  # fmt: skip
        with log.open("w") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output)

    def wait(self) -> tuple[int, str]:
        """Exit code and output, once it has ended."""
        return self.process.wait(_DEADLINE_S), self.log.read_text()

    def kill_node(self) -> None:
        """End the agent and its process at once, as when a machine goes."""
        number = self.process.pid
        children = Path(f"/proc/{number}/task/{number}/children").read_text().split()
        for each in [number, *map(int, children)]:
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        self.process.wait()


@contextmanager
def _two_agents(flags: list[str], folder: Path) -> Iterator[list[_Agent]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    agents = [_Agent(rank, port, flags, folder / f"node{rank}.log") for rank in (0, 1)]
    try:
        yield agents
    finally:
        for agent in agents:
            if agent.process.poll() is None:
                agent.kill_node()


pytestmark = pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(), reason="needs Linux's /proc"
)


def test_two_nodes_train_as_one_process(tmp_path: Path):
    data = write_arrays(tmp_path)
    flags = {
        name: [*tiny_flags(data, tmp_path / name, batch_size=7), "--no-figures"]
        for name in ("alone", "run")
    }
    assert main(flags["alone"]) == 0
    with _two_agents(flags["run"], tmp_path) as agents:
        (code, first), (other, second) = (agent.wait() for agent in agents)
    assert (code, other) == (0, 0), first + second
    assert "on cpu and 1 more: to step 13" in first
    assert "training on" not in second
    assert_same_losses(tmp_path / "run", tmp_path / "alone")


def test_a_node_that_dies_ends_the_others_and_the_run_goes_on_from_its_checkpoint(tmp_path: Path):
    run = tmp_path / "run"
    flags = tiny_flags(write_arrays(tmp_path), run, steps=200_000, timeout=20.0)
    with _two_agents([*flags, "--no-figures"], tmp_path) as agents:
        deadline = time.monotonic() + _DEADLINE_S
        while not (run / "checkpoint.pt").exists():
            assert time.monotonic() < deadline, agents[0].log.read_text()
            time.sleep(0.05)
        agents[1].kill_node()
        code, output = agents[0].wait()
    assert code == 1
    assert "fastjvae: process 0 of 2 lost another one, which has ended or does not" in output
    step = read_checkpoint(run / "checkpoint.pt")["step"]
    assert step >= 5
    assert main(["train", "--resume", str(run), "--steps", str(step + 3)]) == 0
    assert read_metrics(RunFolder(run))[-1]["step"] == step + 3
