"""The command line: ``fastjvae train | infogan | evaluate | figures | edit | export``."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union

import tyro
from tyro.conf import FlagCreatePairsOff, OmitSubcommandPrefixes, Positional, arg, subcommand

from fastjvae import checkpoint
from fastjvae.checkpoint import load
from fastjvae.checks import ChannelReduction
from fastjvae.comparison import summarise
from fastjvae.data import SPLIT_DATASETS, DataSource, ImageData
from fastjvae.data import load as load_data
from fastjvae.drawing import Subject, animate, beside, draw
from fastjvae.errors import ArgumentError, DataError, FastJVAEError
from fastjvae.evaluation import Evaluation, evaluate
from fastjvae.figure_commands import FIGURES, Edit, FigureCommand, ModelAndData
from fastjvae.figures.frames import frame_files
from fastjvae.files import write_json
from fastjvae.infogan import InfoGANTrainer
from fastjvae.loop import resolve_device
from fastjvae.metrics.scores import Scores
from fastjvae.model import JointVAE
from fastjvae.processes import OtherProcessError, Processes, join_processes
from fastjvae.recipes import RECIPES, RecipeName, recipe
from fastjvae.run import RunFolder, read_metrics
from fastjvae.seeds import parse_seeds, read_settings, seeds_folder, train_seeds, visible_gpus
from fastjvae.settings import AnyConfig, InfoGANConfig, RunConfig, TrainConfig
from fastjvae.trainer import Trainer

_DESCRIPTIONS = {
    "digits": "scikit-learn's 1,797 handwritten digits, embedded; the default of make train",
    "mnist": "handwritten digits, with the paper's setting",
    "fashion-mnist": "pictures of clothes, with the paper's setting",
    "chairs": "rendered chairs, with the paper's setting",
    "celeba": "aligned faces, with the paper's setting",
    "dsprites": "white shapes with five known factors, with the paper's setting",
    "sprites": "the like drawn here, no file to bring, with the paper's setting for dSprites",
    "images": "a folder of pictures, with the paper's setting for CelebA",
    "arrays": "a .npy or .npz file, with the paper's setting for MNIST",
}


@dataclass(frozen=True)
class SeedsFlag:
    """The flag that makes several runs; to be mixed into the settings of one."""

    seeds: Annotated[str | None, arg(metavar="SEEDS")] = None
    """instead of --seed: train each of these seeds, such as 0..9 or 0,3,7, in turn or one per GPU,
    and compare them; their run folders are OUT/seedN, by default runs/DATASET-seeds/seedN, and the
    same command again goes on where it stopped"""

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[misc]
        if self.seeds is not None:
            parse_seeds(self.seeds)

    def config(self) -> AnyConfig:
        """The settings alone."""
        kind = InfoGANConfig if isinstance(self, InfoGANConfig) else TrainConfig
        names = [field.name for field in dataclasses.fields(kind)]
        return kind(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True)
class TrainFlags(SeedsFlag, TrainConfig):
    """The settings of a run, and the flags that give them their defaults or make several runs."""

    recipe: RecipeName | None = None
    """the set of defaults that the other flags override: paper, appendix C of the paper, for the
    data sets in it, and default for the others"""

    def __post_init__(self) -> None:
        super().__post_init__()
        recipe(self.dataset, self.recipe)


@dataclass(frozen=True)
class InfoGANFlags(SeedsFlag, InfoGANConfig):
    """The settings of a run of InfoGAN, and the flag that makes several runs of them."""


InfoGANCommand: Any = Union[  # noqa: UP007  made from a tuple, for tyro
    tuple(
        Annotated[
            InfoGANFlags,
            subcommand(
                name,
                default=InfoGANFlags(
                    **{
                        field.name: getattr(recipe(name), field.name)
                        for field in dataclasses.fields(RunConfig)
                    }
                ),
                description=_DESCRIPTIONS[name].split(", with")[0],
            ),
        ]
        for name in RECIPES
    )
]


@dataclass(frozen=True)
class Train:
    """Train a model, evaluate it and draw its figures.

    To go on with a run that was stopped: fastjvae train --resume RUN [--steps STEPS]

    To train several seeds and compare them: fastjvae train DATASET --seeds 0..9
    """

    config: Any  # TrainFlags with the defaults of a recipe, of _train_command


@dataclass(frozen=True)
class TrainInfoGAN:
    """Train InfoGAN, the paper's comparison, with the same networks; evaluate it, draw its figures.

    The generator becomes the decoder of the saved model and Q its encoder, so that evaluate,
    figures and export take the run as any other.

    To go on with a run that was stopped: fastjvae train --resume RUN [--steps STEPS]
    """

    config: Annotated[InfoGANCommand, arg(name="")]


@dataclass(frozen=True)
class Resume:
    """Go on with a training run as if it had never stopped."""

    resume: Annotated[str, arg(metavar="RUN")]
    """the run folder"""
    steps: int | None = None
    """train to this many steps instead of to where the run was to end"""
    data_root: str | None = None
    """where the data lie now, if they were moved"""
    device: str | None = None
    """cpu, cuda, ...; by default the run's own choice"""
    timeout: float | None = None
    """several processes: seconds to wait for one that does not answer"""


@dataclass(frozen=True)
class Evaluate(ModelAndData):
    """Print what a model has learned, as a table or as JSON."""

    split: Literal["train", "test"] = "test"
    """which part of the data set, where it has two"""
    scores: Scores = "fast"
    """data with factors: fast are Kim & Mnih's score, the beta-VAE metric, MIG and SAP; all are
    also DCI, which grows 100 trees for every value of every factor"""
    json: bool = False
    """print JSON instead of a table"""


@dataclass(frozen=True)
class Figures(ModelAndData):
    """Draw reconstructions, traversals, samples per category and the growth of KL.

    To draw one figure: fastjvae figures FIGURE --help, where FIGURE is reconstructions, traversal,
    grid, side-by-side, samples, metrics, kl-growth, ranked, azimuth or animation
    """

    out: str | None = None
    """folder for the figures; by default figures/ in the run folder"""


@dataclass(frozen=True)
class Export:
    """Write a model in another form."""

    run: Positional[Annotated[str, arg(metavar="RUN")]]
    """a run folder, or any model that fastjvae or the published code saved"""
    to: Literal["published", "safetensors", "torch"]
    """published: model.pt and specs.json of the published code; safetensors: config.json and
    model.safetensors; torch: encoder.pt2 and decoder.pt2 of torch.export"""
    out: str | None = None
    """folder; by default export-FORM in the run folder"""


def _command(recipe_name: str | None) -> Any:
    """The grammar of the command line, for tyro, with a recipe's settings as defaults of train."""
    return Union[  # noqa: UP007  a value for tyro, not an annotation
        Annotated[_train_command(recipe_name), subcommand("train")],
        Annotated[TrainInfoGAN, subcommand("infogan")],
        Annotated[Evaluate, subcommand("evaluate")],
        Annotated[Figures, subcommand("figures")],
        Annotated[Edit, subcommand("edit")],
        Annotated[Export, subcommand("export")],
    ]


def _train_command(recipe_name: str | None) -> type[Train]:
    """``Train`` with a subcommand for each data set; its first recipe stands in for a missing one.

    That it is missing is an error of ``TrainFlags``, once the data set has been chosen.
    """
    subcommands = []
    for name, recipes in RECIPES.items():
        config = next((c for each, c in recipes.items() if each == recipe_name), recipe(name))
        default, description = TrainFlags(**vars(config)), _DESCRIPTIONS[name]
        subcommands.append(
            Annotated[TrainFlags, subcommand(name, default=default, description=description)]
        )
    configs: Any = Union[tuple(subcommands)]  # noqa: UP007  made from a tuple, for tyro
    return dataclasses.make_dataclass(
        "Train",
        [("config", Annotated[configs, arg(name="")])],
        bases=(Train,),
        namespace={"__doc__": Train.__doc__},
        frozen=True,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 for a failure, 2 for wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)

    def run() -> int:
        command = _parse(words)
        call = next(call for kind, call in _COMMANDS.items() if isinstance(command, kind))
        return call(command)

    return _exit_code(run)


def train_from_stdin() -> int:
    """Train the run whose settings come on standard input: a seed that has a GPU to itself."""
    config = read_settings(sys.stdin.read())
    return _exit_code(lambda: _run_training(config, RunFolder(config.run_folder)))


def _exit_code(run: Callable[[], int]) -> int:
    try:
        return run()
    except OtherProcessError as error:  # that process says it
        return error.exit_code
    except FastJVAEError as error:
        return _say(str(error), error.exit_code)
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # 128 + SIGPIPE, a signal that Windows does not name
    except KeyboardInterrupt:
        return _say("interrupted", 128 + signal.SIGINT)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _say(f"{where}{error.strerror or error}", 1)


def _say(message: str, code: int) -> int:
    print(f"fastjvae: {message}", file=sys.stderr)
    return code


# --- commands -------------------------------------------------------------------------------------


def _train(command: Train | TrainInfoGAN) -> int:
    flags: TrainFlags | InfoGANFlags = command.config
    config = flags.config()
    here: dict[str, Any] = {  # so that the run can be resumed and evaluated from another folder
        name: str(Path(value).expanduser().absolute())
        for name in ("data_root", "labels")
        if (value := getattr(config, name)) is not None
    }
    config = dataclasses.replace(config, **here)
    if flags.seeds is not None:
        return _train_seeds(config, parse_seeds(flags.seeds))
    return _run_training(config, RunFolder(config.run_folder))


_TRAIN_FROM_STDIN = "import sys, fastjvae.cli; sys.exit(fastjvae.cli.train_from_stdin())"


def _train_seeds(config: AnyConfig, seeds: tuple[int, ...]) -> int:
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
    return code


def _resume(command: Resume) -> int:
    run = RunFolder(command.resume)
    given: dict[str, Any] = {
        k: v for k, v in vars(command).items() if k != "resume" and v is not None
    }
    if "data_root" in given:
        given["data_root"] = str(Path(given["data_root"]).expanduser().absolute())
    before = run.read_config()
    if "timeout" in given and isinstance(before, InfoGANConfig):
        raise ArgumentError("--timeout is for several processes, and InfoGAN trains in one")
    config = dataclasses.replace(before, **given)
    return _run_training(config, run, resuming=True)


def _run_training(config: AnyConfig, run: RunFolder, resuming: bool = False) -> int:
    processes = _processes(config)
    data = processes.first(lambda: load_data(config.source()))  # one process prepares the data
    if data is None:
        data = load_data(config.source())
    held_out = data
    if processes.is_first:
        held_out = _held_out(config, data)  # before training, so that a mistake shows at once
    go_on = f"; go on with: fastjvae train --resume {run}"
    code = _train_run(config, run, data, held_out, resuming, go_on, processes)
    processes.leave()
    return code


def _processes(config: AnyConfig) -> Processes:
    if isinstance(config, TrainConfig):
        return join_processes(config.device, config.timeout)
    if (world := int(os.environ.get("WORLD_SIZE", "1"))) > 1:
        raise ArgumentError(f"InfoGAN trains in one process, without torchrun, got {world}")
    return Processes()


def _trainer(
    config: AnyConfig, data: ImageData, run: RunFolder, resuming: bool, processes: Processes
) -> Trainer | InfoGANTrainer:
    if isinstance(config, InfoGANConfig):
        return InfoGANTrainer(config, data, run, resuming=resuming, processes=processes)
    return Trainer(config, data, run, resuming=resuming, processes=processes)


def _train_run(
    config: AnyConfig,
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
    evaluation = evaluate(model, held_out, config.channel_reduction)
    write_json(run.evaluation_file, evaluation.to_dict())
    print(evaluation.table())
    if config.figures:
        _draw(model, held_out, evaluation, run.figures, run)
    print(f"model: {run}")
    return 0


def _evaluate(command: Evaluate) -> int:
    model = load(command.run).to(resolve_device(command.device))
    data = load_data(_source(command, model, command.split))
    evaluation = evaluate(model, data, _channel_reduction(command.run), command.scores)
    print(json.dumps(evaluation.to_dict(), indent=2) if command.json else evaluation.table())
    return 0


def _figures(command: Figures) -> int:
    model = load(command.run).to(resolve_device(command.device))
    run = RunFolder(command.run)
    data = load_data(_source(command, model, "test"))
    folder = Path(command.out) if command.out else beside(run.path) / "figures"
    evaluation = evaluate(model, data, _channel_reduction(command.run), "none")
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
    run = RunFolder(command.run)
    folder = Path(command.out) if command.out else beside(run.path) / f"export-{command.to}"
    if command.to == "published":
        checkpoint.save_published(model, folder, _published_specs(run))
    elif command.to == "safetensors":
        model.save_pretrained(folder)
    else:
        checkpoint.save_exported(model, folder)
    print(f"wrote {', '.join(sorted(p.name for p in folder.iterdir()))} to {folder}")
    return 0


# --- what the commands share ----------------------------------------------------------------------


def _held_out(config: AnyConfig, data: ImageData) -> ImageData:
    """The test images of the data set, or the training images where there are none."""
    if config.dataset not in SPLIT_DATASETS:
        return data
    try:
        return load_data(config.source("test"))
    except DataError as error:
        _say(f"{error}; the evaluation will use the training images", 0)
        return data


def _source(command: ModelAndData, model: JointVAE, split: Literal["train", "test"]) -> DataSource:
    """The data that a command names, by default those of its run, in the size the model takes."""
    run = RunFolder(command.run)
    if command.dataset is None or (run.is_run() and run.read_config().dataset == command.dataset):
        if not run.is_run():
            raise ArgumentError(
                f"{run} does not say what it was trained on: name a data set,"
                f" one of {', '.join(RECIPES)}"
            )
        source = run.read_config().source(split)
        if command.data_root is not None:
            source = dataclasses.replace(source, root=command.data_root, labels=None)
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
        drawn["kl-growth"] = figures.kl_growth(records)
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
    if isinstance(config, InfoGANConfig):
        return specs
    return {
        **specs,
        "lr": [config.lr],
        "cont_capacity": list(dataclasses.astuple(config.cont_capacity)[:4]),
        "disc_capacity": list(dataclasses.astuple(config.disc_capacity)[:4]),
    }


def _channel_reduction(path: str) -> ChannelReduction:
    """How the model's own run summed its cross-entropy over channels."""
    run = RunFolder(path)
    return run.read_config().channel_reduction if run.is_run() else "mean"


def _size(img_size: tuple[int, int, int]) -> str:
    return "x".join(map(str, img_size))


# --- parsing --------------------------------------------------------------------------------------

_COMMANDS: dict[type, Callable[[Any], int]] = {
    Train: _train,
    TrainInfoGAN: _train,
    Resume: _resume,
    Evaluate: _evaluate,
    Figures: _figures,
    **dict.fromkeys((*FIGURES.values(), Edit), _figure),
    Export: _export,
}


def _parse(argv: list[str]) -> Any:
    """Parse the command line; wrong usage becomes one sentence.

    ``train --resume RUN`` names no data set, and ``figures FIGURE`` names one figure: they have
    parsers of their own.
    """
    training = argv[:1] in (["train"], ["infogan"])
    flags = {word.split("=")[0] for word in argv} if training else set()
    if {"--seed", "--seeds"} <= flags:
        raise ArgumentError("--seed is for one run and --seeds for several: give one of the two")
    resuming = "--resume" in flags and argv[0] == "train"
    one_figure = argv[:1] == ["figures"] and argv[1:2] and argv[1] in FIGURES
    grammar, prog, rest = _command(_recipe_in(argv)), "fastjvae", argv
    if resuming or one_figure:
        grammar = Resume if resuming else FigureCommand
        prog, rest = f"fastjvae {argv[0]}", argv[1:]
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(
                grammar,
                prog=prog,
                args=rest,
                description=None if resuming or one_figure else __doc__,
                config=(FlagCreatePairsOff, OmitSubcommandPrefixes),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        words = [word for word in argv if not word.startswith("-")][:2]
        command = " ".join(["fastjvae", *(w for w in words if w in (*RECIPES, *FIGURES, *_NAMES))])
        raise ArgumentError(f"{_one_sentence(box.getvalue())}; see {command} --help") from None


def _recipe_in(argv: Sequence[str]) -> str | None:
    """The recipe that is named last; the parser is built with it, and then reads it too."""
    name = None
    for word, following in zip(argv, [*argv[1:], None], strict=False):
        flag, equals, value = word.partition("=")
        if flag == "--recipe":
            name = value if equals else following
    return name


_NAMES = ("train", "infogan", "evaluate", "figures", "edit", "export")


def _one_sentence(box: str) -> str:
    """The message in tyro's error box: what stands between its title and its next rule."""
    plain = re.sub(r"\[/?bold\]", "", box)
    rows = [row.strip("│╭╮╰╯ ") for row in plain.splitlines()]
    rows[0] = rows[0].strip("─ ")
    rules = [i for i, row in enumerate(rows) if row and set(row) <= {"─", "-"}]
    # Where the terminal has no line-drawing characters, the title has a rule of its own below it.
    first = rules.pop(0) + 1 if rules and rules[0] == 1 else 1
    message = rows[first : rules[0]] if rules else rows[first:]
    sentence = " ".join(" ".join(message).split()).rstrip(".") or rows[0]
    return sentence.removeprefix("Error parsing config: ")  # our own error says what is wrong
