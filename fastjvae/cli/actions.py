"""What the commands do: ``fastjvae train | infogan | evaluate | figures | edit | export``."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from fastjvae.cli.drawing import Subject, animate, draw, figures_folder, growth_of_kl
from fastjvae.cli.figure_commands import FIGURES, Edit, ModelAndData
from fastjvae.cli.parser import (
    Evaluate,
    Export,
    Figures,
    InfoGANFlags,
    Resume,
    Train,
    TrainFlags,
    TrainInfoGAN,
)
from fastjvae.data import SPLIT_DATASETS, DataSource, ImageData
from fastjvae.data import load as load_data
from fastjvae.errors import ArgumentError, DataError, RunError
from fastjvae.figures.frames import frame_files
from fastjvae.files import to_json, write_json
from fastjvae.metrics.evaluation import Evaluation, evaluate
from fastjvae.metrics.scores import Scores
from fastjvae.model import JointVAE, export, load
from fastjvae.training.device import resolve_device
from fastjvae.training.infogan.settings import InfoGANConfig
from fastjvae.training.infogan.trainer import InfoGANTrainer
from fastjvae.training.processes import Processes, join_processes
from fastjvae.training.recipes import RECIPES
from fastjvae.training.run_folder import RunFolder, last_step, read_metrics, run_of
from fastjvae.training.run_settings import RunConfig
from fastjvae.training.seeds import (
    is_finished,
    parse_seeds,
    seed_configs,
    seeds_folder,
    train_seeds,
    visible_gpus,
)
from fastjvae.training.seeds_table import summarise
from fastjvae.training.settings import TrainConfig
from fastjvae.training.trainer import Trainer


def act(command: Any) -> int:
    """Do what a command says, as :func:`fastjvae.cli.parser.parse` returns it; the exit code."""
    call = next(call for kind, call in _COMMANDS.items() if isinstance(command, kind))
    return call(command)


def train(config: RunConfig) -> int:
    """Train the run of these settings, evaluate it and draw its figures; returns the exit code."""
    return _run_training(config, RunFolder(config.run_folder))


# --- commands -------------------------------------------------------------------------------------


def _train(command: Train | TrainInfoGAN) -> int:
    flags: TrainFlags | InfoGANFlags = command.config
    config = flags.config()
    here: dict[str, Any] = {  # so that the run can be resumed and evaluated from another folder
        name: str(Path(value).absolute())
        for name in ("data_root", "labels", "start_from")
        if (value := getattr(config, name, None)) is not None
    }
    config = dataclasses.replace(config, **here)
    if flags.seeds is not None:
        return _train_seeds(config, parse_seeds(flags.seeds))
    return train(config)


_TRAIN_FROM_STDIN = "import sys, fastjvae.cli; sys.exit(fastjvae.cli.train_from_stdin())"


def _train_seeds(config: RunConfig, seeds: tuple[int, ...]) -> int:
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ArgumentError(
            "--seeds trains one seed after the other, or one on each GPU, without torchrun"
        )
    folder = seeds_folder(config)
    data = load_data(config.source())
    held_out = _held_out(config, data)
    code = train_seeds(
        config,
        seeds,
        folder,
        lambda each: _train_run(each, RunFolder(each.run_folder), data, held_out),
        command=[sys.executable, "-c", _TRAIN_FROM_STDIN],
        gpus=visible_gpus(config),
    )
    summary = summarise(config, seeds, folder, held_out.images, resolve_device(config.device))
    if summary is not None:
        write_json(folder / "seeds.json", summary.to_dict())
        print(summary.table())
        print(f"models and seeds.json: {folder}")
    if code > 128:
        print("stopped; go on with the same command again")
    elif code:
        each = seed_configs(config, seeds, folder)
        failed = [str(one.seed) for one in each if not is_finished(one)]
        raise RunError(f"{len(failed)} of {len(seeds)} seeds failed: {', '.join(failed)}")
    return code


def _resume(command: Resume) -> int:
    run = RunFolder(command.resume)
    given: dict[str, Any] = {
        k: v for k, v in vars(command).items() if k != "resume" and v is not None
    }
    if "data_root" in given:
        given["data_root"] = str(Path(given["data_root"]).absolute())
    before = run.read_config()
    if (own := run.own_data()) is not None:
        raise ArgumentError(
            f"{run} was trained on images that were given in Python ({own}): go on there, by"
            f" Trainer(config, data, run, resuming=True)"
        )
    if "timeout" in given and isinstance(before, InfoGANConfig):
        raise ArgumentError("--timeout is for several processes, and InfoGAN trains in one")
    config = dataclasses.replace(before, **given)
    return _run_training(config, run, resuming=True)


def _run_training(config: RunConfig, run: RunFolder, resuming: bool = False) -> int:
    processes = _processes(config)

    def prepare() -> ImageData:
        if not resuming:
            run.check(config)  # before data are made or neighbours sought
        return load_data(config.source())

    data = processes.first(prepare)  # by one process
    if data is None:
        data = load_data(config.source())
    held_out = data
    if processes.is_first:
        held_out = _held_out(config, data)  # before training, so that a mistake shows at once
    go_on = f"; go on with: fastjvae train --resume {run}"
    code = _train_run(config, run, data, held_out, resuming, go_on, processes)
    processes.leave()
    return code


def _processes(config: RunConfig) -> Processes:
    if isinstance(config, TrainConfig):
        return join_processes(config.device, config.timeout)
    if (world := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise ArgumentError(f"InfoGAN trains in one process, without torchrun, got {world}")
    return Processes()


def _trainer(
    config: RunConfig, data: ImageData, run: RunFolder, resuming: bool, processes: Processes
) -> Trainer | InfoGANTrainer:
    if isinstance(config, InfoGANConfig):
        return InfoGANTrainer(config, data, run, resuming=resuming, processes=processes)
    assert isinstance(config, TrainConfig)
    return Trainer(config, data, run, resuming=resuming, processes=processes)


def _train_run(
    config: RunConfig,
    run: RunFolder,
    data: ImageData,
    held_out: ImageData,
    resuming: bool = False,
    go_on: str = "",
    processes: Processes = Processes(),  # noqa: B008  one process has no state
) -> int:
    """Train, evaluate and draw; ``go_on`` ends the message of a run that a signal stopped."""
    trainer = _trainer(config, data, run, resuming, processes)
    if not processes.is_first:
        return 0 if trainer.train() else 128 + (trainer.stop_signal or 0)
    begin = f" from step {trainer.step:,}" if trainer.step else ""
    others = f" and {processes.world - 1} more" if processes.world > 1 else ""
    print(
        f"training on {data.name} ({len(data):,} images of {_size(data.img_size)}), on"
        f" {trainer.device}{others}:{begin} to step {trainer.total_steps:,}, in {run}",
        flush=True,
    )
    if not trainer.train():
        print(f"stopped after step {trainer.step:,} of {trainer.total_steps:,}{go_on}")
        return 128 + (trainer.stop_signal or 0)
    model = trainer.model.eval()
    evaluation = evaluate(model, held_out, config.channel_reduction, steps=trainer.step)
    run.check_is_there()
    write_json(run.evaluation_file, evaluation.to_dict())
    print(evaluation.table())
    if config.figures and model.img_size[0] not in (1, 3):
        print(f"figures: none, images of {model.img_size[0]} channels are neither grey nor RGB")
    elif config.figures:
        _draw(model, held_out, evaluation, run.figures, run)
    print(f"model: {run}")
    return 0


def _evaluate(command: Evaluate) -> int:
    model = load(command.run).to(resolve_device(command.device))
    data = load_data(_source(command, model, command.split))
    evaluation = _evaluation(model, data, run_of(command.run), command.scores)
    print(to_json(evaluation.to_dict(), indent=2) if command.json else evaluation.table())
    return 0


def _figures(command: Figures) -> int:
    model = load(command.run).to(resolve_device(command.device))
    run = run_of(command.run)
    folder = figures_folder(command.out, run)
    data = load_data(_source(command, model, "test"))
    evaluation = _evaluation(model, data, run, "none")
    _draw(model, data, evaluation, folder, run)
    return 0


def _figure(command: Any) -> int:
    """Draw one figure, or edit a picture."""
    path = draw(command, lambda run: _subject(command, run))
    print(f"figure: {path}")
    return 0


def _subject(command: Any, run: str) -> Subject:
    """The model of a run, on the device, and the data, that a command for a figure names."""
    model = load(run).to(resolve_device(command.device))
    given = {
        name: getattr(command, name)
        for name in ("dataset", "data_root", "grid")
        if hasattr(command, name)
    }
    named = ModelAndData(run, **given)
    return Subject(run, model, lambda: load_data(_source(named, model, "test")))


def _export(command: Export) -> int:
    model = load(command.run)
    run = run_of(command.run)
    folder = Path(command.out) if command.out else run.path / f"export-{command.to}"
    if command.to == "published":
        export.save_published(model, folder, _published_specs(run))
    elif command.to == "safetensors":
        model.save_pretrained(folder)
    else:
        export.save_exported(model, folder)
    print(f"wrote {', '.join(sorted(p.name for p in folder.iterdir()))} to {folder}")
    return 0


# --- what the commands share ----------------------------------------------------------------------


def _held_out(config: RunConfig, data: ImageData) -> ImageData:
    """The test images of the data set, or the training images where there are none."""
    if config.dataset not in SPLIT_DATASETS:
        return data
    try:
        return load_data(config.source("test"))
    except DataError as error:
        print(f"fastjvae: {error}; the evaluation will use the training images", file=sys.stderr)
        return data


def _source(command: ModelAndData, model: JointVAE, split: Literal["train", "test"]) -> DataSource:
    """The data that a command names, by default those of its run, in the size the model takes."""
    run = run_of(command.run)
    own = run.own_data()
    if command.dataset is None and own is not None:
        raise ArgumentError(
            f"{run} was trained on images that were given in Python ({own}): name a data set, one"
            f" of {', '.join(RECIPES)}, or call fastjvae.metrics.evaluation.evaluate(model, data)"
        )
    is_own = run.is_run() and own is None and run.read_config().dataset == command.dataset
    if command.dataset is None or is_own:
        if not run.is_run():
            raise ArgumentError(
                f"{command.run} does not say what it was trained on: name a data set,"
                f" one of {', '.join(RECIPES)}"
            )
        config = run.read_config()
        if command.data_root is not None:
            config = dataclasses.replace(config, data_root=command.data_root, labels=None)
        try:
            source = config.source(split)
        except ArgumentError as error:
            raise ArgumentError(f"{run.config_file}: {error}") from None
    else:
        split = split if command.dataset in SPLIT_DATASETS else "train"
        source = DataSource(name=command.dataset, root=command.data_root, split=split)
    if command.grid:
        source = dataclasses.replace(source, grid=command.grid)
    channels, height, width = model.img_size
    if source.name == "images" and channels in (1, 3):
        source = dataclasses.replace(source, channels=channels)  # type: ignore[arg-type]
    return dataclasses.replace(source, image_size=(height, width))


def _draw(
    model: JointVAE,
    data: ImageData,
    evaluation: Evaluation,
    folder: Path,
    run: RunFolder,
) -> None:
    from fastjvae import figures

    drawn = {"reconstructions": figures.reconstructions(model, data.images[:32])}
    kl_disc = [variable.kl for variable in evaluation.variables]
    drawn["traversals"] = figures.traversals(
        model, evaluation.kl_cont, kl_disc=kl_disc, max_units=max(model.spec.cont, 1)
    )
    for number, variable in enumerate(evaluation.variables):
        drawn[f"categories-c{number}"] = figures.samples_by_category(
            model, variable=number, shares=variable.shares
        )
    records = read_metrics(run)
    if records and "kl_cont" in records[0]:  # which an InfoGAN's are without
        drawn["kl-growth"] = growth_of_kl(run, records)
    for name, figure in drawn.items():
        figures.save(figure, folder / f"{name}.png")
    files = [f"{name}.png" for name in drawn]
    if frame_files(run.frames):
        animate(run, model, folder / "animation.gif")
        files.append("animation.gif")
    print(f"figures: {', '.join(files)} in {folder}")


def _published_specs(run: RunFolder) -> dict[str, Any]:
    """The training settings in the form of the published code's specs.json."""
    if not run.is_run():
        return {}
    config = run.read_config()
    specs: dict[str, Any] = {
        "dataset": config.dataset.replace("-", "_"),
        "batch_size": config.batch_size,
        "epochs": [config.epochs],
        "record_loss_every": config.log_every,
        "print_loss_every": config.log_every,
        "experiment_name": run.path.name,
    }
    if not isinstance(config, TrainConfig):
        return specs
    return {
        **specs,
        "lr": [config.lr],
        "cont_capacity": list(dataclasses.astuple(config.cont_capacity)[:4]),
        "disc_capacity": list(dataclasses.astuple(config.disc_capacity)[:4]),
    }


def _evaluation(model: JointVAE, data: ImageData, run: RunFolder, scores: Scores) -> Evaluation:
    """Evaluate a model with what its run says of it, where it has one."""
    if not run.is_run():
        return evaluate(model, data, scores=scores)
    return evaluate(model, data, run.read_config().channel_reduction, scores, last_step(run))


def _size(img_size: tuple[int, int, int]) -> str:
    return "x".join(map(str, img_size))


_COMMANDS: dict[type, Callable[[Any], int]] = {
    Train: _train,
    TrainInfoGAN: _train,
    Resume: _resume,
    Evaluate: _evaluate,
    Figures: _figures,
    **dict.fromkeys((*FIGURES.values(), Edit), _figure),
    Export: _export,
}
