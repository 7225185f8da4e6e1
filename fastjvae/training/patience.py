"""Early stopping: ends a run whose held-out images are no longer reconstructed better."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fastjvae.model import JointVAE


class Patience:
    """Counts the evaluations since the best one, and keeps the weights that it was of.

    Args:
        most: evaluations in a row without a better one that end the run; None never ends it, and
            keeps nothing.

    Attributes:
        step: of the best evaluation, 0 before the first.
    """

    def __init__(self, most: int | None) -> None:
        self.most, self.step = most, 0
        self._least = math.inf  # nats per image
        self._without = 0  # evaluations since then
        self._weights: dict[str, Tensor] = {}

    @property
    def is_over(self) -> bool:
        """Whether the run ends."""
        return self.most is not None and self._without >= self.most

    def is_better(self, error: float) -> bool:
        """Whether an evaluation is better than every one before."""
        return error < self._least

    def count(self, model: JointVAE, step: int, error: float, *, better: bool) -> None:
        """Note an evaluation after ``step``; of several processes each keeps its own weights."""
        if not better:
            self._without += 1
            return
        self.step, self._least, self._without = step, error, 0
        self._weights = {name: each.detach().clone() for name, each in model.state_dict().items()}

    def give_best(self, model: JointVAE) -> None:
        """Give a model the weights of the best evaluation, where there has been one."""
        if self._weights:
            model.load_state_dict(self._weights)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps; empty where nothing has been noted."""
        if self.most is None or not self._weights:
            return {}
        kept = {"step": self.step, "least": self._least, "without": self._without}
        return {"patience": {**kept, "weights": self._weights}}

    def take_up(self, checkpoint: Mapping[str, Any]) -> None:
        """Go on from a checkpoint, which may have been written without patience."""
        kept = checkpoint.get("patience")
        if self.most is None or kept is None:
            return
        self.step, self._least, self._without = kept["step"], kept["least"], kept["without"]
        self._weights = kept["weights"]
