"""The images of a run whose labels training sees, and which of them each step takes."""

import hashlib
from dataclasses import asdict, fields
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fastjvae.data import ImageData
from fastjvae.data.batches import ResidentBatches
from fastjvae.data.known_labels import UNKNOWN, chosen_labels, from_ranges, in_ranges
from fastjvae.errors import ArgumentError, RunError
from fastjvae.functional.latents import LatentSpec
from fastjvae.metrics.variables import Labelled
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.train import TrainConfig

# Labelled images of a step beside its batch. They are encoded and not decoded.
AT_ONCE = 32
_WEIGHT = TrainConfig.label_weight  # by default


class LabelledImages:
    """Labelled images on the device, of which each step gets the same number.

    They come in turn: an order of all of them by the seed, then another one. The phase's step alone
    decides which a step gets, and their tensors stay at their addresses, as a CUDA graph needs it.

    Args:
        images: (n, C, H, W) uint8 on the CPU.
        categories: (n,) int64, theirs.
        variable: number of the discrete variable that has them.
        weight: of their cross-entropy in the loss.
        seed: of the order.
        device: where they are wanted.
    """

    def __init__(
        self,
        images: Tensor,
        categories: Tensor,
        *,
        variable: int,
        weight: float,
        seed: int,
        device: torch.device,
    ) -> None:
        self.variable, self.weight = variable, weight
        number = min(AT_ONCE, len(images))
        self._batches = ResidentBatches(images, number, seed, device)
        self._whole = len(images) // number  # batches of that size in an order
        self._categories = categories.to(device)
        self._chosen = torch.zeros(number, dtype=torch.int64, device=device)

    def begin(self, step: int) -> None:
        """Choose the images of a step of the phase, counted from 0."""
        epoch, position = divmod(step, self._whole)
        number = epoch * self._batches.steps_per_epoch + position
        self._chosen.copy_(self._batches.select(number))

    def batch(self) -> tuple[Tensor, Tensor]:
        """The images (B, C, H, W) of the step that has begun, and their categories (B,)."""
        return self._batches.gather(self._chosen), self._categories[self._chosen]


def with_chosen_labels(
    data: ImageData | DataLoader[Any], config: TrainConfig, beside: ImageData | None = None
) -> ImageData | DataLoader[Any]:
    """Training images with the labels that the run's settings let training see.

    Args:
        data: the training images.
        config: the run's settings.
        beside: the images with known labels of a DataLoader.

    Raises:
        ArgumentError: there are no labels, not as many, or other ones are known already; or labels
            are weighed and none is known.
    """
    number = config.labelled
    if not number:
        weighed = any(p.config.label_weight != _WEIGHT for p in config.phase_configs)
        labels = beside or data
        if weighed and (isinstance(labels, DataLoader) or labels.known_labels is None):
            raise ArgumentError(
                "--label-weight is for labels that training sees, and this run has none: give"
                " --labelled, in Python known_labels"
            )
        return data
    if isinstance(data, DataLoader):
        raise ArgumentError(f"--labelled {number} needs images in an array, got a DataLoader")
    if data.known_labels is not None:
        raise ArgumentError(f"give known_labels or labelled, got both, labelled={number}")
    if data.labels is None:
        raise ArgumentError(f"--labelled {number} needs images with labels, {data.name} has none")
    known = chosen_labels(data.labels, number, config.seed)
    return data.with_known_labels(known, data.label_names)


def check_some_left(data: ImageData | DataLoader[Any], config: TrainConfig) -> None:
    """Refuse training images that leave none to evaluate, where there are no others.

    Raises:
        ArgumentError: training would see the label of every image.
    """
    data = with_chosen_labels(data, config)
    if isinstance(data, ImageData) and len(data) == len(known_rows(data)):
        raise ArgumentError(
            f"training sees the label of each of the {len(data):,} images, so that none is left to"
            f" evaluate: hold images out, or give fewer labels"
        )


def labelled_images(
    data: ImageData | DataLoader[Any], config: TrainConfig, device: torch.device
) -> LabelledImages | None:
    """The images whose labels take part in a phase of these settings; None where there are none."""
    labelled = labelled_of(data, config.spec)
    if labelled is None or not config.label_weight:
        return None
    assert isinstance(data, ImageData)
    assert data.known_labels is not None
    rows = known_rows(data)
    return LabelledImages(
        data.images[rows],
        data.known_labels[rows],
        variable=labelled.variable,
        weight=config.label_weight,
        seed=config.seed,
        device=device,
    )


def labelled_of(data: ImageData | DataLoader[Any], spec: LatentSpec) -> Labelled | None:
    """Which labels training sees of its images, for the evaluation; None where it sees none.

    Raises:
        ArgumentError: no discrete variable has as many categories as there are classes.
    """
    if not isinstance(data, ImageData) or data.known_labels is None:
        return None
    names = data.label_names
    if names is None:
        all_of = [each for each in (data.labels, data.known_labels) if each is not None]
        names = tuple(map(str, range(1 + max(int(each.max()) for each in all_of))))
    fitting = [d for d, size in enumerate(spec.disc) if size == len(names)]
    larger = [d for d, size in enumerate(spec.disc) if size > len(names)]
    if not (found := [*fitting, *larger]):
        has = f"those of this run have {', '.join(map(str, spec.disc))}" if spec.disc else "none is"
        raise ArgumentError(
            f"labels of {len(names)} classes need a discrete variable with as many categories or"
            f" more, {has}: give --disc {len(names)}"
        )
    return Labelled(int((data.known_labels >= 0).sum()), found[0], list(names))


def described_labels(
    data: ImageData | DataLoader[Any], spec: LatentSpec, *, numbered: bool
) -> dict[str, Any]:
    """The entry of config.json about the labels that training sees; empty where it sees none.

    ``numbered``: the images are those that are trained on, and so their numbers say which they are.
    """
    labelled = labelled_of(data, spec)
    if labelled is None:
        return {}
    assert isinstance(data, ImageData)
    rows = {"rows": in_ranges(known_rows(data).tolist())} if numbered else {}
    return {"labelled": {**asdict(labelled), **rows}}


def labels_digest(data: ImageData | DataLoader[Any]) -> dict[str, str]:
    """What a checkpoint keeps of the labels that training sees; empty where it sees none."""
    if not isinstance(data, ImageData) or data.known_labels is None:
        return {}
    digest = hashlib.sha256(data.known_labels.numpy().tobytes())
    digest.update(data.images[known_rows(data)].numpy().tobytes())
    return {"labels": digest.hexdigest()}


def known_rows(data: ImageData) -> Tensor:
    """The numbers of the images whose labels are known, int64, ascending."""
    if data.known_labels is None:
        return torch.empty(0, dtype=torch.int64)
    return (data.known_labels >= 0).nonzero().squeeze(1)


def labels_of_run(run: RunFolder) -> Labelled | None:
    """The labels that a run's training saw, by its config.json; None where it saw none.

    Raises:
        RunError: the entry there is damaged.
    """
    found = _seen_by(run)
    return found and found[0]


def with_seen_labels(data: ImageData, run: RunFolder) -> ImageData:
    """Data of which those images have ``known_labels`` whose labels a run's training saw.

    Raises:
        RunError: its config.json is damaged where it says so.
    """
    found = _seen_by(run)
    if found is None or not run.trained_on(data):
        return data
    known = torch.full((len(data),), UNKNOWN)
    known[found[1]] = 0  # whichever label it was
    return data.with_known_labels(known, data.label_names)


def _seen_by(run: RunFolder) -> tuple[Labelled, list[int]] | None:
    """The labels that a run's training saw, and the numbers of their images."""
    about = run.entry("data")
    if "labelled" not in about:
        return None
    try:
        entry = about["labelled"]
        labelled = Labelled(**{each.name: entry[each.name] for each in fields(Labelled)})
        rows = from_ranges(entry["rows"]) if "rows" in entry else []  # of a DataLoader
        if rows and not 0 <= rows[0] <= rows[-1] < about["images"]:
            raise ValueError(f"there are no images {entry['rows']}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{run.config_file} is damaged where it says which labels training saw: {error!r}"
        ) from error
    return labelled, rows
