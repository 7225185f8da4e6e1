"""The images of a data set without a split that are held out of training: which, and of how many.

The seed of the choice is no run's seed, so that runs of several seeds have the same images.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fastjvae.data.cache import gather
from fastjvae.data.memory import fits, tensor_on
from fastjvae.data.source import DataSource, ImageData

SPLITS = ("train", "test")
SPLIT_SEED = 0
SHARE = 0.1  # of the images, where no other one is asked for
FEWEST = 20  # images that are divided
_AT_ONCE = 512  # images that are copied


def folders_of_splits(source: DataSource) -> bool:
    """Whether folders ``train`` and ``test`` lie in the root of pictures, which are the splits."""
    return source.name == "images" and all((source.path / split).is_dir() for split in SPLITS)


def held_out_rows(images: int, share: float) -> torch.Tensor:
    """The numbers of the images that are held out, int64, ascending.

    A share is rounded down, but to at least one image. Of fewer than 20 images none are held out.

    >>> held_out_rows(30, 0.1).tolist()
    [2, 13, 28]
    """
    if images < FEWEST or not share:
        return torch.empty(0, dtype=torch.int64)
    # Of numpy's generators the one whose numbers are the same in every version.
    order = np.random.RandomState(SPLIT_SEED).permutation(images)
    return torch.from_numpy(np.sort(order[: max(1, int(share * images))]).astype(np.int64))


def divided(data: ImageData, share: float) -> tuple[ImageData, ImageData | None]:
    """The images to train on and those that are held out, in memory; None where there are none.

    Images on a memory map that are too many for memory are not divided. Those whose labels training
    may see are trained on, wherever they are.
    """
    held_out = held_out_rows(len(data), share)
    if data.known_labels is not None:
        held_out = held_out[data.known_labels[held_out] < 0]
    if not len(held_out) or (data.mapped and not fits(data.images.nbytes)):
        return data, None
    train, test = (
        _with_rows(data, split, rows, images=data.images[rows], mapped=False)
        for split, rows in (("train", _others(held_out, len(data))), ("test", held_out))
    )
    return train, test


def part_of(data: ImageData, source: DataSource, files: Sequence[Path]) -> ImageData:
    """The part of a whole data set that ``source.split`` names; all of it where it is too small.

    Args:
        data: the whole.
        source, files: name the file of what is mapped, as in :func:`fastjvae.data.cache.gather`.
    """
    held_out = held_out_rows(len(data), source.held_out)
    if not len(held_out):
        return data
    rows = held_out if source.split == "test" else _others(held_out, len(data))

    def chunks() -> Iterator[npt.NDArray[np.uint8]]:
        whole = data.images.numpy()
        return (whole[some.numpy()] for some in torch.split(rows, _AT_ONCE))

    pixels = gather(source, files, (len(rows), *data.img_size), chunks)
    return _with_rows(
        data,
        source.split,
        rows,
        images=tensor_on(pixels.array),
        mapped=pixels.mapped,
        known_digest=pixels.sha256,
    )


def _others(held_out: torch.Tensor, images: int) -> torch.Tensor:
    """The numbers of the images that are not held out, int64, ascending."""
    is_ours = torch.ones(images, dtype=torch.bool)
    is_ours[held_out] = False
    return is_ours.nonzero().squeeze(1)


def _with_rows(data: ImageData, split: str, rows: torch.Tensor, **pixels: Any) -> ImageData:
    """The data of these rows, whose images and what belongs to them are given."""
    return data.with_rows(rows, name=f"{data.name}/{split}", **pixels)
