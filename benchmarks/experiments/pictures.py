"""The pictures of ``docs/results.md``, from the runs of :mod:`benchmarks.experiments.driver`.

    python -m benchmarks.experiments.pictures --data-root DATA

draws ``docs/results/EXPERIMENT-KIND.png`` for each experiment whose runs are in ``FASTJVAE_RUNS``,
of the seed of median quality among the first three, which stays when more seeds are trained, and
says which are left out. With names of experiments, only theirs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastjvae
from benchmarks.experiments.catalogue import EXPERIMENTS
from benchmarks.experiments.category_contents import category_contents
from benchmarks.experiments.driver import RESULTS, Unit
from benchmarks.experiments.failures import failures
from benchmarks.experiments.page import PICTURES, results_of
from benchmarks.experiments.sections import OVERVIEWS, SECTIONS, Picture
from benchmarks.experiments.seed_choice import median_seed
from fastjvae import figures
from fastjvae.cli.figures.overview import overview_of
from fastjvae.data import ImageData, load
from fastjvae.metrics.evaluation import evaluate
from fastjvae.model import JointVAE
from fastjvae.model.pretrained import WEIGHTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SEEDS = 3  # of which the median one is shown


def _overview(model: JointVAE, data: ImageData, title: str) -> Figure:
    return overview_of(model, data, evaluate(model, data, scores="none"), title)


_OF_TEST_IMAGES = {
    "failures": failures,
    "categories": category_contents,
    "overview": _overview,
}


def draw(picture: Picture, result: dict[str, Any], unit: Unit, data_root: str | None) -> Figure:
    """Draw a picture of the model of one result."""
    model = fastjvae.load(unit.run.path)
    title = f"{picture.experiment}, seed {unit.seed}"
    if of_test_images := _OF_TEST_IMAGES.get(picture.kind):
        source = unit.experiment.config_of(unit.seed, data_root).source("test")
        return of_test_images(model, load(source), title=title)
    evaluation = result["evaluation"]
    return figures.traversals(
        model,
        evaluation["kl_cont"],
        kl_disc=[variable["kl"] for variable in evaluation["variables"]],
        title=title,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="EXPERIMENT", help="by default all")
    parser.add_argument("--data-root", help="folder of MNIST and FashionMNIST")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--out", type=Path, default=PICTURES, help="folder of the pictures")
    options = parser.parse_args(arguments)
    for picture in (*OVERVIEWS, *(each for section in SECTIONS for each in section.pictures)):
        name = picture.experiment
        if options.names and name not in options.names:
            continue
        results = results_of(name, options.results)
        if not results:
            print(f"{picture.file}: left out, {name} has no result yet")
            continue
        result = median_seed(results[:_SEEDS])
        unit = Unit(name, EXPERIMENTS[name], result["seed"])
        if not (unit.run.path / WEIGHTS).exists():
            print(f"{picture.file}: left out, no model in {unit.run}")
            continue
        figures.save(draw(picture, result, unit, options.data_root), options.out / picture.file)
        print(f"{picture.file}: seed {unit.seed}")


if __name__ == "__main__":
    main()
