"""What config.json says of a run beside its settings: model, images, versions, numerics."""

import platform
from typing import Any

import torch
from torch.utils.data import DataLoader

from fastjvae._version import __version__
from fastjvae.data import ImageData
from fastjvae.data.held_out import SPLIT_SEED, folders_of_splits
from fastjvae.model import JointVAE, pretrained
from fastjvae.training.device import tf32
from fastjvae.training.labelled import described_labels
from fastjvae.training.settings.run import Precision, RunConfig


def about(
    config: RunConfig, model: JointVAE, data: dict[str, Any], precision: Precision | None = None
) -> dict[str, Any]:
    """The entries of config.json beside the settings.

    ``data`` is of :func:`described`; ``precision`` is what runs, where the settings' cannot.
    """
    return {
        "format": pretrained.MODEL_FORMAT,
        "model": pretrained.model_config(model),
        "data": data,
        "versions": {
            "fastjvae": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "numerics": {
            "precision": precision or config.precision,
            **{f"{where}_tf32": allowed for where, allowed in tf32()._asdict().items()},
        },
    }


def described(
    data: ImageData | DataLoader[Any],
    config: RunConfig,
    digest: dict[str, Any],
    held_out: ImageData | None = None,
    labelled: ImageData | DataLoader[Any] | None = None,
) -> dict[str, Any]:
    """The entry of config.json about the images: above all whether its settings can load them.

    Of images that were divided here it says how, and by ``digest``, their number and SHA-256, which
    ones are trained on. Of images with labels that training sees it says which ones these are.
    """
    source = data.source if isinstance(data, ImageData) else None
    entry = {
        "name": data.name if isinstance(data, ImageData) else type(data.dataset).__name__,
        "images": digest["images"],
        "given_in_python": source is None or not source.is_of(config.source()),
    }
    if held_out is not None and source is not None and source.held_out:
        how = {"folder": "test"} if folders_of_splits(source) else {"seed": SPLIT_SEED}
        entry |= {"held_out": {"images": len(held_out), **how}, "sha256": digest["sha256"]}
    numbered = isinstance(data, ImageData)
    if labels := described_labels(labelled or data, config.spec, numbered=numbered):
        entry |= {**labels, "sha256": digest["sha256"]}
    return entry
