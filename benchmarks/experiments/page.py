"""``docs/results.md``, from the committed results of :mod:`benchmarks.experiments.driver`.

    python -m benchmarks.experiments.page

Rows whose experiments have no result yet say so.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.experiments import tables, texts
from benchmarks.experiments.capacity_ladder import PREFIX as LADDERS
from benchmarks.experiments.catalogue import EXPERIMENTS
from benchmarks.experiments.discrete_study import BATCHES
from benchmarks.experiments.discrete_study import PATH as STUDY
from benchmarks.experiments.driver import RESULTS
from benchmarks.experiments.moved_types import PATH as MOVED
from benchmarks.experiments.sections import GLANCE, OVERVIEWS, SECTIONS, Picture, Section

PAGE = Path(__file__).parents[2] / "docs" / "results.md"
PICTURES = PAGE.parent / "results"


def results_of(name: str, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The results of an experiment by seed."""
    rows = [json.loads(path.read_text()) for path in (folder / name).glob("seed-*.json")]
    return sorted(rows, key=lambda row: int(row["seed"]))


def markdown(folder: Path = RESULTS, pictures: Path = PICTURES) -> str:
    """The whole page; pictures that have not been drawn are left out."""
    labels = {row.experiment: row.label for section in SECTIONS for row in section.rows}
    lines = [*_glance(folder, pictures), texts.INTRODUCTION, *_machines(folder), ""]
    for section in SECTIONS:
        lines += _section(section, labels, folder, pictures)
    study = folder.parent / STUDY.name
    if study.exists():
        lines += _study(json.loads(study.read_text()), labels)
    lines += _ladders(folder.parent)
    if rows := _moved(folder):
        lines += [
            "## Types that moved images share",
            "",
            texts.MOVED_TEXT,
            *tables.moved_table(rows),
        ]
    return "\n".join(lines)


def _glance(folder: Path, pictures: Path) -> Iterator[str]:
    """The table of every command, and a picture of each data set."""
    yield texts.GLANCE_TEXT
    yield from tables.glance_table(
        [(g.data, g.command, g.assumes, results_of(g.experiment, folder)) for g in GLANCE]
    )
    yield texts.GLANCE_FOOT
    yield from _shown(OVERVIEWS, pictures)


def _shown(pictures: Sequence[Picture], folder: Path) -> Iterator[str]:
    """The pictures that have been drawn, each below what it shows."""
    for picture in pictures:
        if (folder / picture.file).exists():
            image = f"![{picture.experiment}, {picture.kind}](results/{picture.file})"
            yield from [f"{picture.caption}:", "", image, ""]


def _moved(folder: Path) -> list[dict[str, Any]]:
    path = folder.parent / MOVED.name
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    return rows


def _ladders(folder: Path) -> Iterator[str]:
    """What ladders of C_z have chosen, where there are any."""
    results = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{LADDERS}*.json"))]
    if results:
        yield from ["## How large C_z may be", "", texts.LADDER_TEXT]
    for result in results:
        of = {"digits": "the paper's value for MNIST", "sprites": "the paper's value for dSprites"}
        paper = f"{of[result['dataset']]} is {result['paper']:g}"
        yield texts.LADDER_RESULT.format(
            **{**result, "seeds": len(result["seeds"]), "paper": paper}
        )
        yield from tables.ladder_table(result)


def _machines(folder: Path) -> list[str]:
    """One line for each machine that anything was measured on."""
    names = {name for s in SECTIONS for name in (*(row.experiment for row in s.rows), *s.kmeans)}
    results = [result for name in names for result in results_of(name, folder)]
    found = {_machine(result["about"]) for result in [*results, *_moved(folder)]}
    return [f"Machine: {machine}." for machine in sorted(found)]


def _machine(about: Mapping[str, Any]) -> str:
    device = about.get("device") or f"{about['processor']}, threads: {about['threads']}"
    return f"{device}; Python {about['python']}, PyTorch {about['torch']}"


def _section(
    section: Section, labels: Mapping[str, str], folder: Path, pictures: Path
) -> Iterator[str]:
    def line(name: str) -> tuple[str, tables.Results]:
        return labels[name], results_of(name, folder)

    trained = [line(row.experiment) for row in section.rows]
    clusters = [(_kmeans_label(name), results_of(name, folder)) for name in section.kmeans]
    yield from [f"## {section.title}", "", section.text]
    yield from tables.main_table([*trained, *clusters])
    yield from tables.score_table(trained)
    yield from tables.effect_table(trained)
    if section.silent_units:
        yield from tables.silent_table(trained)
    if section.as_accurate_as:
        faster, reference = section.as_accurate_as
        yield from tables.time_table([line(faster)], line(reference))
    compared = [_compared(row.experiment, folder) for row in section.rows]
    yield from tables.choice_table(trained, compared)
    if other := section.objective_of:
        yield from tables.objective_table(
            [*trained, line(other)], [*compared, _compared(other, folder)]
        )
    yield from _shown(section.pictures, pictures)


def _kmeans_label(name: str) -> str:
    if pictures := EXPERIMENTS[name].pictures:
        return f"k-means on pixels, {pictures}"
    (clusters,) = EXPERIMENTS[name].config_of(0, None).disc
    return f"k-means on pixels, {clusters} clusters"


def _compared(name: str, folder: Path) -> dict[str, Any] | None:
    """The scores of the seeds of an experiment, if they have been compared."""
    path = folder / name / "seeds.json"
    return json.loads(path.read_text()) if path.exists() else None


def _study(study: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[str]:
    first = next(iter(study["experiments"]))
    yield from ["## What c holds", "", texts.CONTENT_TEXT]
    yield from tables.content_table(labels, study)
    yield texts.BATCH_TEXT.format(experiment=labels.get(first, first))
    yield from tables.batch_table(study, BATCHES)


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
