"""Batches of images in one array: resident on the device, or streamed from where they lie."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from fastjvae.data import memory
from fastjvae.data.batches.base import Batches
from fastjvae.data.batches.groups import Groups
from fastjvae.data.batches.order import Order
from fastjvae.errors import ArgumentError
from fastjvae.functional import gather_images

# Batches that are read before they are asked for. One hides the reading where it is faster than
# training; the others bridge a slow one, such as the first of an epoch, which needs a permutation.
_AHEAD = 4


class _ArrayBatches(Batches):
    """Batches of one array of images, in the order of :class:`Order`."""

    _indices_on: str | None = None  # where the order's indices are wanted; None: on the device

    def __init__(
        self,
        images: Tensor,
        batch_size: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        groups: Groups | None = None,
    ) -> None:
        self.images, self.img_size = _count_and_size(images)
        self._order = Order(
            self.images, batch_size, seed, device, rank, world, groups, self._indices_on
        )
        self.steps_per_epoch = self._order.steps_per_epoch
        self._hold(images, device, world)

    def _hold(self, images: Tensor, device: torch.device, world: int) -> None:
        """Keep the images where the batches are taken from."""
        raise NotImplementedError

    def whole(self, step: int) -> int:
        return self._order.whole(step)


class ResidentBatches(_ArrayBatches):
    """Images that stay on the device as uint8; a selection is (B,) int64 indices.

    ``gather`` is one kernel and can be part of a CUDA graph. It gives uint8 on a CPU, and on a GPU
    floats 0..1 in channels_last.

    Args:
        images: (N, C, H, W) uint8, contiguous, on the CPU; copied to the device once.
        batch_size: images of one step, of all processes together.
        seed: with the epoch it gives the order of the images. Orders are made on the device, and
            those of a CPU and of a GPU differ.
        device: where the images are wanted.
        rank: which process this is of ``world``; the parts of a batch differ by at most one image,
            and may be empty where an epoch's last batch is smaller than ``world``.
        groups: a batch is made of groups, one after the other: images of the epoch's order, and
            each with neighbours of its own. The batch size counts them all, and an epoch ends when
            every image has led a group.

    Raises:
        ArgumentError: images of another form, or a batch size or rank that cannot be.
    """

    def _hold(self, images: Tensor, device: torch.device, world: int) -> None:
        self._pixels = images.to(device)

    def select(self, step: int) -> Tensor:
        return self._order.indices(step)

    def gather(self, selected: Tensor) -> Tensor:
        if self._pixels.device.type == "cpu":  # the loss looks at floats there, not at uint8
            return self._pixels.index_select(0, selected)
        return gather_images(self._pixels, selected)


class StreamedBatches(_ArrayBatches):
    """Images that stay where they are, such as on a memory map, read by a thread ahead of training.

    A selection is the (B, C, H, W) uint8 images themselves. What cannot be read is an error of
    ``select``. Arguments and order are those of :class:`ResidentBatches`.
    """

    _indices_on = "cpu"

    def _hold(self, images: Tensor, device: torch.device, world: int) -> None:
        # Torch would start a team of OpenMP threads for the reader, beside that of the training.
        self._rows = images.numpy()
        self._most_rows = -(-self._order.largest // world)
        self._device = device
        self._reader = ThreadPoolExecutor(1, "fastjvae-batches")
        self._ahead: deque[Future[Tensor]] = deque()  # of the steps from self._next on
        self._next = 0

    def select(self, step: int) -> Tensor:
        if step != self._next:
            self._forget()
            self._next = step
        while len(self._ahead) <= _AHEAD:
            self._ahead.append(self._submit(self._next + len(self._ahead)))
        self._next += 1
        return self._ahead.popleft().result().to(self._device, non_blocking=True)

    def close(self) -> None:
        self._forget()
        self._reader.shutdown()

    def _submit(self, step: int) -> Future[Tensor]:
        # Each batch has a buffer of its own: torch gives the pages of a pinned one away again only
        # when the copy from it is done. It is made here because in the reader's thread it would be
        # a CUDA call, which may not happen while the training captures a graph.
        buffer = torch.empty(
            (self._most_rows, *self.img_size),
            dtype=torch.uint8,
            pin_memory=self._device.type == "cuda",
        )
        return self._reader.submit(self._read, self._order.indices(step), buffer)

    def _read(self, indices: Tensor, buffer: Tensor) -> Tensor:
        batch = buffer[: len(indices)]
        # Any other mode than "raise", which no index here calls for, spares numpy a second buffer.
        np.take(self._rows, indices.numpy(), axis=0, out=batch.numpy(), mode="clip")
        return batch

    def _forget(self) -> None:
        for future in self._ahead:
            future.cancel()
        self._ahead.clear()


def batches_of(
    images: Tensor,
    *,
    batch_size: int,
    seed: int,
    device: torch.device,
    rank: int = 0,
    world: int = 1,
    groups: Groups | None = None,
    mapped: bool = False,
    share: float = memory.SHARE,
) -> ResidentBatches | StreamedBatches:
    """Images resident on the device if they take no more than ``share`` of its memory, or streamed.

    On a CPU images in memory are resident as they are; a memory map is copied into memory if it
    fits there. The other arguments are those of :class:`ResidentBatches`.

    Args:
        mapped: whether the images lie on a memory map, as ``ImageData.mapped`` says.
        share: of the memory that is free now, 0 to 1.
    """
    order = (batch_size, seed, device, rank, world, groups)
    if device.type == "cuda":
        resident = images.nbytes <= share * torch.cuda.mem_get_info(device)[0]
    else:
        resident = not mapped or memory.fits(images.nbytes, share)
    if not resident:
        return StreamedBatches(images, *order)
    if mapped and device.type == "cpu":
        images = images.clone()
    return ResidentBatches(images, *order)


def _count_and_size(images: Tensor) -> tuple[int, tuple[int, int, int]]:
    fits = images.dtype == torch.uint8 and images.ndim == 4 and 0 not in images.shape
    if not fits or images.device.type != "cpu" or not images.is_contiguous():
        raise ArgumentError(
            f"images must be torch.uint8 of shape (N, C, H, W), not empty, contiguous and on the "
            f"CPU, got {images.dtype} of shape {list(images.shape)} and strides "
            f"{list(images.stride())} on {images.device}"
        )
    count, channels, height, width = images.shape
    return count, (channels, height, width)
