"""Trains and evaluates the experiments of ``docs/results.md``, one seed after the other.

    python -m benchmarks.experiments mnist-joint --seeds 0..4 --data-root DATA
    python -m benchmarks.experiments mnist-published --published FOLDER --data-root DATA
    python -m benchmarks.experiments mnist-joint --compare --data-root DATA
    python -m benchmarks.experiments --list

Each unit trains in ``FASTJVAE_RUNS/EXPERIMENT/seed-SEED`` (by default in the user's cache folder)
and leaves ``benchmarks/results/experiments/EXPERIMENT/seed-SEED.json`` when it ends. A unit whose
file is there is skipped; one that was stopped goes on from its checkpoint. ``--compare`` scores the
seeds that are done without labels, for a choice among them, in ``EXPERIMENT/seeds.json``; it needs
their runs, and keeps what an earlier comparison found of seeds whose runs are gone.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environment import environment
from benchmarks.experiments import counterparts
from benchmarks.experiments.catalogue import EXPERIMENTS, Experiment
from benchmarks.experiments.drawn_pictures import draw
from benchmarks.experiments.first_images import first_images
from benchmarks.experiments.published_training import train_the_published_way
from benchmarks.experiments.seed_choice import unlabelled_scores, with_earlier
from benchmarks.experiments.silent_units import silent_shares
from fastjvae.cli.parser import parse
from fastjvae.cli.train import Train
from fastjvae.data import ImageData, load
from fastjvae.data.cache import user_folder
from fastjvae.files import write_bytes, write_json
from fastjvae.metrics.evaluation import evaluate
from fastjvae.model.pretrained import WEIGHTS
from fastjvae.training.labelled import labelled_of, with_chosen_labels
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.seeds import parse_seeds
from fastjvae.training.settings.train import TrainConfig
from fastjvae.training.trainer import Trainer

RESULTS = Path(__file__).parents[1] / "results" / "experiments"
_ROWS = 40  # of the growth of losses and divergences that a result keeps


def runs_folder() -> Path:
    """Where the runs lie: outside the work tree, since they are large."""
    return Path(os.environ.get("FASTJVAE_RUNS") or user_folder() / "runs")


@dataclass(frozen=True)
class Unit:
    """One seed of one experiment."""

    name: str
    experiment: Experiment
    seed: int

    @property
    def run(self) -> RunFolder:
        return RunFolder(runs_folder() / self.name / f"seed-{self.seed}")

    @property
    def result(self) -> Path:
        return RESULTS / self.name / f"seed-{self.seed}.json"

    @property
    def start(self) -> Unit | None:
        """The unit whose model this one goes on from."""
        name = self.experiment.start
        return None if name is None else Unit(name, EXPERIMENTS[name], self.seed)

    def model(self, published: Path | None) -> Path | None:
        """Where the trained model of this unit lies, ``published`` where it is the authors'."""
        return published if self.experiment.method == "published" else self.run.path

    def lacks(self, published: Path | None) -> str | None:
        """What has to be there before this unit can run and is not."""
        start = self.start
        methods = {unit.experiment.method for unit in (self, start) if unit}
        if "published" in methods and published is None:
            return "--published, the folder of the authors' model"
        if start and "published" not in methods and not (start.run.path / WEIGHTS).exists():
            return f"the model of {start.name}, seed {start.seed}, in {start.run}"
        return None


class WatchedTrainer(Trainer):
    """A trainer that evaluates itself at every checkpoint, in ``curve.jsonl`` of its run.

    The labels it reads are those of ``watched``, the training images.
    """

    watched: ImageData

    def save(self) -> None:
        super().save()
        path = self.run.path / "curve.jsonl"
        rows = [row for row in read_lines(path) if row["step"] < self.step]
        evaluation = evaluate(self.model, self.watched, scores="none")
        rows.append({"step": self.step, **brief(evaluation.to_dict())})
        write_bytes(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def run_unit(
    unit: Unit, data_root: str | None, published: Path | None = None
) -> dict[str, Any] | None:
    """Measure one unit and write its result; None if a signal stopped its training."""
    config = config_of(unit, data_root)
    if unit.experiment.method == "train":
        if unit.start:
            config = dataclasses.replace(config, start_from=str(unit.start.model(published)))
        measured = _trained(unit, config)
    elif unit.experiment.method == "published way":
        measured = _trained_the_published_way(unit, config)
    elif unit.experiment.method == "k-means":
        measured = counterparts.kmeans(config)
    else:
        assert published is not None
        measured = counterparts.published(config, published)
    if measured is None:
        return None
    result = {"experiment": unit.name, "seed": unit.seed, "about": environment(), **measured}
    unit.result.parent.mkdir(parents=True, exist_ok=True)
    write_json(unit.result, result)
    return result


def config_of(unit: Unit, data_root: str | None) -> TrainConfig:
    """The settings of a unit; on drawn pictures those that the command line makes for them."""
    experiment = unit.experiment
    if experiment.pictures is None:
        return experiment.config_of(unit.seed, data_root)
    root = draw(experiment.pictures, runs_folder() / "pictures")
    before = experiment.config_of(unit.seed, str(root))
    assert before.image_size is not None
    words = ["train", "images", "--data-root", str(root), "--seed", str(unit.seed), "--no-figures"]
    words += ["--image-size", *map(str, before.image_size), "--disc", *map(str, before.disc)]
    command = parse(words)
    assert isinstance(command, Train)
    made = command.config.fitted(load(before.source()))
    assert isinstance(made, TrainConfig)
    return made


def _trained(unit: Unit, config: TrainConfig) -> dict[str, Any] | None:
    train = load(config.source("train"))
    count = unit.experiment.images
    given = train if count is None else first_images(config, count)
    since = time.perf_counter()
    final = load(config.source("test")) if unit.experiment.final else train
    trainer = WatchedTrainer(config, given, unit.run, held_out=final if config.held_out else None)
    preparation_s = time.perf_counter() - since
    trainer.watched = with_chosen_labels(train, config)
    print(f"{unit.name}, seed {unit.seed}: from step {trainer.step:,} to {trainer.total_steps:,}")
    if not trainer.train():
        return None
    evaluation = evaluate(
        trainer.model.eval(),
        final,
        config.channel_reduction,
        unit.experiment.scores,
        train=given.images,
        labelled=labelled_of(trainer.watched, config.spec),
    )
    records = read_metrics(unit.run)
    return {
        "config": _portable(config),
        "start": unit.experiment.start,
        "training_images": len(given),
        **_seconds(records, config, preparation_s),
        "silent": silent_shares(trainer.model, train.images),
        "evaluation": evaluation.to_dict(),
        "curve": read_lines(unit.run.path / "curve.jsonl"),
        "growth": [_sums(record) for record in _thinned(records)],
    }


def _trained_the_published_way(unit: Unit, config: TrainConfig) -> dict[str, Any]:
    model, seconds = train_the_published_way(config, unit.run)
    on_train, on_test = (
        evaluate(model, load(source), config.channel_reduction).to_dict()
        for source in (config.source("train"), config.source("test"))
    )
    return {
        "config": _portable(config),
        "seconds": seconds,
        "evaluation": on_test,
        "curve": [{"step": config.steps, **brief(on_train)}],
    }


def compare(name: str, data_root: str | None) -> None:
    """Score the seeds of an experiment that are done without labels, and write it down."""
    experiment = EXPERIMENTS[name]
    units = [Unit(name, experiment, seed) for seed in experiment.seeds]
    runs = {unit.seed: unit.run for unit in units if unit.result.exists()}
    if not runs:
        print(f"{name}: left out, no seed is done")
        return
    images = load(experiment.config_of(0, data_root).source("train")).images
    scores = unlabelled_scores(runs, images)
    if seeds_file(name).exists():
        scores = with_earlier(scores, json.loads(seeds_file(name).read_text()))
    write_json(seeds_file(name), {"experiment": name, "about": environment(), **scores})
    print(json.dumps({"experiment": name, **scores}), flush=True)


def seeds_file(name: str) -> Path:
    return RESULTS / name / "seeds.json"


def _seconds(
    records: Sequence[dict[str, Any]], config: TrainConfig, preparation_s: float
) -> dict[str, Any]:
    """Training time, and where there are phases that of each; the first has the preparation."""
    phases = {}
    for phase in config.phase_configs:
        own = [record for record in records if record.get("phase") == phase.name]
        phases[phase.name] = seconds_of(own, phase.config.batch_size, phase.first)
    phases[config.phase_configs[0].name] += preparation_s
    return {
        "seconds": sum(phases.values()),
        **({"phase_seconds": phases} if config.phases else {}),
    }


def seconds_of(records: Sequence[dict[str, Any]], batch_size: int, first: int = 0) -> float:
    """Training time after step ``first``, by the median speed.

    Evaluation and disturbances do not count.
    """
    speed = statistics.median(record["images_per_s"] for record in records)
    beside_s = sum(record.get("beside_steps_s", 0.0) for record in records)
    return float((records[-1]["step"] - first) * batch_size / speed + beside_s)


def brief(evaluation: dict[str, Any]) -> dict[str, Any]:
    """The numbers of an evaluation that a curve keeps."""
    return {
        "reconstruction": evaluation["reconstruction"],
        "kl_cont": evaluation["kl_cont_sum"],
        "kl_disc": evaluation["kl_disc_sum"],
        "information": sum(variable["information"] for variable in evaluation["variables"]),
        **_accuracies(evaluation),
    }


def _accuracies(evaluation: dict[str, Any]) -> dict[str, list[float | None]]:
    names = ("accuracy_majority", "accuracy_one_to_one")
    return {name: [variable[name] for variable in evaluation["variables"]] for name in names}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a file with one JSON object a line; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _sums(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "step": record["step"],
        "reconstruction": record["reconstruction"],
        "kl_cont": sum(record["kl_cont"]),
        "kl_disc": sum(record["kl_disc"]),
        "information": sum(record["information"]),
    }


def _thinned(records: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    every = max(1, -(-len(records) // _ROWS))
    return records[every - 1 :: every]


def _portable(config: TrainConfig) -> dict[str, Any]:
    """The settings without those that belong to a machine."""
    values = config.to_dict()
    for name in ("data_root", "labels", "start_from", "device"):
        values.pop(name)
    return values


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="EXPERIMENT", help="by default all, in order")
    parser.add_argument("--seeds", help="such as 0..4 or 0,3; by default each experiment's own")
    parser.add_argument("--data-root", help="folder of MNIST and FashionMNIST")
    parser.add_argument("--published", type=Path, help="folder of the authors' model of MNIST")
    parser.add_argument("--list", action="store_true", help="say what there is and what is done")
    parser.add_argument(
        "--compare", action="store_true", help="score the seeds that are done without labels"
    )
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in EXPERIMENTS]:
        parser.error(f"no experiment {unknown[0]!r}: there are {', '.join(EXPERIMENTS)}")
    names = options.names or list(EXPERIMENTS)
    if options.compare:
        for name in names:
            if EXPERIMENTS[name].method == "train":
                compare(name, options.data_root)
        return 0
    units = [
        Unit(name, EXPERIMENTS[name], seed)
        for name in names
        for seed in (parse_seeds(options.seeds) if options.seeds else EXPERIMENTS[name].seeds)
    ]
    if options.list:
        for unit in units:
            print(f"{unit.name} seed {unit.seed}: {'done' if unit.result.exists() else 'open'}")
        return 0
    for unit in units:
        if unit.result.exists():
            continue
        if lacking := unit.lacks(options.published):
            print(f"{unit.name}, seed {unit.seed}: left out, needs {lacking}")
            continue
        result = run_unit(unit, options.data_root, options.published)
        if result is None:
            print("stopped; go on with the same command again")
            return 1
        print(json.dumps({"seed": unit.seed, **_accuracies(result["evaluation"])}), flush=True)
    return 0
