"""The page's table of what c agrees with, from ``benchmarks/results/discrete.json``."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.experiments.discrete_study import BATCHES
from benchmarks.markdown import table_line

_TEXT = """\
## What c holds

Adjusted mutual information (0 for chance, 1 for the same partition) of the most probable category
with the digit and with what else divides the training images, mean over seeds; slant, ink and width
are taken in tenths. The last line is k-means on the pixels, in the place of c. Written by
`python -m benchmarks.experiments.discrete_study EXPERIMENT ...`.
"""
_BATCHES = """\
The information that a capacity bounds is that of a batch, H(category mean) - mean H(p). Batches of
N images of the {experiment} models have this much less of it than all training images (mean over
batches and seeds, and standard deviation over batches); the first-order term (K - 1) / (2 N)
explains it, so that a batch of 64 images is within {at_64:.2f} nats for 10 categories.
"""


def discrete_section(labels: Mapping[str, str], path: Path) -> Iterator[str]:
    """Lines of the section; none where nothing has been measured.

    Args:
        labels: of the experiments, by their names.
        path: the JSON that :mod:`benchmarks.experiments.discrete_study` writes.
    """
    if not path.exists():
        return
    experiments: dict[str, Any] = json.loads(path.read_text())["experiments"]
    yield _TEXT
    names = list(next(iter(experiments.values()))["attributes"])
    yield table_line(["", "seeds", *names])
    yield table_line(["---", *["--:"] * (len(names) + 1)])
    for name, experiment in experiments.items():
        seeds = [seed["holds"] for seed in experiment["seeds"].values()]
        means = (f"{statistics.fmean(seed[n] for seed in seeds):.3f}" for n in names)
        yield table_line([labels.get(name, name), str(len(seeds)), *means])
    held = next(iter(experiments.values()))["attributes"]
    yield table_line(["k-means on pixels", "1", *(f"{held[n]:.3f}" for n in names)])
    yield ""
    name, experiment = next(iter(experiments.items()))
    biases = [seed["batches"] for seed in experiment["seeds"].values()]
    means = {rows: statistics.fmean(b[str(rows)]["mean"] for b in biases) for rows in BATCHES}
    yield _BATCHES.format(experiment=labels.get(name, name), at_64=abs(means[64]))
    yield table_line(["images N", *map(str, BATCHES)])
    yield table_line(["---", *["--:"] * len(BATCHES)])
    yield table_line(["nats", *(f"{means[rows]:.3f}" for rows in BATCHES)])
    spreads = (statistics.fmean(b[str(rows)]["std"] for b in biases) for rows in BATCHES)
    yield table_line(["deviation", *(f"{spread:.3f}" for spread in spreads)])
    yield ""
