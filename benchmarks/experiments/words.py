"""What the page of results says in words; every sentence is made of the numbers it is about."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from fastjvae.training.seeds_table import agreeing_variable

_IGNORED = 0.05  # share of log K below which c is said to be ignored
_AS_LOW = 1.0  # nats between two objectives that are said to be equal

Results = Sequence[dict[str, Any]]


def quality(evaluation: dict[str, Any]) -> float | None:
    """What seeds are ranked by: Kim & Mnih's score where there are factors, else the accuracy."""
    if evaluation.get("scores"):
        return float(evaluation["scores"]["factor_vae"])
    accuracy: float | None = agreeing_variable(evaluation).get("accuracy_majority")
    return accuracy


def median_seed(results: Results) -> dict[str, Any]:
    """The result of median quality, of two the lower one; of results that have none the first."""
    ranked = sorted(results, key=lambda result: quality(result["evaluation"]) or 0.0)
    return ranked[(len(ranked) - 1) // 2]


def information_of_c(label: str, results: Results) -> Iterator[str]:
    """Whether the discrete variables of an experiment are used."""
    if not results or not results[0].get("config", {}).get("disc"):
        return
    most = sum(math.log(size) for size in results[0]["config"]["disc"])
    nats = [information(result["evaluation"]) for result in results]
    ignored = sum(each < _IGNORED * most for each in nats)
    some = f" in {ignored} of {len(nats)} seeds" if ignored < len(nats) else ""
    verdict = f"c is ignored{some}, it tells" if ignored else "c tells"
    mean = statistics.fmean(nats)
    yield f"{label}: {verdict} {mean:.2f} of at most {most:.2f} nats about an image."


def silent_units(label: str, results: Results) -> Iterator[str]:
    """How much of the encoder no image turns on, in seeds that collapse and in others."""
    parts = []
    for collapsed, which in ((True, "collapsed"), (False, "did not collapse")):
        shares = [r["silent"] for r in results if r["evaluation"]["collapsed"] is collapsed]
        if shares:
            means = [statistics.fmean(layer) for layer in zip(*shares, strict=True)]
            layers = ", ".join(f"{100 * mean:.1f}" for mean in means)
            parts.append(f"{layers} % in seeds that {which} ({len(shares)})")
    yield f"{label}: of the units of the encoder's layers no image turns on {'; '.join(parts)}."


def information(evaluation: dict[str, Any]) -> float:
    """Of all discrete variables together, nats."""
    return float(sum(variable["information"] for variable in evaluation["variables"]))


def time_to_accuracy(label: str, results: Results, of: str, reference: Results) -> Iterator[str]:
    """When an experiment is as accurate as another at its end, by the labels of training images.

    Between two points of the curve, the later one counts.

    Args:
        label, results: of the experiment.
        of, reference: label and results of the other.
    """
    if not results or not reference:
        return
    accuracy = statistics.fmean(max(r["curve"][-1]["accuracy_majority"]) for r in reference)
    ends = statistics.fmean(result["seconds"] for result in reference)
    yield (
        f"{of} ends at {accuracy:.3f} on the training images (majority, mean over seeds) after"
        f" {ends:,.0f} s. {_reaches(label, results, accuracy)};"
        f" {_reaches(of, reference, accuracy)}."
    )


def half_way(label: str, results: Results) -> Iterator[str]:
    """Whether twice as many steps made a difference, by the labels of training images."""
    if not results:
        return
    halves = [_halves(result["curve"]) for result in results]
    middle, end = (statistics.fmean(half) for half in zip(*halves, strict=True))
    yield (
        f"{label} has {middle:.3f} on the training images (majority, mean over seeds) after half of"
        f" its steps and {end:.3f} after all."
    )


def _halves(curve: Results) -> tuple[float, float]:
    middle = next(row for row in curve if 2 * row["step"] >= curve[-1]["step"])
    return max(middle["accuracy_majority"]), max(curve[-1]["accuracy_majority"])


def by_images(compared: Mapping[int, Results]) -> Iterator[str]:
    """The accuracy on the test images by the number of training images.

    Args:
        compared: the results by that number, in its order.
    """
    done = {number: results for number, results in compared.items() if results}
    if len(done) < 2:
        return
    spreads = [
        mean_and_deviation([quality(result["evaluation"]) or 0.0 for result in results])
        for results in done.values()
    ]
    yield (
        f"On {_listed(f'{number:,}' for number in done)} digits the majority accuracy is"
        f" {_listed(spreads)}"
        f" (means over {_listed(str(len(results)) for results in done.values())} seeds)."
    )


def mean_and_deviation(values: Sequence[float], digits: int = 3) -> str:
    """Such as 0.943 ± 0.029, of a sample; of one value there is no deviation."""
    text = f"{statistics.fmean(values):,.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {statistics.stdev(values):,.{digits}f}"


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}"


def objectives(
    label: str, compared: Mapping[str, Any], of: str, reference: Mapping[str, Any]
) -> Iterator[str]:
    """Which of two experiments with the same objective ends lower.

    Args:
        label, compared: of the one that begins elsewhere, and the scores of its seeds, as
            ``seeds.json`` has them.
        of, reference: label and scores of the other.
    """
    here, there = (
        statistics.fmean(row["objective"] for row in scores["seeds"])
        for scores in (compared, reference)
    )
    if abs(here - there) <= _AS_LOW:
        verdict = "the objective tells no difference between the two"
    elif here < there:
        verdict = "the objective prefers what it began with, to which random weights did not lead"
    else:
        verdict = "the objective does not prefer what it began with"
    yield (
        f"{label}: the training objective ends at {here:.1f} nats, {of}'s at {there:.1f} (mean over"
        f" seeds): {verdict}."
    )


def _reaches(label: str, results: Results, accuracy: float) -> str:
    seconds = [
        result["seconds"] * row["step"] / result["curve"][-1]["step"]
        for result in results
        for row in [_first_row(result["curve"], accuracy)]
        if row is not None
    ]
    if not seconds:
        return f"{label} has as much in none of {len(results)} seeds"
    return (
        f"{label} has as much after {mean_and_deviation(seconds, digits=0)} s in {len(seconds)} of"
        f" {len(results)} seeds"
    )


def _first_row(curve: Results, accuracy: float) -> dict[str, Any] | None:
    return next((row for row in curve if max(row["accuracy_majority"]) >= accuracy), None)


def choices(label: str, results: Results, compared: Mapping[str, Any]) -> Iterator[str]:
    """Which seed each score without labels chooses, and its rank by label.

    Args:
        label: of the experiment.
        results: its seeds.
        compared: the scores of its seeds, as ``seeds.json`` has them.
    """
    qualities = {
        result["seed"]: value
        for result in results
        if (value := quality(result["evaluation"])) is not None
    }
    scored = [row for row in compared["seeds"] if row["seed"] in qualities]
    if len(scored) < 2:
        return
    by_score = bool(results[0]["evaluation"].get("scores"))
    measure = "Kim & Mnih's score (disentanglement_lib)" if by_score else "majority accuracy"
    chosen = []
    for name, key, best in (("UDR", "udr", max), ("the training objective", "objective", min)):
        known = [row for row in scored if row[key] is not None]
        if known:
            seed = _chosen(known, key, best)
            better = sum(qualities[row["seed"]] > qualities[seed] for row in known)
            chosen.append(f"{name} chose seed {seed}: rank {better + 1} of {len(known)}")
    yield f"{label}, by {measure}: {'; '.join(chosen)}."
    if compared["no_udr"] and not compared.get("without_run"):  # else for want of models
        yield f"{label}: no UDR, {compared['no_udr']}."


def _chosen(rows: Results, key: str, best: Callable[..., Any]) -> int:
    """Of equals, as the two seeds of a pair are by UDR, the one with the lower objective."""
    value = best(row[key] for row in rows)
    equals = [row for row in rows if row[key] == value]
    return int(min(equals, key=lambda row: float(row["objective"]))["seed"])
