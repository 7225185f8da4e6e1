"""``Batches``, the images of each step, wherever they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from typing_extensions import Self


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
        """A step's selection for ``gather``, on the device; steps count from 0, in any order."""
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
