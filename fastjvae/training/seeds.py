"""The same run from several seeds, trained in turn or on several GPUs at once.

The runs lie in ``FOLDER/seedN``, each as ``fastjvae train --seed N`` would leave it. What they gave
is compared in :mod:`fastjvae.training.seeds_table`.
"""

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from fastjvae.errors import ArgumentError, NonFiniteLossError, RunError
from fastjvae.files import cannot_write, parse_json, to_json
from fastjvae.model import pretrained
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.run import RunConfig
from fastjvae.training.settings.saved import config_from_dict
from fastjvae.training.signals import stop_signals

_MOST_SEEDS = 10_000  # beyond it a number is mistyped
_POLL_S = 0.2  # seconds between two looks at the processes
# ROCm heeds both variables, one after the other; the ids that PyTorch counts are the first one's.
_VISIBLE = "HIP_VISIBLE_DEVICES" if torch.version.hip else "CUDA_VISIBLE_DEVICES"


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read seeds and ranges of seeds, in the order given; both ends of a range are in it.

    >>> parse_seeds("0..4,9")
    (0, 1, 2, 3, 4, 9)

    Raises:
        ArgumentError: a word is neither a number nor a range, a range runs backwards, a seed is
            named twice or is too large, or there are more than 10,000.
    """
    seeds: list[int] = []
    for word in text.split(","):
        match = re.fullmatch(r"\s*([0-9]+)\s*(?:\.\.\s*([0-9]+)\s*)?", word)
        if match is None:
            raise ArgumentError(
                f"--seeds takes whole numbers from 0 and ranges, such as 0..9 or 0,3,7,"
                f" got {word.strip()!r} in {text!r}"
            )
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise ArgumentError(
                f"--seeds: a range goes from the smaller seed to the larger one, as {last}..{first}"
                f" does, got {word.strip()!r}"
            )
        if last >= 2**31:
            raise ArgumentError(f"--seeds must be between 0 and 2147483647, got {last}")
        if len(seeds) + last - first >= _MOST_SEEDS:
            raise ArgumentError(f"--seeds takes at most {_MOST_SEEDS:,} seeds, got {text!r}")
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        raise ArgumentError(f"--seeds must name each seed once, got {twice} twice in {text!r}")
    return tuple(seeds)


def seeds_folder(config: RunConfig) -> Path:
    """The folder of the run folders: ``config.out``, by default ``runs/NAME-seeds``.

    The default does not depend on the seeds, so that naming more of them later trains only those.
    """
    return Path(config.out or f"runs/{config.name}-seeds")


def seed_configs(config: RunConfig, seeds: Sequence[int], folder: Path) -> list[RunConfig]:
    """The settings of each seed's run, which lies in ``folder/seedN``."""
    return [
        dataclasses.replace(config, seed=seed, out=str(folder / f"seed{seed}")) for seed in seeds
    ]


def is_finished(config: RunConfig) -> bool:
    """Whether this very run lies in its folder, trained, evaluated and drawn."""
    run = RunFolder(config.run_folder)
    return (
        run.is_run()
        and config.differing(run.read_config()) is None
        and (run.path / pretrained.WEIGHTS).exists()
        and run.evaluation_file.exists()
        and (run.figures.is_dir() or not config.figures)
    )


# --- training -------------------------------------------------------------------------------------


def train_seeds(
    config: RunConfig,
    seeds: Sequence[int],
    folder: Path,
    train: Callable[[RunConfig], int],
    *,
    command: Sequence[str] = (),
    gpus: Sequence[str] = (),
) -> int:
    """Train each seed that is not finished, in turn, or one per GPU at once.

    A seed whose loss is not finite has failed, and the others go on.

    Args:
        config: the settings that the runs share; its ``seed`` and ``out`` are not used.
        seeds: as from :func:`parse_seeds`.
        folder: where the run folders lie, see :func:`seed_configs`.
        train: trains, evaluates and draws one run, or goes on with it; returns 0, or an exit code
            above 128 if a signal stopped it.
        command: does what ``train`` does in a process of its own, see :func:`write_settings`.
        gpus: as CUDA_VISIBLE_DEVICES names them; used where there are at least two.

    Returns:
        An exit code: 0, 1 if a seed failed, 128 + the signal that stopped it.

    Raises:
        RunError: ``folder`` is itself a run folder, or one of the run folders cannot be used.
    """
    if RunFolder(folder).is_run():
        raise RunError(
            f"{folder} is a run folder, several seeds need a folder around theirs;"
            " choose another one with --out"
        )
    configs = seed_configs(config, seeds, folder)
    for each in configs:  # before training, so that another run in the way shows at once
        RunFolder(each.run_folder).check(each)
    waiting = []
    for each in configs:
        if is_finished(each):
            print(f"seed {each.seed}: finished before, in {each.run_folder}")
        else:
            waiting.append(each)
    if len(gpus) > 1 and len(waiting) > 1:
        return _train_on_gpus(waiting, command, gpus)
    return _train_in_turn(waiting, train)


def _train_in_turn(configs: Sequence[RunConfig], train: Callable[[RunConfig], int]) -> int:
    failed = 0
    for number, config in enumerate(configs, start=1):
        print(f"seed {config.seed}, {number} of {len(configs)}", flush=True)
        try:
            code = train(config)
        except NonFiniteLossError as error:
            failed = _say_failed(config, str(error))
            continue
        except KeyboardInterrupt:  # outside the training loop
            code = 128 + signal.SIGINT
        if code:
            return code
    return failed


def _train_on_gpus(
    configs: Sequence[RunConfig], command: Sequence[str], gpus: Sequence[str]
) -> int:
    """Keep every GPU at work on one seed; a stop is passed on to the processes once."""
    waiting, free = deque(configs), list(gpus)
    running: dict[str, tuple[RunConfig, subprocess.Popen[bytes]]] = {}
    failed, forwarded = 0, False
    try:
        with stop_signals() as stopped:
            while running or (waiting and not stopped):
                while waiting and free and not stopped:
                    gpu, config = free.pop(0), waiting.popleft()
                    running[gpu] = (config, _start(config, command, gpu))
                    print(f"seed {config.seed}: on GPU {gpu}, see {_log(config)}", flush=True)
                if stopped and not forwarded:
                    forwarded = True
                    for _, process in running.values():
                        process.terminate()
                for gpu, (config, process) in list(running.items()):
                    if (code := process.poll()) is None:
                        continue
                    del running[gpu]
                    free.append(gpu)
                    if code == 0:
                        print(f"seed {config.seed}: finished", flush=True)
                    elif not stopped:
                        failed = _say_failed(config, _last_line(config) or f"exit code {code}")
                time.sleep(_POLL_S)
            return 128 + stopped.signal if stopped.signal else failed
    finally:  # nothing trains on without us
        for _, process in running.values():
            process.kill()
            process.wait()


def _start(config: RunConfig, command: Sequence[str], gpu: str) -> subprocess.Popen[bytes]:
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
            env={**os.environ, _VISIBLE: gpu},
            start_new_session=True,  # a Ctrl-C comes from us alone: a second one would end it hard
        )
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:  # its exit code will say more
        pipe.write(write_settings(config).encode())
    return process


def write_settings(config: RunConfig) -> str:
    """JSON of a run's settings and its folder, for the process that trains it."""
    return to_json({"out": config.run_folder, "training": config.to_dict()})


def read_settings(text: str) -> RunConfig:
    """Read what :func:`write_settings` wrote."""
    values = parse_json(text)
    return dataclasses.replace(config_from_dict(values["training"]), out=values["out"])


def visible_gpus(config: RunConfig) -> list[str]:
    """Names of the GPUs that a run may use, where it leaves the choice open; otherwise none."""
    if config.device not in ("auto", "cuda"):
        return []
    count = torch.cuda.device_count()
    chosen = os.environ.get(_VISIBLE)
    return (chosen.split(",") if chosen else list(map(str, range(count))))[:count]


def _log(config: RunConfig) -> Path:
    """The output of a seed's process, beside its run folder, which stays as it always is."""
    return Path(f"{config.run_folder}.log")


def _last_line(config: RunConfig) -> str:
    lines = _log(config).read_text(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("fastjvae: ") if lines else ""


def _say_failed(config: RunConfig, reason: str) -> int:
    print(f"fastjvae: seed {config.seed} failed: {reason}", file=sys.stderr, flush=True)
    return 1
