"""A watch over a training for the collapse that :mod:`fastjvae.metrics.collapse` measures."""

from functools import cached_property
from typing import Any

from torch import Tensor

from fastjvae.functional.checks import ChannelReduction
from fastjvae.metrics.collapse import (
    FIRST_STEP,
    STEPS_IN_DOUBT,
    MeanImage,
    constant_of,
    is_collapsed,
)
from fastjvae.model import JointVAE


class CollapseWatch:
    """Looks at records of a training for the collapse, and says so once.

    Args:
        images, channel_reduction, augment: as the training has them; they are measured once it is
            needed.
        model: the one that is trained, whose likelihood it is; None for Bernoulli.
    """

    def __init__(
        self,
        images: Tensor,
        channel_reduction: ChannelReduction = "mean",
        augment: float = 0.0,
        model: JointVAE | None = None,
    ) -> None:
        self._model = model
        self._images, self._channel_reduction, self._augment = images, channel_reduction, augment
        self._doubtful_since: int | None = None  # step
        self._said = False

    @cached_property
    def _mean_image(self) -> MeanImage:
        return MeanImage.of(self._images, self._augment)

    def __call__(self, record: dict[str, Any]) -> str | None:
        """A sentence about a record of ``metrics.jsonl``, where there is something to say."""
        step, cont, disc = record["step"], sum(record["kl_cont"]), sum(record["kl_disc"])
        # Categories alone may tell much of what an image is and little of its pixels, so where
        # there are units too, they have to hold something.
        kl = cont + disc if cont >= 0.5 or not record["kl_cont"] else 0.0
        if self._said or kl < 1 or step < FIRST_STEP:
            return None
        gaussian = self._model.gaussian if self._model else None
        channels, height, width = self._images.shape[1:]
        mean_image = self._mean_image.loss(self._channel_reduction, gaussian)
        constant = constant_of((channels, height, width), self._channel_reduction, gaussian)
        if not is_collapsed(record["reconstruction"], mean_image, constant):
            self._doubtful_since = None
            return None
        if self._doubtful_since is None:
            self._doubtful_since = step
        if step < self._doubtful_since + STEPS_IN_DOUBT:
            return None
        self._said = True
        return (
            f"the model shows the mean image whatever its latent variables say (step"
            f" {step:,}: reconstruction {record['reconstruction']:.1f} nats, the mean"
            f" image's {mean_image:.1f}, at a KL of {kl:.1f} nats), which more steps rarely"
            f" change; try --warmup 300, a lower --lr or another --seed"
        )
