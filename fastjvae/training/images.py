"""The training images of a run: the batches made of them."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fastjvae.data import ImageData
from fastjvae.data.batches import Batches, LoaderBatches, batches_of
from fastjvae.data.batches.groups import Groups, nearest_neighbours
from fastjvae.data.source import check_image_data
from fastjvae.functional.checks import check_unit_interval
from fastjvae.model import JointVAE
from fastjvae.training.processes import Processes
from fastjvae.training.settings.run import RunConfig
from fastjvae.training.settings.train import TrainConfig


def training_batches(
    data: ImageData | DataLoader[Any],
    config: RunConfig,
    device: torch.device,
    processes: Processes,
) -> Batches:
    """The batches of a run on its device, of groups of images where its settings ask for them."""
    if isinstance(data, DataLoader):
        batches = LoaderBatches(data, device, config.seed, processes.world)
        # Before the first step, which does not look.
        check_unit_interval(batches.select(0), config.value_range)
        return batches
    check_image_data(data)
    groups = None
    if isinstance(config, TrainConfig) and config.group > 1:
        found = nearest_neighbours(data.images, config.neighbours, device)
        groups = Groups(config.group, found)
    return batches_of(
        data.images,
        batch_size=config.batch_size,
        seed=config.seed,
        device=device,
        rank=processes.rank,
        world=processes.world,
        groups=groups,
        mapped=data.mapped,
    )


def as_taken(model: JointVAE, images: Tensor, selected: Tensor) -> Tensor:
    """Gathered and moved images of a selection as the model takes them.

    Bytes became 0..1 on the way, unless they are bytes still; floats that a loader gave lie in the
    model's value range already.
    """
    was_bytes = images.is_floating_point() and not selected.is_floating_point()
    return model.in_value_range(images) if was_bytes else images
