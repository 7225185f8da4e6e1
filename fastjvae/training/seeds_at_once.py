"""Several runs at a time, each in a process of its own with its share of the threads, or on a GPU.

A process gets the settings of its run on its standard input, which stays open as long as whoever
started it lives: a process whose input ends stops as by SIGTERM, with a checkpoint.
"""

import dataclasses
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

from fastjvae._system import apart, ask_to_stop, terminate_self
from fastjvae.data.memory import available
from fastjvae.files import cannot_write, parse_json, to_json
from fastjvae.model.device import resolve_device
from fastjvae.training.seeds_progress import SeedsProgress
from fastjvae.training.settings.run import RunConfig
from fastjvae.training.settings.saved import config_from_dict
from fastjvae.training.signals import stop_signals

MOST_JOBS = 1_000
_POLL_S = 0.2  # seconds between two looks at the processes
_ROOM = 2**30  # bytes of memory for a run; one of 60,000 small images takes half of it
# ROCm heeds both variables, one after the other; the ids that PyTorch counts are the first one's.
_VISIBLE = "HIP_VISIBLE_DEVICES" if torch.version.hip else "CUDA_VISIBLE_DEVICES"


class Place(NamedTuple):
    """Where one process at a time trains."""

    name: str  # such as "on GPU 0" and "with 1 thread"
    environment: dict[str, str]  # what its processes have beside the variables of this one


def places_for(config: RunConfig, runs: int, jobs: int | None = None) -> list[Place]:
    """The places for some runs; where it is a single one, they train one after the other.

    Args:
        config: of the runs.
        runs: how many are to be trained.
        jobs: of them at a time, on each GPU or on the CPU. By default one on each GPU; on a CPU as
            many as there are threads, where each has a GiB of memory. A step of a small batch has
            parts that threads cannot share, and so two processes of one thread each do more than
            one of two, see ``benchmarks/seeds_speed.py``.
    """
    if gpus := visible_gpus(config):
        return [Place(f"on GPU {gpu}", {_VISIBLE: gpu}) for _ in range(jobs or 1) for gpu in gpus]
    device = resolve_device(config.device)
    if device.type != "cpu":
        return [Place(f"on {device}", {})] * (jobs or 1)
    threads = torch.get_num_threads()
    jobs = max(1, min(jobs or min(threads, available() // _ROOM), runs))
    share = max(1, threads // jobs)
    # Both: where only one is set, PyTorch takes the number of the other library.
    variables = {name: str(share) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    return [Place(f"with {share} thread{'s' if share > 1 else ''}", variables)] * jobs


def visible_gpus(config: RunConfig) -> list[str]:
    """Names of the GPUs that a run may use, where it leaves the choice open; otherwise none."""
    if config.device not in ("auto", "cuda"):
        return []
    count = torch.cuda.device_count()
    chosen = os.environ.get(_VISIBLE)
    return (chosen.split(",") if chosen else list(map(str, range(count))))[:count]


def train_at_once(
    configs: Sequence[RunConfig], command: Sequence[str], places: Sequence[Place]
) -> int:
    """Keep every place at work on one run; a stop is passed on to the processes once.

    Args:
        configs: the runs, which differ in their seeds.
        command: trains the run that :func:`settings_from_stdin` reads.
        places: where; there may be two of the same name.

    Returns:
        An exit code: 0, 1 if a run failed, 128 + the signal that stopped them.
    """
    waiting, free = deque(configs), list(places)
    running: list[tuple[Place, RunConfig, subprocess.Popen[bytes]]] = []
    failed, forwarded = 0, False
    progress = SeedsProgress(len(configs))
    try:
        with stop_signals() as stopped, progress.shown():
            while running or (waiting and not stopped):
                while waiting and free and not stopped:
                    place, config = free.pop(0), waiting.popleft()
                    running.append((place, config, _start(config, command, place)))
                    progress.begin(config)
                    progress.say(f"seed {config.seed}: {place.name}, see {_log(config)}")
                if stopped and not forwarded:
                    forwarded = True
                    for _, _, process in running:
                        ask_to_stop(process)
                for each in list(running):
                    place, config, process = each
                    if (code := process.poll()) is None:
                        continue
                    running.remove(each)
                    free.append(place)
                    _close(process)
                    progress.end(config)
                    if code == 0:
                        progress.say(f"seed {config.seed}: finished")
                    elif not stopped:
                        failed = 1
                        reason = _last_line(config) or f"exit code {code}"
                        progress.say(failure(config, reason), sys.stderr)
                progress.look()
                time.sleep(_POLL_S)
            return 128 + stopped.signal if stopped.signal else failed
    finally:  # nothing trains on without us
        for _, _, process in running:
            process.kill()
            process.wait()
            _close(process)


def failure(config: RunConfig, reason: str) -> str:
    """The line about a seed that failed."""
    return f"fastjvae: seed {config.seed} failed: {reason}"


def write_settings(config: RunConfig) -> str:
    """A line of JSON with a run's settings and its folder, for the process that trains it."""
    return to_json({"out": config.run_folder, "training": config.to_dict()})


def read_settings(text: str) -> RunConfig:
    """Read what :func:`write_settings` wrote."""
    values = parse_json(text)
    return dataclasses.replace(config_from_dict(values["training"]), out=values["out"])


def settings_from_stdin() -> RunConfig:
    """The settings of the run that this process is to train; it stops when its input ends."""
    config = read_settings(sys.stdin.readline())

    def watch() -> None:
        with suppress(OSError):
            while os.read(0, 1):  # not sys.stdin, whose lock would be held when Python ends
                pass
        terminate_self()

    threading.Thread(target=watch, daemon=True).start()
    return config


def _start(config: RunConfig, command: Sequence[str], place: Place) -> subprocess.Popen[bytes]:
    try:
        _log(config).parent.mkdir(parents=True, exist_ok=True)
        log = _log(config).open("ab")
    except OSError as error:
        raise cannot_write(_log(config), error) from error
    with log:
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **place.environment},
            **apart(),  # a stop comes from us alone: a Ctrl-C beside it would end it hard
        )
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # its exit code will say more
        process.stdin.write(f"{write_settings(config)}\n".encode())
        process.stdin.flush()
    return process


def _close(process: subprocess.Popen[bytes]) -> None:
    """Close the pipe to a process that has ended."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()


def _log(config: RunConfig) -> Path:
    """The output of a seed's process, beside its run folder, which stays as it always is."""
    return Path(f"{config.run_folder}.log")


def _last_line(config: RunConfig) -> str:
    lines = _log(config).read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("fastjvae: ") if lines else ""
