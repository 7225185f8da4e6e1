"""Studies the discrete variable of MNIST runs: what it agrees with, and its information by batch.

    python -m benchmarks.experiments.discrete_study mnist-joint --data-root DATA

reads the models that :mod:`benchmarks.experiments.driver` has trained, in ``FASTJVAE_RUNS``, and
writes ``benchmarks/results/discrete.json``, where what was found in models that are gone stays:

- ``holds``: the adjusted mutual information (scikit-learn; 0 for chance, 1 for the same partition)
  of the most probable category with the digit and with what else divides the training images: the
  clusters of k-means on their pixels, and tenths of their slant, ink and width;
- ``batches``: the information I = H(category mean) - mean H(p) of N images less that of all of
  them, in nats, over batches of N. The mean over a batch has a lower entropy than the mean over all
  images, to first order by (K - 1)/(2N) times the share of the variance of p that lies between
  images.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import fastjvae
from benchmarks.environment import environment
from benchmarks.experiments.catalogue import EXPERIMENTS
from benchmarks.experiments.counterparts import fitted_kmeans
from benchmarks.experiments.driver import Unit
from fastjvae.data import ImageData, load
from fastjvae.files import write_json
from fastjvae.model.encoding import encoded_batches
from fastjvae.model.pretrained import WEIGHTS

PATH = Path(__file__).parents[1] / "results" / "discrete.json"
BATCHES = (16, 32, 64, 128, 256, 512)
_DRAWS = 200  # batches of each size
_PARTS = 10  # of slant, ink and width, each with as many images


def attributes(data: ImageData, seed: int = 0) -> dict[str, NDArray[np.int64]]:
    """(N,) each: what divides the images, by name."""
    assert data.labels is not None
    pixels = data.images[:, 0].numpy() / 255.0
    slant, width = _moments(pixels)
    return {
        "digit": data.labels.numpy().astype(np.int64),
        "k-means cluster": fitted_kmeans(data.images, _PARTS, seed).labels_.astype(np.int64),
        "slant": _tenths(slant),
        "ink": _tenths(pixels.mean(axis=(1, 2))),
        "width": _tenths(width),
    }


def _moments(pixels: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slant (horizontal shift per row) and width (standard deviation of columns) of each image."""
    rows, columns = np.mgrid[: pixels.shape[1], : pixels.shape[2]]
    mass = pixels.sum(axis=(1, 2))

    def mean(values: NDArray[Any]) -> NDArray[np.float64]:
        result: NDArray[np.float64] = (pixels * values).sum(axis=(1, 2)) / mass
        return result

    y, x = mean(rows), mean(columns)
    covariance = mean(rows * columns) - x * y
    return covariance / (mean(rows * rows) - y * y), np.sqrt(mean(columns * columns) - x * x)


def _tenths(values: NDArray[np.float64]) -> NDArray[np.int64]:
    edges = np.quantile(values, np.linspace(0, 1, _PARTS + 1)[1:-1])
    return np.digitize(values, edges).astype(np.int64)


def probabilities(model: fastjvae.JointVAE, images: Tensor) -> Tensor:
    """(N, K), float64, of the first discrete variable."""
    rows = [params[:, model.spec.logits[0]] for _, params in encoded_batches(model, images)]
    return torch.cat(rows).double().softmax(dim=1)


def held(assignments: NDArray[np.int64], about: dict[str, NDArray[np.int64]]) -> dict[str, float]:
    """Adjusted mutual information of the categories with each attribute."""
    from sklearn.metrics import adjusted_mutual_info_score

    return {
        name: float(adjusted_mutual_info_score(values, assignments))
        for name, values in about.items()
    }


def batch_bias(p: Tensor, seed: int = 0) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of a batch's information less that of all rows of ``p``."""
    generator = torch.Generator().manual_seed(seed)
    whole = information(p)
    found: dict[str, dict[str, float]] = {"all": {"information": whole}}
    for rows in BATCHES:
        errors = [
            information(p[torch.randperm(len(p), generator=generator)[:rows]]) - whole
            for _ in range(_DRAWS)
        ]
        found[str(rows)] = {"mean": statistics.fmean(errors), "std": statistics.stdev(errors)}
    return found


def information(p: Tensor) -> float:
    """H(category mean) - mean H(p), nats."""
    mean = p.mean(dim=0)
    return float((torch.xlogy(p, p).sum(dim=1)).mean() - torch.xlogy(mean, mean).sum())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="+", metavar="EXPERIMENT", choices=tuple(EXPERIMENTS))
    parser.add_argument("--data-root", help="folder of MNIST and FashionMNIST")
    options = parser.parse_args(arguments)
    known = json.loads(PATH.read_text())["experiments"] if PATH.exists() else {}
    result: dict[str, Any] = {"about": environment(), "experiments": known}
    for name in options.names:
        experiment = EXPERIMENTS[name]
        data = load(experiment.config_of(0, options.data_root).source("train"))
        about = attributes(data)
        seeds = known.get(name, {}).get("seeds", {})
        for unit in (Unit(name, experiment, seed) for seed in experiment.seeds):
            if not (unit.result.exists() and (unit.run.path / WEIGHTS).exists()):
                continue
            p = probabilities(fastjvae.load(unit.run.path), data.images)
            assignments = p.argmax(dim=1).numpy()
            found = {"holds": held(assignments, about), "batches": batch_bias(p)}
            seeds[str(unit.seed)] = found
            print(name, unit.seed, found["holds"], flush=True)
        result["experiments"][name] = {
            "attributes": held(about["k-means cluster"], about),
            "seeds": dict(sorted(seeds.items())),
        }
    write_json(PATH, result)


if __name__ == "__main__":
    main()
