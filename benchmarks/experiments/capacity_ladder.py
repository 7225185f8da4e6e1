"""How large should C_z be? The ladder of ``fastjvae tune``, beside the values of the paper.

    python -m benchmarks.experiments.capacity_ladder digits sprites

runs the command below in ``FASTJVAE_RUNS/ladder-DATASET``, which goes on where it stopped, and
writes ``benchmarks/results/ladder-DATASET.json``: the scores of each value, what is chosen, and
what the units held and reconstructed there.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.environment import environment
from benchmarks.experiments.driver import runs_folder
from fastjvae.cli import main as fastjvae
from fastjvae.files import write_json
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.seeds_table import read_evaluation

RESULTS = Path(__file__).parents[1] / "results"
PREFIX = "ladder-"  # of a result's file
# The paper has no value for digits; that of MNIST is for the images that are most like them.
PAPER = {"digits": 5.0, "sprites": 40.0}
COMMANDS: dict[str, list[str]] = {
    # Half of the recipe's batches in the first phase, in which the units hold nothing.
    "digits": [
        "tune", "digits", "--types.steps", "150", "--types.batch-size", "128",
        "--style.steps", "750",
    ],
    # Weights of 30 and weights that begin well, as the other short runs on sprites have them.
    "sprites": [
        "tune", "sprites", "--image-size", "32", "32", "--steps", "1000",
        "--grid", "orientation=0..39/4", "x=0..31/4", "y=0..31/4",
        "--cont-capacity.gamma", "30", "--disc-capacity.gamma", "30",
        "--disc-measure", "information", "--initialisation", "he", "--warmup", "100",
        "--lr", "1e-3",
    ],
}  # fmt: skip


def result(name: str, folder: Path) -> dict[str, Any]:
    """The result of a ladder that has ended.

    Args:
        name: of the data set.
        folder: of the study.
    """
    study = json.loads((folder / "study.json").read_text())
    rungs = sorted((_rung(trial, folder) for trial in study["trials"]), key=lambda r: r["nats"])
    chosen = next(rung for rung in rungs if rung["trial"] == study["chosen"])
    return {
        "dataset": name,
        "command": " ".join(["fastjvae", *COMMANDS[name]]),
        "steps": study["steps"],
        "seeds": study["seeds"],
        "trainings": len(rungs) * len(study["seeds"]),
        "images": study["data"],
        "paper": PAPER[name],
        "chosen": chosen["nats"],
        "rungs": rungs,
        "about": environment(),
    }


def _rung(trial: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What a value gave; a mean is over the seeds."""
    runs = sorted((folder / trial["folder"]).glob("seed*/evaluation.json"))
    evaluations = [read_evaluation(RunFolder(path.parent).evaluation_file) for path in runs]

    def mean(name: str) -> float:
        return statistics.fmean(each[name] for each in evaluations)

    scores = [(each.get("scores") or {}).get("factor_vae") for each in evaluations]
    (nats,) = trial["settings"].values()
    return {
        "trial": trial["number"],
        "nats": nats,
        "udr": trial["scores"],
        "kl_cont": mean("kl_cont_sum"),
        "reconstruction": mean("reconstruction"),
        "used_units": statistics.fmean(len(each["used_units"]) for each in evaluations),
        "factor_vae": None if None in scores else statistics.fmean(scores),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="DATASET", help="by default both")
    options = parser.parse_args(arguments)
    for name in options.names or COMMANDS:
        if name not in COMMANDS:
            parser.error(f"no ladder of {name!r}: there are {', '.join(COMMANDS)}")
        folder = runs_folder() / f"{PREFIX}{name}"
        if code := fastjvae([*COMMANDS[name], "--out", str(folder), "--jobs", "1"]):
            return code
        write_json(RESULTS / f"{PREFIX}{name}.json", result(name, folder))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
