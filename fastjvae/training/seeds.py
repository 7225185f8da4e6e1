"""The same run from several seeds, trained one after the other or several at once.

The runs lie in ``FOLDER/seedN``, each as ``fastjvae train --seed N`` would leave it. What they gave
is compared in :mod:`fastjvae.training.seeds_table`.
"""

import dataclasses
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fastjvae.errors import ArgumentError, NonFiniteLossError, RunError
from fastjvae.model import pretrained
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.seeds_at_once import failure, places_for, train_at_once
from fastjvae.training.settings.run import RunConfig

_MOST_SEEDS = 10_000  # beyond it a number is mistyped


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
    jobs: int | None = None,
) -> int:
    """Train each seed that is not finished, one after the other or several at once.

    A seed whose loss is not finite has failed, and the others go on.

    Args:
        config: the settings that the runs share; its ``seed`` and ``out`` are not used.
        seeds: as from :func:`parse_seeds`.
        folder: where the run folders lie, see :func:`seed_configs`.
        train: trains, evaluates and draws one run, or goes on with it; returns 0, or an exit code
            above 128 if a signal stopped it.
        command: does what ``train`` does in a process of its own.
        jobs: seeds at a time, see :func:`fastjvae.training.seeds_at_once.places_for`.

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
    if len(waiting) > 1 and len(places := places_for(config, len(waiting), jobs)) > 1:
        return train_at_once(waiting, command, places)
    return _train_in_turn(waiting, train)


def _train_in_turn(configs: Sequence[RunConfig], train: Callable[[RunConfig], int]) -> int:
    failed = 0
    for number, config in enumerate(configs, start=1):
        print(f"seed {config.seed}, {number} of {len(configs)}", flush=True)
        try:
            code = train(config)
        except NonFiniteLossError as error:
            print(failure(config, str(error)), file=sys.stderr, flush=True)
            failed = 1
            continue
        except KeyboardInterrupt:  # outside the training loop
            code = 128 + signal.SIGINT
        if code:
            return code
    return failed
