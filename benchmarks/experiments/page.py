"""``docs/results.md``, from the committed results of :mod:`benchmarks.experiments.driver`.

    python -m benchmarks.experiments.page

Rows whose experiments have no result yet say so.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.experiments.catalogue import EXPERIMENTS
from benchmarks.experiments.discrete_study import PATH
from benchmarks.experiments.discrete_words import discrete_section
from benchmarks.experiments.driver import RESULTS
from benchmarks.experiments.sections import (
    COMPARED_BY_IMAGES,
    COMPARED_BY_OBJECTIVE,
    COMPARED_IN_TIME,
    SECTIONS,
    WATCHED_FOR_COLLAPSE,
    Row,
    Section,
)
from benchmarks.experiments.words import (
    Results,
    by_images,
    choices,
    half_way,
    information,
    information_of_c,
    mean_and_deviation,
    objectives,
    silent_units,
    time_to_accuracy,
)
from benchmarks.markdown import table_line
from fastjvae.metrics.scores import SCORE_TITLES
from fastjvae.training.seeds_table import agreeing_variable

PAGE = Path(__file__).parents[2] / "docs" / "results.md"
PICTURES = PAGE.parent / "results"
NOT_MEASURED = "not measured"
INTRODUCTION = """\
# What it learns

Written by `python -m benchmarks.experiments.page` from the JSON in
`benchmarks/results/experiments`, one file a seed, each with its settings, machine, versions and
growth of losses; `python -m benchmarks.experiments EXPERIMENT --seeds 0..4 --data-root DATA` makes
them, and `python -m benchmarks.experiments.pictures` the pictures.

Spreads are mean ± standard deviation over seeds, with the best seed in brackets. Accuracy is that
of the most probable category as a classifier, under the majority assignment and under the best
one-to-one assignment; no label took part in training. k-means stands beside it: on the pixels of
the same training images, the best of ten initialisations, judged on the same test images.
Reconstruction and KL are in nats per image. A run counts as collapsed where its decoder shows the
mean image whatever the latent variables say.

Without labels a seed is chosen by UDR (arXiv:1905.12614), the model most like the others, or by the
training objective of the last tenth of the steps, reconstruction and penalties; both look at
training images alone (`python -m benchmarks.experiments EXPERIMENT --compare`). Rank 1 is the best
by label, of the seeds that have the score: UDR needs the models themselves, all at once, and two of
them have the same, between which the objective decides.
Traversals are of the seed of median accuracy among the first three, not of the best; where there
are factors, of median score by Kim & Mnih.
"""


def results_of(name: str, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The results of an experiment by seed."""
    rows = [json.loads(path.read_text()) for path in (folder / name).glob("seed-*.json")]
    return sorted(rows, key=lambda row: int(row["seed"]))


def markdown(folder: Path = RESULTS, pictures: Path = PICTURES) -> str:
    """The whole page; pictures that have not been drawn are left out."""
    labels = {row.experiment: row.label for section in SECTIONS for row in section.rows}
    parts = [line for section in SECTIONS for line in _section(section, labels, folder, pictures)]
    return "\n".join([INTRODUCTION, *parts, *discrete_section(labels, folder.parent / PATH.name)])


def _section(
    section: Section, labels: Mapping[str, str], folder: Path, pictures: Path
) -> Iterator[str]:
    yield from [f"## {section.title}", "", section.text, ""]
    trained = [(row, results_of(row.experiment, folder)) for row in section.rows]
    clusters = [(_kmeans_row(name), results_of(name, folder)) for name in section.kmeans]
    rows = [*trained, *clusters]
    yield from _main_table(rows)
    yield from _score_table(trained)
    yield from _sentences(trained, labels, folder)
    machines = {_machine(result["about"]) for _, results in rows for result in results}
    yield from [f"Machine: {machine}." for machine in sorted(machines)]
    if machines:
        yield ""
    for picture in section.pictures:
        if (pictures / picture.file).exists():
            shown = f"![{picture.experiment}, {picture.kind}](results/{picture.file})"
            yield from [f"{picture.caption}:", "", shown, ""]


def _kmeans_row(name: str) -> Row:
    (clusters,) = EXPERIMENTS[name].config_of(0, None).disc
    return Row(name, f"k-means on pixels, {clusters} clusters")


def _main_table(rows: Sequence[tuple[Row, Results]]) -> Iterator[str]:
    columns = ["seeds", "majority", "one-to-one", "reconstruction", "KL_z", "KL_c", "information"]
    yield table_line(["", *columns, "collapsed", "steps", "training, s"])
    yield table_line(["---", *["--:"] * (len(columns) + 3)])
    for row, results in rows:
        yield table_line(_cells(row, results))
    yield ""


def _cells(row: Row, results: Results) -> Iterator[str]:
    yield row.label
    yield str(len(results))
    if not results:
        yield from [NOT_MEASURED, *["-"] * 8]
        return
    evaluations = [result["evaluation"] for result in results]
    agreeing = [agreeing_variable(evaluation) for evaluation in evaluations]
    yield _spread(variable.get("accuracy_majority") for variable in agreeing)
    yield _spread(variable.get("accuracy_one_to_one") for variable in agreeing)
    yield _spread((e.get("reconstruction") for e in evaluations), digits=1, best=min)
    yield _spread((e.get("kl_cont_sum") for e in evaluations), digits=2, best=None)
    yield _spread((e.get("kl_disc_sum") for e in evaluations), digits=2, best=None)
    is_model = "reconstruction" in evaluations[0]  # k-means is none
    yield _spread((information(e) for e in evaluations if is_model), digits=2, best=None)
    yield str(sum(e.get("collapsed", False) for e in evaluations)) if is_model else "-"
    curve = results[0].get("curve")
    yield f"{curve[-1]['step']:,}" if curve else "-"
    yield _spread((result.get("seconds") for result in results), digits=0, best=None)


def _score_table(rows: Sequence[tuple[Row, Results]]) -> Iterator[str]:
    """Scores against the factors, of the experiments that have them."""
    scored = [
        (row, scores)
        for row, results in rows
        if (scores := [s for result in results if (s := result["evaluation"].get("scores"))])
    ]
    if not scored:
        return
    names = [name for name in SCORE_TITLES if any(name in each for _, s in scored for each in s)]
    yield table_line(["", *(SCORE_TITLES[name] for name in names)])
    yield table_line(["---", *["--:"] * len(names)])
    for row, scores in scored:
        yield table_line(
            [row.label, *(_spread(each.get(name) for each in scores) for name in names)]
        )
    yield ""


def _sentences(
    rows: Sequence[tuple[Row, Results]], labels: Mapping[str, str], folder: Path
) -> Iterator[str]:
    said: list[str] = []
    for row, results in rows:
        if row.experiment not in WATCHED_FOR_COLLAPSE:
            said += information_of_c(row.label, results)
        elif results:
            said += silent_units(row.label, results)
    for row, results in rows:
        if other := COMPARED_IN_TIME.get(row.experiment):
            said += time_to_accuracy(row.label, results, labels[other], results_of(other, folder))
    if COMPARED_BY_IMAGES[min(COMPARED_BY_IMAGES)] in (row.experiment for row, _ in rows):
        said += by_images({n: results_of(name, folder) for n, name in COMPARED_BY_IMAGES.items()})
    by_objective = [row for row, _ in rows if row.experiment in COMPARED_BY_OBJECTIVE]
    for other in dict.fromkeys(COMPARED_BY_OBJECTIVE[row.experiment] for row in by_objective):
        said += half_way(labels[other], results_of(other, folder))
    for row in by_objective:
        other = COMPARED_BY_OBJECTIVE[row.experiment]
        scores = [_seeds(name, folder) for name in (row.experiment, other)]
        if scores[0] and scores[1]:
            said += objectives(row.label, scores[0], labels[other], scores[1])
    for row, results in rows:
        if scored := _seeds(row.experiment, folder):
            said += choices(row.label, results, scored)
    yield from [f"- {sentence}" for sentence in said]
    if said:
        yield ""


def _seeds(name: str, folder: Path) -> dict[str, Any] | None:
    """The scores of the seeds of an experiment, if they have been compared."""
    path = folder / name / "seeds.json"
    return json.loads(path.read_text()) if path.exists() else None


def _spread(values: Iterable[float | None], digits: int = 3, best: Any = max) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    text = mean_and_deviation(known, digits)
    if best is None or len(known) == 1:
        return text
    return f"{text} ({best(known):,.{digits}f})"


def _machine(about: dict[str, Any]) -> str:
    device = about.get("device") or f"{about['processor']}, threads: {about['threads']}"
    return f"{device}; Python {about['python']}, PyTorch {about['torch']}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page")
    options = parser.parse_args(arguments)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(markdown(options.results), encoding="utf-8")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
