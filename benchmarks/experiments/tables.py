"""The tables of ``docs/results.md``: lines of Markdown from the results of some experiments.

A table that has no line is left out, its head included.
"""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks.experiments.seed_choice import chosen_seeds, ranked_by
from benchmarks.markdown import table_line
from fastjvae.metrics.effect import LEAST_EFFECT
from fastjvae.metrics.evaluation import USED_NATS
from fastjvae.metrics.scores import SCORE_TITLES
from fastjvae.training.seeds_table import agreeing_variable

NOT_MEASURED = "not measured"
_IGNORED = 0.05  # share of log K below which c counts as ignored

Results = Sequence[dict[str, Any]]  # of an experiment, by seed
Labelled = Sequence[tuple[str, Results]]  # lines of a table
# For each line the scores of its seeds, as ``seeds.json`` has them, if they have been compared.
Compared = Sequence[Mapping[str, Any] | None]


def glance_table(lines: Sequence[tuple[str, str, str, Results]]) -> Iterator[str]:
    """What each command learns, of lines of data, command, assumption and results."""
    head = ["data", "command", "assumes", "seeds", "accuracy", "reconstruction", "units in use"]
    rows = []
    for data, command, assumes, results in lines:
        cells = _glance_cells(results) if results else ["0", NOT_MEASURED, *["-"] * 3]
        rows.append([data, command, assumes, *cells])
    yield from _table([*head, "training, s"], rows, left=3)


def _glance_cells(results: Results) -> Iterator[str]:
    evaluations = [result["evaluation"] for result in results]
    agreeing = [agreeing_variable(evaluation) for evaluation in evaluations]
    yield str(len(results))
    yield _spread((each.get("accuracy_majority") for each in agreeing), best=None)
    yield _spread((e.get("reconstruction") for e in evaluations), digits=1, best=None)
    kl = [e["kl_cont"] for e in evaluations if e.get("kl_cont")]
    used = [sum(nats > USED_NATS for nats in each) for each in kl]
    yield f"{statistics.fmean(used):.1f} of {len(kl[0])}" if used else "-"
    yield _spread((result.get("seconds") for result in results), digits=0, best=None)


def main_table(lines: Labelled) -> Iterator[str]:
    """Accuracies, losses and times: one line an experiment, also where nothing is measured."""
    yield from _table(
        [
            "", "seeds", "majority", "one-to-one", "reconstruction", "KL_z", "KL_c", "information",
            "c ignored", "collapsed", "steps", "training, s",
        ],
        [list(_main_cells(label, results)) for label, results in lines],
    )  # fmt: skip


def _main_cells(label: str, results: Results) -> Iterator[str]:
    yield label
    yield str(len(results))
    if not results:
        yield from [NOT_MEASURED, *["-"] * 9]
        return
    evaluations = [result["evaluation"] for result in results]
    agreeing = [agreeing_variable(evaluation) for evaluation in evaluations]
    yield _spread(variable.get("accuracy_majority") for variable in agreeing)
    yield _spread(variable.get("accuracy_one_to_one") for variable in agreeing)
    yield _spread((e.get("reconstruction") for e in evaluations), digits=1, best=min)
    yield _spread((e.get("kl_cont_sum") for e in evaluations), digits=2, best=None)
    yield _spread((e.get("kl_disc_sum") for e in evaluations), digits=2, best=None)
    if "reconstruction" in evaluations[0]:  # k-means is no model
        yield from _information_cells(results)
        yield str(sum(e.get("collapsed", False) for e in evaluations))
    else:
        yield from ["-"] * 3
    curve = results[0].get("curve")
    yield f"{curve[-1]['step']:,}" if curve else "-"
    yield _spread((result.get("seconds") for result in results), digits=0, best=None)


def _information_cells(results: Results) -> Iterator[str]:
    """What c tells of at most how much, nats, and how many seeds ignore it."""
    nats = [
        sum(variable["information"] for variable in result["evaluation"]["variables"])
        for result in results
    ]
    text = _spread(nats, digits=2, best=None)
    disc = results[0].get("config", {}).get("disc")
    if not disc:
        yield from [text, "-"]
        return
    most = sum(math.log(size) for size in disc)
    yield f"{text} of {most:.2f}"
    yield str(sum(each < _IGNORED * most for each in nats))


def score_table(lines: Labelled) -> Iterator[str]:
    """Scores against the factors, of the experiments that have them."""
    scored = [
        (label, scores)
        for label, results in lines
        if (scores := [s for result in results if (s := result["evaluation"].get("scores"))])
    ]
    names = [name for name in SCORE_TITLES if any(name in each for _, s in scored for each in s)]
    yield from _table(
        ["", *(SCORE_TITLES[name] for name in names)],
        [
            [label, *(_spread(each.get(name) for each in scores) for name in names)]
            for label, scores in scored
        ],
    )


def effect_table(lines: Labelled) -> Iterator[str]:
    """How much of the picture depends on c and on z, of the experiments that say so."""
    rows = []
    for label, results in lines:
        evaluations = [
            evaluation
            for result in results
            if "effect_cont" in (evaluation := result["evaluation"])
        ]
        if evaluations:
            of_c = [_largest(v.get("effect") for v in e["variables"]) for e in evaluations]
            of_z = [_largest(e["effect_cont"]) for e in evaluations]
            in_use = [sum((x or 0) >= LEAST_EFFECT for x in e["effect_cont"]) for e in evaluations]
            cells = (_spread(of_c, 2, None), _spread(of_z, 2, None), _spread(in_use, 1, None))
            rows.append([label, str(len(evaluations)), *cells])
    head = ["share of the picture that depends on", "seeds", "c", "the strongest unit of z"]
    yield from _table([*head, f"units of at least {LEAST_EFFECT}"], rows)


def _largest(effects: Iterable[float | None]) -> float | None:
    return max((effect for effect in effects if effect is not None), default=None)


def choice_table(lines: Labelled, compared: Compared) -> Iterator[str]:
    """The seeds that are chosen without labels, and how good they are by label."""
    rows, measure = [], ""
    for (label, results), scores in zip(lines, compared, strict=True):
        chosen = chosen_seeds(results, scores) if scores else {}
        if not scores or not chosen:
            continue
        cells = {
            name: f"seed {choice.seed}, rank {choice.rank} of {choice.among}"
            for name, choice in chosen.items()
        }
        if scores["no_udr"] and not scores.get("without_run"):  # else for want of models
            cells.setdefault("udr", f"none: {scores['no_udr']}")
        rows.append([label, cells.get("udr", "-"), cells.get("objective", "-")])
        measure = ranked_by(results)
    yield from _table(
        [f"seed chosen without labels, rank by {measure}", "by UDR", "by the objective"], rows
    )


def objective_table(lines: Labelled, compared: Compared) -> Iterator[str]:
    """The objective at the end of training, of experiments that have the same."""
    found = [
        (label, [row["objective"] for row in scores["seeds"]])
        for (label, _), scores in zip(lines, compared, strict=True)
        if scores
    ]
    yield from _table(
        ["", "seeds", "objective"],
        [[label, str(len(nats)), mean_and_deviation(nats, digits=1)] for label, nats in found],
    )


def time_table(lines: Labelled, reference: tuple[str, Results]) -> Iterator[str]:
    """When experiments are as accurate as the reference at its end, by the training images.

    Between two points of a curve, the later one counts.
    """
    label, results = reference
    if not results:
        return
    accuracy = statistics.fmean(_accuracy(result["curve"][-1]) for result in results)
    rows = []
    for name, measured in [reference, *lines]:
        curves = [result["curve"] for result in measured]
        seconds = [
            result["seconds"] * row["step"] / result["curve"][-1]["step"]
            for result in measured
            if (row := _reached(result["curve"], accuracy))
        ]
        if measured:
            middles = mean_and_deviation([_accuracy(_middle(curve)) for curve in curves])
            ends = mean_and_deviation([_accuracy(curve[-1]) for curve in curves])
            until = mean_and_deviation(seconds, digits=0) if seconds else "-"
            rows.append([name, middles, ends, until, f"{len(seconds)} of {len(measured)}"])
    until = f"s to {accuracy:.3f}, the end of {label}"
    head = ["majority, training images", "after half of the steps", "after all of them", until]
    yield from _table([*head, "seeds that reach it"], rows)


def _accuracy(row: Mapping[str, Any]) -> float:
    return float(max(row["accuracy_majority"]))


def _middle(curve: Results) -> dict[str, Any]:
    return next(row for row in curve if 2 * row["step"] >= curve[-1]["step"])


def _reached(curve: Results, accuracy: float) -> dict[str, Any] | None:
    return next((row for row in curve if _accuracy(row) >= accuracy), None)


def silent_table(lines: Labelled) -> Iterator[str]:
    """How much of the encoder no image turns on, in seeds that collapsed and in others."""
    rows = []
    for label, results in lines:
        for collapsed in (True, False):
            shares = [r["silent"] for r in results if r["evaluation"]["collapsed"] is collapsed]
            if shares:
                means = (statistics.fmean(layer) for layer in zip(*shares, strict=True))
                name = f"{label}, collapsed" if collapsed else label
                rows.append([name, str(len(shares)), *(f"{100 * mean:.1f}" for mean in means)])
    layers = [f"layer {number + 1}" for number in range(len(rows[0]) - 2)] if rows else []
    yield from _table(["units of the encoder that no image turns on, %", "seeds", *layers], rows)


def content_table(labels: Mapping[str, str], study: Mapping[str, Any]) -> Iterator[str]:
    """What the categories of each experiment agree with, and k-means in their place.

    Args:
        labels: of the experiments, by their names.
        study: what :mod:`benchmarks.experiments.discrete_study` writes.
    """
    experiments = study["experiments"]
    held = next(iter(experiments.values()))["attributes"]
    rows = []
    for name, experiment in experiments.items():
        seeds = [seed["holds"] for seed in experiment["seeds"].values()]
        means = (f"{statistics.fmean(seed[attribute] for seed in seeds):.3f}" for attribute in held)
        rows.append([labels.get(name, name), str(len(seeds)), *means])
    rows.append(["k-means on pixels", "1", *(f"{value:.3f}" for value in held.values())])
    yield from _table(["", "seeds", *held], rows)


def batch_table(study: Mapping[str, Any], sizes: Sequence[int]) -> Iterator[str]:
    """How much less information batches have than all images, of the first experiment."""
    seeds = next(iter(study["experiments"].values()))["seeds"].values()
    rows = [
        [
            name,
            *(
                f"{statistics.fmean(seed['batches'][str(size)][key] for seed in seeds):.3f}"
                for size in sizes
            ),
        ]
        for name, key in (("nats", "mean"), ("deviation", "std"))
    ]
    yield from _table(["images N", *map(str, sizes)], rows)


def moved_table(rows: Results) -> Iterator[str]:
    """What the moved copies of an image share, as :mod:`.moved_types` writes it."""
    cells = [
        [
            row["name"],
            f"{row['turn']:.0f}°",
            f"{100 * row['scale']:.0f} %",
            str(row["seed"]),
            f"{row['steps']:,}",
            f"{row['shared']:.2f} of {math.log(row['categories']):.2f}",
            f"{row['overclustered']:.2f} of {math.log(row['overclusters']):.2f}",
            f"{row['accuracy_majority']:.3f}",
            f"{row['accuracy_one_to_one']:.3f}",
            f"{row['seconds']:,.0f}",
        ]
        for row in rows
    ]
    head = ["", "turns up to", "scales up to", "seed", "steps", "shared by c"]
    further = ["by the further head", "majority", "one-to-one", "training, s"]
    yield from _table([*head, *further], cells)


def ladder_table(result: Mapping[str, Any]) -> Iterator[str]:
    """A ladder of C_z, as :mod:`.capacity_ladder` writes it."""
    scores = [rung["factor_vae"] for rung in result["rungs"]]
    cells = [
        [
            f"{rung['nats']:g}" + (", chosen" if rung["nats"] == result["chosen"] else ""),
            mean_and_deviation(rung["udr"]),
            f"{rung['kl_cont']:.1f}",
            f"{rung['used_units']:.1f}",
            f"{rung['reconstruction']:.1f}",
            *([] if None in scores else [f"{rung['factor_vae']:.3f}"]),
        ]
        for rung in result["rungs"]
    ]
    head = ["C_z, nats", "UDR", "KL of z", "units in use", "reconstruction"]
    yield from _table([*head, *([] if None in scores else ["Kim & Mnih"])], cells)


def mean_and_deviation(values: Sequence[float], digits: int = 3) -> str:
    """Such as 0.943 ± 0.029, of a sample; of one value there is no deviation."""
    text = f"{statistics.fmean(values):,.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {statistics.stdev(values):,.{digits}f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> Iterator[str]:
    """A table whose first ``left`` columns are words, the others numbers."""
    if not rows:
        return
    yield table_line(head)
    yield table_line([*["---"] * left, *["--:"] * (len(head) - left)])
    yield from map(table_line, rows)
    yield ""


def _spread(values: Iterable[float | None], digits: int = 3, best: Any = max) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    text = mean_and_deviation(known, digits)
    if best is None or len(known) == 1:
        return text
    return f"{text} ({best(known):,.{digits}f})"
