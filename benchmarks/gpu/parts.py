"""Parts of a run that have a time limit each, and do not stop one another when they fail."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.environment import environment
from fastjvae.files import write_json

Save = Callable[[Any], None]  # takes everything that a part has found so far

_LEAST_S = 10.0  # in which a part can do something
_TO_END_S = 5.0  # of a part's time, in which it can end by itself


class Deadline:
    """A number of seconds from now on."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        return self._end - time.monotonic()


def say(text: str) -> None:
    """Print a line at once, as another process reads it."""
    print(text, flush=True)


def saver(path: Path) -> Save:
    """What writes to a file: a part that is killed leaves what it had."""
    return lambda found: write_json(path, found)


def run_parts(
    limits: Iterable[tuple[str, float]],
    folder: Path,
    seconds: float,
    command_of: Callable[[str, Path, float], list[str]],
) -> dict[str, Any]:
    """Run parts one after the other, each in a process of its own.

    Args:
        limits: name and most seconds of each part.
        folder: where each writes ``NAME.json``, and this ``gpu.json`` with all of them.
        seconds: of all parts together; what is left of them limits each part, too.
        command_of: the command of a part, from its name, its file and its seconds.

    Returns:
        What ``gpu.json`` holds: ``environment``; ``parts``, with the seconds and the exit code of
        each, None where its time ran out; and what each part has found, by its name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole, deadline = {"environment": environment(), "parts": {}}, Deadline(seconds)
    for name, limit in limits:
        path = folder / f"{name}.json"
        path.unlink(missing_ok=True)
        limit = min(limit, deadline.left_s)
        if limit < _LEAST_S:
            say(f"== {name}: no time is left")
            whole["parts"][name] = {"seconds": 0.0, "exit_code": None}
            continue
        say(f"== {name}: at most {limit:.0f} s, {deadline.left_s:.0f} s are left")
        begin = time.monotonic()
        code = _run(command_of(name, path, limit - _TO_END_S), limit)
        whole["parts"][name] = {"seconds": time.monotonic() - begin, "exit_code": code}
        said = "its time ran out" if code is None else f"exit code {code}"
        say(f"== {name}: {said} after {time.monotonic() - begin:.0f} s")
        if path.exists():
            whole[name] = json.loads(path.read_text())
        write_json(folder / "gpu.json", whole)
    return whole


def _run(command: list[str], limit_s: float) -> int | None:
    """The exit code of a command; None where it had to be killed."""
    process = subprocess.Popen(command, start_new_session=os.name == "posix")
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            _kill(process)


def _kill(process: subprocess.Popen[Any]) -> None:
    """Kill a process and those that it has started."""
    if os.name == "posix":
        os.killpg(process.pid, 9)
    else:
        process.kill()
    process.wait()


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module by this Python."""
    return [sys.executable, "-W", "ignore", "-m", module, *arguments]
