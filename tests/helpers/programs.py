"""The command line in processes of its own, which begin with everything imported.

Importing torch takes a process seconds. One server imports it once for each test process and forks
what is asked for; what ``python -m fastjvae`` itself does is tested elsewhere.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
_context = multiprocessing.get_context(METHOD)
if METHOD == "forkserver":
    multiprocessing.set_forkserver_preload(
        ["pytest", "fastjvae.cli.program", "fastjvae.training.trainer"]
    )


class Program:
    """A running ``fastjvae``; the methods are those of ``subprocess.Popen``.

    Args:
        argv: its arguments.
        environment: variables beside those of this process.
    """

    def __init__(self, argv: list[str], environment: Mapping[str, str] | None = None) -> None:
        folder = Path(tempfile.mkdtemp())
        self._outputs = [folder / "stdout", folder / "stderr"]
        for path in self._outputs:
            path.touch()
        self._process = _context.Process(
            target=_run, args=(argv, {**os.environ, **(environment or {})}, self._outputs)
        )
        self._process.start()

    def poll(self) -> int | None:
        """The exit code once it has ended; that of a signal is negative."""
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for the end; stdout and stderr, once."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self.kill()
            raise TimeoutError(f"the program ran for more than {timeout} s")
        stdout, stderr = (path.read_text() for path in self._outputs)
        shutil.rmtree(self._outputs[0].parent)
        return stdout, stderr

    def wait_for(self, path: Path, timeout: float = 60) -> None:
        """Wait until there is such a file."""
        deadline = time.monotonic() + timeout
        while not path.exists():
            assert self.poll() is None, self._outputs[1].read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)


def _run(argv: list[str], environment: dict[str, str], outputs: list[Path]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    for path, number in zip(outputs, (1, 2), strict=True):
        opened = os.open(path, os.O_WRONLY)
        os.dup2(opened, number)
        os.close(opened)
    from fastjvae.cli import main

    sys.exit(main(argv))


def start(argv: list[str], world: int) -> list[Program]:
    """The processes that torchrun would start, without its agent that ends the others with one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
    return [
        Program(argv, {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(world)
    ]


def finish(started: list[Program]) -> list[tuple[int | None, str, str]]:
    """Exit code, stdout and stderr of each."""
    try:
        results = [process.communicate(timeout=120) for process in started]
    finally:
        for process in started:
            process.kill()
    return [(process.poll(), *result) for process, result in zip(started, results, strict=True)]
