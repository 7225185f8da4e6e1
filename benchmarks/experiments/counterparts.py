"""Results to compare trained models with: k-means on pixels, and the authors' model."""

import time
from pathlib import Path
from typing import Any

from torch import Tensor

import fastjvae
from fastjvae.data import load
from fastjvae.metrics import cluster_accuracy
from fastjvae.metrics.evaluation import evaluate
from fastjvae.training.settings.train import TrainConfig

_INITIALISATIONS = 10  # of k-means, the best of which by its own objective is taken


def kmeans(config: TrainConfig) -> dict[str, Any]:
    """k-means on the training pixels; its clusters as a classifier of the test images.

    There are as many clusters as the discrete variable has categories.
    """
    train, test = load(config.source("train")), load(config.source("test"))
    assert test.labels is not None
    (clusters,) = config.disc
    begin = time.perf_counter()
    machine = fitted_kmeans(train.images, clusters, config.seed)
    seconds = time.perf_counter() - begin
    assignments = machine.predict(test.images.flatten(1).numpy() / 255.0)
    variable = {
        "accuracy_majority": cluster_accuracy(assignments, test.labels.numpy()),
        "accuracy_one_to_one": cluster_accuracy(assignments, test.labels.numpy(), "one-to-one"),
    }
    return {
        "config": {"dataset": config.dataset, "clusters": clusters, "n_init": _INITIALISATIONS},
        "seconds": seconds,
        "evaluation": {"data": test.name, "images": len(test), "variables": [variable]},
    }


def fitted_kmeans(images: Tensor, clusters: int, seed: int) -> Any:
    """scikit-learn's k-means of the pixels of images (N, C, H, W) uint8."""
    from sklearn.cluster import KMeans

    machine = KMeans(clusters, n_init=_INITIALISATIONS, random_state=seed)
    return machine.fit(images.flatten(1).numpy() / 255.0)


def published(config: TrainConfig, folder: Path) -> dict[str, Any]:
    """The model that the paper's authors published in ``folder``, on the test images."""
    model = fastjvae.load_published(folder)
    evaluation = evaluate(model, load(config.source("test")), config.channel_reduction)
    return {
        "config": {"dataset": config.dataset, "cont": model.spec.cont, "disc": model.spec.disc},
        "evaluation": evaluation.to_dict(),
    }
