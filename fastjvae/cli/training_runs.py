"""Trains a run or several seeds, evaluates what was learned and draws its figures."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fastjvae.cli.figures.run import draw_all
from fastjvae.cli.summary import assumption, summary
from fastjvae.data import ImageData
from fastjvae.data import load as load_data
from fastjvae.errors import ArgumentError, RunError
from fastjvae.files import write_json
from fastjvae.model.device import resolve_device
from fastjvae.model.own_networks import NETWORKS
from fastjvae.training.evaluated import evaluated
from fastjvae.training.held_out import images_of_test
from fastjvae.training.infogan.settings import InfoGANConfig
from fastjvae.training.infogan.trainer import InfoGANTrainer
from fastjvae.training.labelled import check_some_left
from fastjvae.training.loop import TrainingLoop
from fastjvae.training.model_card import saved_evaluation
from fastjvae.training.processes import Processes, join_processes
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.seeds import is_finished, seed_configs, seeds_folder
from fastjvae.training.seeds import train_seeds as train_each
from fastjvae.training.seeds_table import SeedsSummary, summarise
from fastjvae.training.settings.late_capacities import late_capacities
from fastjvae.training.settings.own_networks import named_networks
from fastjvae.training.settings.run import RunConfig
from fastjvae.training.settings.train import TrainConfig
from fastjvae.training.trainer import Trainer

_TRAIN_FROM_STDIN = "import sys, fastjvae.cli; sys.exit(fastjvae.cli.train_from_stdin())"

Fitted = Callable[[ImageData], RunConfig]


def train_run(
    config: RunConfig,
    run: RunFolder,
    resuming: bool = False,
    notice: str = "",
    fitted: Fitted | None = None,
    networks: Mapping[str, Any] = MappingProxyType({}),
) -> int:
    """Train one run, evaluate it and draw its figures; returns the exit code.

    Args:
        notice: a line about the settings, printed first.
        fitted: makes the run's settings once its images are loaded, which ``config`` names.
        networks: own networks that the settings do not name, see
            :class:`fastjvae.training.Trainer`.
    """
    processes = _processes(config)
    if notice and processes.is_first:
        print(notice, flush=True)

    def prepare() -> ImageData:
        if not resuming and (fitted is None or not run.config_file.exists()):
            run.check(config)  # before data are made
        data = load_data(config.source())
        if not resuming and fitted is not None:
            run.check(fitted(data))  # before neighbours are sought
        return data

    data = processes.first(prepare)  # by one process
    if data is None:
        data = load_data(config.source())
    if fitted is not None:
        config = fitted(data)
        if processes.is_first:
            height, width = data.img_size[1:]
            print(f"settings for {len(data):,} images of {height}x{width}: {config.steps:,} steps")
    held_out = data
    if processes.is_first:
        # Before training, so that a mistake shows at once.
        held_out = evaluation_images(config, data)
    go_on = f"; go on with: fastjvae train --resume {run}{networks_flags(config)}"
    code = _train(config, run, data, held_out, resuming, go_on, processes, networks)
    processes.leave()
    return code


def train_seeds(
    config: RunConfig,
    seeds: tuple[int, ...],
    notice: str = "",
    fitted: Fitted | None = None,
    jobs: int | None = None,
) -> int:
    """Train the run of every seed and compare them; returns the exit code."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ArgumentError(
            "--seeds trains each seed in one process, --jobs of them at once, without torchrun"
        )
    if notice:
        print(notice, flush=True)
    folder = seeds_folder(config)
    data = load_data(config.source())
    if fitted is not None:
        config = fitted(data)
    code, compared = compared_seeds(
        config, seeds, folder, data, evaluation_images(config, data), jobs
    )
    if compared is not None:
        print(compared.table())
        if assumed := assumption(config):
            print(assumed)
        print(f"models and seeds.json: {folder}")
    if code > 128:
        print("stopped; go on with the same command again")
    elif code:
        each = seed_configs(config, seeds, folder)
        failed = [str(one.seed) for one in each if not is_finished(one)]
        raise RunError(f"{len(failed)} of {len(seeds)} seeds failed: {', '.join(failed)}")
    return code


def compared_seeds(
    config: RunConfig,
    seeds: Sequence[int],
    folder: Path,
    data: ImageData,
    held_out: ImageData,
    jobs: int | None = None,
) -> tuple[int, SeedsSummary | None]:
    """Train the run of every seed in a folder, and write ``seeds.json`` of those that are finished.

    Returns:
        The exit code of :func:`fastjvae.training.seeds.train_seeds`, and the comparison, None where
        no seed is finished.
    """
    code = train_each(
        config,
        seeds,
        folder,
        lambda each: _train(each, RunFolder(each.run_folder), data, held_out),
        command=[sys.executable, "-c", _TRAIN_FROM_STDIN],
        jobs=jobs,
    )
    compared = summarise(config, seeds, folder, held_out.images, resolve_device(config.device))
    if compared is not None:
        write_json(folder / "seeds.json", compared.to_dict())
    return code, compared


def _processes(config: RunConfig) -> Processes:
    if isinstance(config, TrainConfig):
        return join_processes(config.device, config.timeout)
    if (world := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise ArgumentError(f"InfoGAN trains in one process, without torchrun, got {world}")
    return Processes()


def _train(
    config: RunConfig,
    run: RunFolder,
    data: ImageData,
    held_out: ImageData,
    resuming: bool = False,
    go_on: str = "",
    processes: Processes = Processes(),  # noqa: B008  one process has no state
    networks: Mapping[str, Any] = MappingProxyType({}),
) -> int:
    """Train, evaluate and draw; ``go_on`` ends the message of a run that a signal stopped."""

    def check() -> None:
        if held_out is data and isinstance(config, TrainConfig):
            check_some_left(data, config)

    processes.first(check)
    kind: Any = InfoGANTrainer if isinstance(config, InfoGANConfig) else Trainer
    watched = config.held_out or getattr(config, "patience", None)
    trainer: TrainingLoop = kind(
        config,
        data,
        run,
        resuming=resuming,
        processes=processes,
        held_out=held_out if watched and held_out is not data else None,
        **networks,
    )
    had_finished = trainer.finished
    if not processes.is_first:
        return 0 if trainer.train() else 128 + (trainer.stop_signal or 0)
    if had_finished and _is_concluded(run, config) and trainer.train():
        print(
            f"{run} is finished already, at step {trainer.step:,}; to go further:"
            f" fastjvae train --resume {run}{networks_flags(config)} --steps STEPS"
        )
        return 0
    begin = f" from step {trainer.step:,}" if trainer.step else ""
    others = f" and {processes.world - 1} more" if processes.world > 1 else ""
    size = "x".join(map(str, data.img_size))
    print(
        f"training on {data.name} ({len(data):,} images of {size}), on"
        f" {trainer.device}{others}:{begin} to step {trainer.total_steps:,}, in {run}",
        flush=True,
    )
    if isinstance(config, TrainConfig):
        for sentence in late_capacities(config, trainer.total_steps):
            _warn(sentence)
    if not trainer.train():
        print(f"stopped after step {trainer.step:,} of {trainer.total_steps:,}{go_on}")
        return 128 + (trainer.stop_signal or 0)
    model = trainer.model
    evaluation = evaluated(trainer, None if held_out is data else held_out)
    print(evaluation.table())
    if config.figures and model.img_size[0] not in (1, 3):
        print(f"figures: none, images of {model.img_size[0]} channels are neither grey nor RGB")
    elif config.figures:
        draw_all(model, held_out, evaluation, run.figures, run)
    named = networks_flags(config)
    how = f", which commands load with{named} or --trust-imports" if named else ""
    print(f"model: {run}{how}")
    print(summary(evaluation, config))
    if config.figures and (picture := run.figures / "overview.png").exists():
        print(f"all in one picture: {picture}")
    return 0


def _is_concluded(run: RunFolder, config: RunConfig) -> bool:
    """Whether the model that a run has ended with was evaluated and drawn."""
    drawn = run.figures.is_dir() or not config.figures
    try:
        return drawn and saved_evaluation(run) is not None
    except RunError:  # the file is damaged
        return False


def networks_flags(config: RunConfig) -> str:
    """The flags by which another command may import the own networks of a run, if it names some."""
    names = named_networks(config)
    return "".join(f" --{which} {names[which]}" for which in NETWORKS if which in names)


def evaluation_images(config: RunConfig, data: ImageData) -> ImageData:
    """The test images of the data set, or the training images themselves where there are none."""
    return images_of_test(data, config.source(), _warn) or data


def _warn(sentence: str) -> None:
    print(f"fastjvae: {sentence}", file=sys.stderr)
