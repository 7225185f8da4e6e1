"""Batches of a DataLoader of one's own, in an order that a resumed run repeats."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fastjvae.data.batches.base import Batches
from fastjvae.data.batches.order import epoch_seed
from fastjvae.data.prepare import reason
from fastjvae.errors import ArgumentError, DataError

# Held while torch's default generator has a loader's state: runs in other threads wait for theirs.
_RANDOM_NUMBERS = threading.RLock()


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
        for each in (loader, loader.sampler, loader.batch_sampler):
            if isinstance(generator := getattr(each, "generator", None), torch.Generator):
                generator.manual_seed(seed)
            if set_epoch := getattr(each, "set_epoch", None):
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
