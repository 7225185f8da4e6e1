"""The held-out images of a run: which they are, and their error in the course of a training."""

import dataclasses
from collections.abc import Callable

from torch import Tensor

from fastjvae.data import SPLIT_DATASETS, ImageData, load
from fastjvae.data.held_out import FEWEST
from fastjvae.data.source import DataSource
from fastjvae.errors import DataError
from fastjvae.metrics.reconstruction import reconstruction_error
from fastjvae.model import JointVAE
from fastjvae.model.encoding import evenly_spread
from fastjvae.training.settings.run import RunConfig

_MOST_IMAGES = 256
# Images that are trained on for each held-out one: to encode and decode one takes about a third of
# what training on one takes, so that the whole adds about 3 %.
_TRAINED = 12
_TIMES = 20  # at most, in a run: a GPU takes hundreds of steps in the time of one look


class HeldOutWatch:
    """Measures the reconstruction error of held-out images for some records of a training.

    Args:
        images: (N, C, H, W) uint8; up to 256, evenly spread, are looked at.
        config: the run's settings.
        steps: of the whole run.
        epoch: steps of an epoch, where there is to be a look in each, as often as the work allows;
            by default there are at most 20 in the run.
    """

    def __init__(
        self, images: Tensor, config: RunConfig, steps: int, epoch: int | None = None
    ) -> None:
        self._images = images[evenly_spread(len(images), _MOST_IMAGES)]
        self._channel_reduction = config.channel_reduction
        self._log_every, self._steps = config.log_every, steps
        work = -(-_TRAINED * len(self._images) // config.batch_size)
        self._every = max(work, epoch or steps // _TIMES)  # steps

    def is_due(self, step: int) -> bool:
        """Whether the record of a step is to have the error; that of the last step always has."""
        before = max(0, step - self._log_every)
        return step == self._steps or step // self._every > before // self._every

    def error(self, model: JointVAE) -> float:
        """The reconstruction error in evaluation mode, nats per image."""
        return reconstruction_error(model, self._images, self._channel_reduction, _MOST_IMAGES)


def images_of_test(
    data: ImageData, source: DataSource, say: Callable[[str], None]
) -> ImageData | None:
    """The test images of a data set, which a run is evaluated on; None where there are none.

    Args:
        data: the training images.
        source: where they come from.
        say: tells the user in a sentence why there are none where some might be expected.

    Raises:
        DataError: their size is another than that of the training images.
    """
    if source.name not in SPLIT_DATASETS and not source.held_out:
        return None
    source = dataclasses.replace(source, split="test")
    if source.name == "images":  # a folder of their own may be grey where the other is not
        source = dataclasses.replace(source, channels=1 if data.img_size[0] == 1 else 3)
    try:
        found = load(source)
    except DataError as error:
        say(f"{error}; the evaluation will use the training images")
        return None
    if found.img_size != data.img_size:
        raise DataError(
            f"{found.name} has images of {found.img_size} and {data.name} of {data.img_size}:"
            f" image_size, --image-size, resizes them"
        )
    if found.name == data.name:
        say(
            f"{data.name} has {len(data)} images, fewer than {FEWEST}, so that none are held out;"
            f" the evaluation will use the training images"
        )
        return None
    return found
