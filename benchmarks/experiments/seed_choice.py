"""A choice among the seeds of an experiment without labels, and its rank by label.

A seed is chosen by UDR or by the training objective, both of the training images. UDR is that of
:func:`fastjvae.metrics.udr_of_models.udr_of_runs`; higher is better. The objective is what training
minimised, in nats per image: its reconstruction error and its penalties, as the last tenth of the
training steps recorded them, when all capacities have grown to their end; lower is better.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from fastjvae.metrics.udr_of_models import udr_of_runs
from fastjvae.model.pretrained import WEIGHTS
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.seeds_table import agreeing_variable
from fastjvae.training.tuning.goals import final_objective


def unlabelled_scores(runs: Mapping[int, RunFolder], images: Tensor) -> dict[str, Any]:
    """The scores of seeds; a seed whose run is not here is left out and named.

    Args:
        runs: of each seed.
        images: (N, C, H, W) the training images.
    """
    here = {seed: run for seed, run in runs.items() if (run.path / WEIGHTS).exists()}
    scores, no_udr = udr_of_runs([run.path for run in here.values()], images)
    return {
        "seeds": [
            {
                "seed": seed,
                "udr": None if scores is None else float(scores[i]),
                "objective": final_objective(read_metrics(run)),
            }
            for i, (seed, run) in enumerate(here.items())
        ],
        "no_udr": no_udr,
        "without_run": [seed for seed in runs if seed not in here],
    }


def with_earlier(scores: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """Scores of the runs that are here, and what is known of seeds whose runs are not.

    Those keep the objective that they ended with. UDR compares models with one another, so it is
    that of one comparison alone: of the one that had more models, of two equals the later.

    Args:
        scores, earlier: as :func:`unlabelled_scores` returns them.
    """
    now, then = ({row["seed"]: row for row in each["seeds"]} for each in (scores, earlier))
    kept = max((now, then), key=lambda rows: sum(row["udr"] is not None for row in rows.values()))
    udr = {seed: row["udr"] for seed, row in kept.items()}
    rows = sorted({**then, **now}.items())
    return {
        "seeds": [{**row, "udr": udr.get(seed)} for seed, row in rows],
        "no_udr": (scores if kept is now else earlier)["no_udr"],
        "without_run": scores["without_run"],
    }


# --- by label -------------------------------------------------------------------------------------

Results = Sequence[dict[str, Any]]  # of an experiment, by seed


def quality(evaluation: dict[str, Any]) -> float | None:
    """What seeds are ranked by: Kim & Mnih's score where there are factors, else the accuracy."""
    if evaluation.get("scores"):
        return float(evaluation["scores"]["factor_vae"])
    accuracy: float | None = agreeing_variable(evaluation).get("accuracy_majority")
    return accuracy


def ranked_by(results: Results) -> str:
    """The name of :func:`quality`."""
    has_factors = bool(results and results[0]["evaluation"].get("scores"))
    return "Kim & Mnih's score (disentanglement_lib)" if has_factors else "majority accuracy"


def median_seed(results: Results) -> dict[str, Any]:
    """The result of median quality, of two the lower one; of results that have none the first."""
    ranked = sorted(results, key=lambda result: quality(result["evaluation"]) or 0.0)
    return ranked[(len(ranked) - 1) // 2]


class Choice(NamedTuple):
    """A seed that a score has chosen, and its rank by label among the seeds with that score."""

    seed: int
    rank: int
    among: int


def chosen_seeds(results: Results, compared: Mapping[str, Any]) -> dict[str, Choice]:
    """The choices by "udr" and by "objective"; none where fewer than two seeds can be ranked.

    Args:
        results: of the seeds.
        compared: the scores of the seeds, as ``seeds.json`` has them.
    """
    qualities = {
        result["seed"]: value
        for result in results
        if (value := quality(result["evaluation"])) is not None
    }
    scored = [row for row in compared["seeds"] if row["seed"] in qualities]
    if len(scored) < 2:
        return {}
    choices = {}
    for key, best in (("udr", max), ("objective", min)):
        known = [row for row in scored if row[key] is not None]
        if known:
            seed = _chosen(known, key, best)
            better = sum(qualities[row["seed"]] > qualities[seed] for row in known)
            choices[key] = Choice(seed, better + 1, len(known))
    return choices


def _chosen(rows: Results, key: str, best: Callable[..., Any]) -> int:
    """The best seed; of equals, as UDR's two of a pair are, the one with the lower objective."""
    value = best(row[key] for row in rows)
    equals = [row for row in rows if row[key] == value]
    return int(min(equals, key=lambda row: float(row["objective"]))["seed"])
