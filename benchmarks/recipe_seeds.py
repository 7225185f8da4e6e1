"""Accuracy of a recipe's discrete variable over seeds, beside k-means on the pixels.

    python -m benchmarks.recipe_seeds digits --seeds 0 1 2 3 4

trains each seed as ``fastjvae train`` does, one after the other, and writes
``benchmarks/results/RECIPE-seeds.json`` after every seed; seeds that are there already are skipped.
Accuracies are on the test images, under the majority and the best one-to-one assignment.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.environment import environment
from fastjvae.cli import main as fastjvae_command
from fastjvae.data import DataSource, ImageData, load
from fastjvae.files import write_json
from fastjvae.metrics import cluster_accuracy

RESULTS = Path(__file__).parent / "results"


def train_seed(recipe: str, seed: int, flags: list[str]) -> dict[str, Any]:
    """Train and evaluate one seed in a temporary run folder."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        begin = time.perf_counter()
        argv = ["train", recipe, "--seed", str(seed), "--out", str(run), "--no-figures", *flags]
        if code := fastjvae_command(argv):
            raise SystemExit(code)
        seconds = time.perf_counter() - begin
        evaluation = json.loads((run / "evaluation.json").read_text())
    variable = evaluation["variables"][0]
    return {
        "seed": seed,
        "accuracy_majority": variable["accuracy_majority"],
        "accuracy_one_to_one": variable["accuracy_one_to_one"],
        "reconstruction": evaluation["reconstruction"],
        "kl_cont": evaluation["kl_cont_sum"],
        "kl_disc": variable["kl"],
        "information": variable["information"],
        "unused_categories": len(variable["unused"]),
        "seconds": seconds,
    }


def kmeans_seed(train: ImageData, test: ImageData, seed: int) -> dict[str, Any]:
    """k-means with as many clusters as classes, fitted on the training pixels."""
    from sklearn.cluster import KMeans

    assert test.labels is not None
    classes = len(test.labels.unique())
    model = KMeans(classes, n_init=10, random_state=seed).fit(train.images.flatten(1) / 255.0)
    clusters = model.predict(test.images.flatten(1) / 255.0)
    return {
        "seed": seed,
        **{
            f"accuracy_{matching.replace('-', '_')}": cluster_accuracy(
                clusters, test.labels.numpy(), matching
            )
            for matching in ("majority", "one-to-one")
        },
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean, standard deviation and best of every accuracy."""
    return {
        name: {
            "mean": statistics.mean(values),
            "std": statistics.stdev(values) if len(values) > 1 else 0.0,
            "best": max(values),
        }
        for name in ("accuracy_majority", "accuracy_one_to_one")
        for values in [[row[name] for row in rows]]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe", choices=("digits", "mnist", "fashion-mnist"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--data-root", help="folder of the data, for mnist and fashion-mnist")
    arguments = parser.parse_args()

    path = RESULTS / f"{arguments.recipe}-seeds.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["seeds"] if path.exists() else []
    flags = ["--data-root", arguments.data_root] if arguments.data_root else []
    train, test = (
        load(DataSource(arguments.recipe, arguments.data_root, split=split))
        for split in ("train", "test")
    )
    kmeans = [kmeans_seed(train, test, seed) for seed in arguments.seeds]
    for seed in arguments.seeds:
        if seed in [row["seed"] for row in rows]:
            continue
        rows.append(train_seed(arguments.recipe, seed, flags))
        result = {
            "recipe": arguments.recipe,
            "about": environment(),
            "summary": summary(rows),
            "seeds": rows,
            "kmeans": {"summary": summary(kmeans), "seeds": kmeans},
        }
        write_json(path, result)
    print(json.dumps(json.loads(path.read_text())["summary"], indent=2))


if __name__ == "__main__":
    main()
