"""A choice among the seeds of an experiment that no label takes part in: by UDR, by the objective.

Both scores are of the training images. UDR is that of
:func:`fastjvae.metrics.udr_of_models.udr_of_runs`; higher is better. The objective is what training
minimised, in nats per image: its reconstruction error and its penalties, as the last tenth of the
training steps recorded them, when all capacities have grown to their end; lower is better.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from fastjvae.metrics.udr_of_models import udr_of_runs
from fastjvae.model.pretrained import WEIGHTS
from fastjvae.training.run_folder import RunFolder, read_metrics

_LAST_SHARE = 0.1  # of the training steps


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


def final_objective(records: Sequence[dict[str, Any]]) -> float:
    """Mean loss of the last tenth of the training steps, nats per image."""
    begin = (1 - _LAST_SHARE) * records[-1]["step"]
    return statistics.fmean(record["loss"] for record in records if record["step"] > begin)
