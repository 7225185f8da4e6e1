"""The order of a run's images: the seed and a step's number alone decide which the step gets."""

import torch
from torch import Tensor

from fastjvae.data.batches.groups import Groups
from fastjvae.errors import ArgumentError


class Order:
    """The indices of each step: one process' part of a slice of the epoch's permutation."""

    def __init__(
        self,
        images: int,
        batch_size: int,
        seed: int,
        device: torch.device,
        rank: int,
        world: int,
        groups: Groups | None = None,
        kept_on: torch.device | str | None = None,
    ) -> None:
        if batch_size < 1:
            raise ArgumentError(f"batch size must be at least 1, got {batch_size}")
        if not 0 <= rank < world:
            raise ArgumentError(
                f"rank must be from 0 to one less than the number of processes, got rank {rank} "
                f"of {world}"
            )
        self._group = groups.size if groups else 1
        if batch_size % self._group:
            raise ArgumentError(
                f"a batch must be whole groups of {self._group} images each,"
                f" got a batch size of {batch_size}"
            )
        self._drawn = batch_size // self._group  # from the permutation
        self.largest = min(self._drawn, images) * self._group
        self.steps_per_epoch = -(-images // self._drawn)
        self._images, self._seed = images, seed
        self._device, self._rank, self._world = device, rank, world
        self._kept_on = kept_on or device
        self._neighbours = groups.neighbours.to(self._kept_on) if groups else None
        self._epoch = -1
        self._permutation = torch.empty(0, dtype=torch.int64)

    def indices(self, step: int) -> Tensor:
        """(B,) int64 on the device; ``world`` processes get the parts of one batch."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator(self._device).manual_seed(epoch_seed(self._seed, epoch))
            permutation = torch.randperm(self._images, device=self._device, generator=generator)
            self._permutation = permutation.to(self._kept_on)
            self._epoch = epoch
        start = position * self._drawn
        batch = self._permutation[start : start + self._drawn]
        if self._neighbours is not None:
            batch = self._grouped(batch, self._neighbours, step)
        return batch.tensor_split(self._world)[self._rank]

    def whole(self, step: int) -> int:
        position = step % self.steps_per_epoch
        return min(self._drawn, self._images - position * self._drawn) * self._group

    def _grouped(self, leading: Tensor, neighbours: Tensor, step: int) -> Tensor:
        """Every image and then its neighbours, the same ones by rank for the whole batch."""
        if neighbours.shape[1] == 0:
            return leading.repeat_interleave(self._group)
        generator = torch.Generator().manual_seed(epoch_seed(self._seed, step))
        ranks = torch.randperm(neighbours.shape[1], generator=generator)[: self._group - 1]
        # By Python's numbers: the device would have to be waited for to copy an index to it.
        others = [neighbours[:, rank].index_select(0, leading) for rank in ranks.tolist()]
        return torch.stack([leading, *others], dim=1).flatten()


def epoch_seed(seed: int, epoch: int) -> int:
    return seed * 1_000_003 + epoch
