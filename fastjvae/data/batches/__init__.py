"""Where a training run's batches come from: images on the device, images on disk, or a DataLoader.

Which images a step gets depends on the seed and the step's number alone. A resumed run finds its
place by asking for it, and several processes can each take a part of the same batch.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fastjvae.data import memory
from fastjvae.data.batches.groups import Groups
from fastjvae.data.batches.order import Order, epoch_seed
from fastjvae.data.prepare import reason
from fastjvae.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from typing_extensions import Self

# Batches that are read before they are asked for. One hides the reading where it is faster than
# training; the others bridge a slow one, such as the first of an epoch, which needs a permutation.
_AHEAD = 4
# Held while torch's default generator has a loader's state: runs in other threads wait for theirs.
_RANDOM_NUMBERS = threading.RLock()


class Batches(Protocol):
    """The images of each step; usable as a context manager, which closes it.

    Attributes:
        images: images in the data set.
        img_size: (C, H, W).
        steps_per_epoch: an epoch's last batch may be smaller than the others.
    """

    images: int
    img_size: tuple[int, int, int]
    steps_per_epoch: int

    def select(self, step: int) -> Tensor:
        """What ``gather`` needs on the device for one step; steps count from 0, in any order."""
        ...

    def whole(self, step: int) -> int:
        """Images of the step's batch, those of all processes together."""
        ...

    def gather(self, selected: Tensor) -> Tensor:
        """The (B, C, H, W) images of a selection: on the device, without waiting for it."""
        return selected

    def close(self) -> None:
        """Ends what works in the background; again is no error."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _ArrayBatches(Batches):
    """Batches of one array of images, in the order of :class:`Order`."""

    def __init__(
        self,
        images: Tensor,
        batch_size: int,
        seed: int,
        device: torch.device,
        rank: int = 0,
        world: int = 1,
        groups: Groups | None = None,
        kept_on: torch.device | str | None = None,
    ) -> None:
        self.images, self.img_size = _count_and_size(images)
        self._order = Order(self.images, batch_size, seed, device, rank, world, groups, kept_on)
        self.steps_per_epoch = self._order.steps_per_epoch

    def whole(self, step: int) -> int:
        return self._order.whole(step)


class ResidentBatches(_ArrayBatches):
    """Images that stay on the device as uint8; a selection is (B,) int64 indices.

    ``gather`` is one kernel and can be part of a CUDA graph.

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
        super().__init__(images, batch_size, seed, device, rank, world, groups)
        self._pixels = images.to(device)

    def select(self, step: int) -> Tensor:
        return self._order.indices(step)

    def gather(self, selected: Tensor) -> Tensor:
        return self._pixels.index_select(0, selected)


class StreamedBatches(_ArrayBatches):
    """Images that stay where they are, such as on a memory map, read by a thread ahead of training.

    A selection is the (B, C, H, W) uint8 images themselves. What cannot be read is an error of
    ``select``. Arguments and order are those of :class:`ResidentBatches`.
    """

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
        super().__init__(images, batch_size, seed, device, rank, world, groups, kept_on="cpu")
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


class LoaderBatches(Batches):
    """The batches of a DataLoader: images, or tuples or lists that begin with them, as they come.

    A selection is the images themselves, uint8 or floating (B, C, H, W).

    For every epoch the loader gets random numbers of its own, seeded by ``seed`` and the epoch:
    torch's default generator as the loader and its dataset see it, and the loader's and its
    sampler's own generator. So a loader may shuffle, and by torch's numbers augment, and step k is
    still the same after a resume, for which the batches of the epoch before it are loaded and
    dropped. With ``persistent_workers`` the random numbers of the workers go on from epoch to
    epoch instead, which no resumed run can repeat.

    Where several processes train, each loader must give its process another part of the data, as
    with ``torch.utils.data.DistributedSampler``, in batches of the same size. A sampler's
    ``set_epoch(epoch)`` is called.

    Args:
        loader: its dataset has a length, as it has itself.
        device: where the images are wanted; ``pin_memory`` of the loader makes the copy faster.
        seed: see above.
        world: number of processes.

    Raises:
        ArgumentError: the loader or its dataset has no length or is empty.
        DataError: a batch of another form; from ``select`` too, as are errors of the dataset.
    """

    def __init__(
        self, loader: DataLoader[Any], device: torch.device, seed: int, world: int = 1
    ) -> None:
        self.images = _length("the loader's dataset", loader.dataset)
        self.steps_per_epoch = _length("the loader", loader)
        self._loader, self._device, self._seed, self._world = loader, device, seed, world
        self._start(0)
        self._batch = self._draw()
        _, *size = _images_of(self._batch).shape
        self.img_size = (size[0], size[1], size[2])

    def select(self, step: int) -> Tensor:
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch or position < self._drawn - 1:
            self._start(epoch)
        while self._drawn <= position:
            self._batch = self._draw()
        images = _images_of(self._batch)
        if images.shape[1:] != self.img_size:
            raise DataError(
                f"the loader's images must have one size, got {list(self.img_size)} first and "
                f"{list(images.shape[1:])} in batch {position} of epoch {epoch}"
            )
        return images.to(self._device, non_blocking=True)

    def whole(self, step: int) -> int:
        return len(_images_of(self._batch)) * self._world  # of the step selected last

    def close(self) -> None:
        self._iterator: Iterator[Any] = iter(())  # without its iterator a loader's workers end
        self._epoch = -1

    def _start(self, epoch: int) -> None:
        self.close()
        seed = epoch_seed(self._seed, epoch)
        self._random_state = torch.Generator().manual_seed(seed).get_state()
        loader = self._loader
        for part in (loader, loader.sampler, loader.batch_sampler):
            if isinstance(generator := getattr(part, "generator", None), torch.Generator):
                generator.manual_seed(seed)
            if set_epoch := getattr(part, "set_epoch", None):
                set_epoch(epoch)
        with self._own_random_numbers():
            self._iterator = iter(loader)
        self._epoch, self._drawn = epoch, 0

    def _draw(self) -> Any:
        """The next batch of the epoch."""
        with self._own_random_numbers():
            try:
                batch = next(self._iterator)
            except StopIteration:
                raise DataError(
                    f"the loader announces {self.steps_per_epoch} batches by its length, but "
                    f"epoch {self._epoch} has ended after {self._drawn}"
                ) from None
        self._drawn += 1
        return batch

    @contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        with _RANDOM_NUMBERS, torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self._random_state)
            yield
            self._random_state = torch.get_rng_state()


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


def _length(what: str, value: Any) -> int:
    try:
        length = len(value)
    except (TypeError, NotImplementedError) as error:
        raise ArgumentError(
            f"{what} must have a length, by which epochs are counted: {reason(error)}"
        ) from error
    if length < 1:
        raise ArgumentError(f"{what} must not be empty, got a length of {length}")
    return length


def _images_of(batch: Any) -> Tensor:
    images = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
    if not isinstance(images, Tensor):
        inside = "" if images is batch else f" that begins with {type(images).__name__}"
        raise DataError(
            f"the loader must yield images or (images, ...) as tensors, got "
            f"{type(batch).__name__}{inside}"
        )
    right_type = images.dtype == torch.uint8 or images.is_floating_point()
    if not right_type or images.ndim != 4 or 0 in images.shape:
        raise DataError(
            f"the loader must yield images as uint8 or floats of shape (N, C, H, W), got "
            f"{images.dtype} of shape {list(images.shape)}"
        )
    return images
