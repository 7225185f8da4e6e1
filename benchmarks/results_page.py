"""``docs/results.md``, from the committed results of :mod:`benchmarks.experiments`.

    python -m benchmarks.results_page

Rows whose experiments have no result yet say so.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.experiment_list import SECTIONS, Row, Section
from benchmarks.experiments import RESULTS
from fastjvae.comparison import seed_result

PAGE = Path(__file__).parents[1] / "docs" / "results.md"
NOT_MEASURED = "not measured"
INTRODUCTION = """\
# What it learns

Written by `python -m benchmarks.results_page` from the JSON in `benchmarks/results/experiments`,
one file a seed, each with its settings, machine, versions and growth of losses;
`python -m benchmarks.experiments EXPERIMENT --seeds 0..4 --data-root DATA` makes them.

Spreads are mean ± standard deviation over seeds, with the best seed in brackets. Accuracy is that
of the most probable category as a classifier, under the majority assignment and under the best
one-to-one assignment; no label took part in training. Reconstruction and KL are in nats per image.
A run counts as collapsed where its decoder shows the mean image whatever the latent variables say.
"""


def results_of(name: str, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """The results of an experiment by seed."""
    rows = [json.loads(path.read_text()) for path in (folder / name).glob("seed-*.json")]
    return sorted(rows, key=lambda row: int(row["seed"]))


def markdown(folder: Path = RESULTS) -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *(line for s in SECTIONS for line in _section(s, folder))])


def _section(section: Section, folder: Path) -> Iterator[str]:
    yield from [f"## {section.title}", "", section.text, ""]
    rows = [(row, results_of(row.experiment, folder)) for row in section.rows]
    columns = ["seeds", "majority", "one-to-one", "reconstruction", "KL_z", "KL_c", "information"]
    yield _line(["", *columns, "collapsed", "steps", "training, s"])
    yield _line(["---", *["--:"] * (len(columns) + 3)])
    for row, results in rows:
        yield _line(_cells(row, results))
    yield ""
    machines = {_machine(result["about"]) for _, results in rows for result in results}
    yield from [f"Machine: {machine}." for machine in sorted(machines)]
    yield ""


def _cells(row: Row, results: Sequence[dict[str, Any]]) -> Iterator[str]:
    yield row.label
    yield str(len(results))
    if not results:
        yield from [NOT_MEASURED, *["-"] * 8]
        return
    evaluations = [result["evaluation"] for result in results]
    seeds = [seed_result(result["seed"], result["evaluation"]) for result in results]
    yield _spread(seed.accuracy_majority for seed in seeds)
    yield _spread(seed.accuracy_one_to_one for seed in seeds)
    yield _spread((seed.reconstruction for seed in seeds), digits=1, best=min)
    yield _spread((seed.kl_cont for seed in seeds), digits=2, best=None)
    yield _spread((seed.kl_disc for seed in seeds), digits=2, best=None)
    yield _spread((_information(e) for e in evaluations), digits=2, best=None)
    yield str(sum(seed.collapsed for seed in seeds))
    yield f"{results[0]['curve'][-1]['step']:,}"
    yield _spread((result["seconds"] for result in results), digits=0, best=None)


def _information(evaluation: dict[str, Any]) -> float:
    return float(sum(variable["information"] for variable in evaluation["variables"]))


def _spread(values: Iterable[float | None], digits: int = 3, best: Any = max) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    text = f"{statistics.mean(known):,.{digits}f}"
    if len(known) > 1:
        text += f" ± {statistics.stdev(known):,.{digits}f}"
        if best is not None:
            text += f" ({best(known):,.{digits}f})"
    return text


def _machine(about: dict[str, Any]) -> str:
    device = about.get("device") or f"{about['processor']}, threads: {about['threads']}"
    return f"{device}; Python {about['python']}, PyTorch {about['torch']}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


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
