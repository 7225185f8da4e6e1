"""Sizes and order of the latent variables in a parameter row and in a sample row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from fastjvae._numbers import is_integer
from fastjvae.errors import ArgumentError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LatentSpec:
    """How many Gaussian units and which categorical variables a model has.

    With Z continuous units and discrete sizes K_1..K_D, one image is described by

    - a parameter row ``[mean | logvar | logits_1 | ... | logits_D]``, ``num_params`` = 2 Z + sum K,
    - a sample row ``[z | c_1 | ... | c_D]``, ``sample_dim`` = Z + sum K.

    >>> spec = LatentSpec.from_dict({"cont": 10, "disc": [10, 4]})
    >>> spec.num_params, spec.sample_dim
    (34, 24)
    >>> spec.logits[1], spec.categories[1]
    (slice(30, 34, None), slice(20, 24, None))

    Args:
        cont: number of continuous units Z, 0 for none.
        disc: sizes of the categorical variables, each at least 2; empty for none.

    Raises:
        ArgumentError: a size is out of range, or there is no latent variable at all.
    """

    cont: int = 0
    disc: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.disc, (list, tuple)):
            raise ArgumentError(f"discrete sizes must be a list such as [10, 4], got {self.disc!r}")
        if not is_integer(self.cont) or self.cont < 0:
            raise ArgumentError(
                f"the number of continuous units must be an integer >= 0, got {self.cont!r}"
            )
        if not all(is_integer(size) and size >= 2 for size in self.disc):
            raise ArgumentError(
                f"discrete sizes must be integers of at least 2, got {list(self.disc)!r}"
            )
        if self.cont == 0 and not self.disc:
            raise ArgumentError(
                "a latent specification needs continuous units or discrete variables,"
                " for example {'cont': 10, 'disc': [10]}, got neither"
            )
        object.__setattr__(self, "cont", int(self.cont))
        object.__setattr__(self, "disc", tuple(map(int, self.disc)))

    @classmethod
    def from_dict(cls, spec: Mapping[str, Any] | LatentSpec) -> LatentSpec:
        """Read the published form ``{'cont': int, 'disc': [int, ...]}``; a key may be absent."""
        if isinstance(spec, LatentSpec):
            return spec
        if not isinstance(spec, Mapping):
            raise ArgumentError(
                f"a latent spec is a dict such as {{'cont': 10, 'disc': [10]}}, got {spec!r}"
            )
        unknown = sorted(set(spec) - {"cont", "disc"}, key=str)
        if unknown:
            raise ArgumentError(
                f"a latent specification has the keys 'cont' and 'disc', got {unknown!r} as well"
            )
        return cls(spec.get("cont", 0), spec.get("disc", ()))

    def to_dict(self) -> dict[str, Any]:
        """Return the published form, without a key for what the model does not have."""
        sizes = {"cont": self.cont, "disc": list(self.disc)}
        return {name: size for name, size in sizes.items() if size}

    @property
    def num_categories(self) -> int:
        """sum K, the width of the categories in either row."""
        return sum(self.disc)

    @property
    def num_params(self) -> int:
        """P = 2 Z + sum K, the width of a parameter row."""
        return 2 * self.cont + self.num_categories

    @property
    def sample_dim(self) -> int:
        """L = Z + sum K, the width of a sample row."""
        return self.cont + self.num_categories

    @property
    def mean(self) -> slice:
        """The means in a parameter row."""
        return slice(0, self.cont)

    @property
    def logvar(self) -> slice:
        """The log variances in a parameter row."""
        return slice(self.cont, 2 * self.cont)

    @property
    def logits(self) -> tuple[slice, ...]:
        """The logits of each categorical variable in a parameter row."""
        return self._variables(offset=2 * self.cont)

    @property
    def categories(self) -> tuple[slice, ...]:
        """Each categorical variable in a sample row."""
        return self._variables(offset=self.cont)

    @property
    def variables(self) -> tuple[slice, ...]:
        """Each categorical variable among the categories alone, as in ``category_mean``."""
        return self._variables(offset=0)

    def split_means(self, means: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(Z + D + sum K,) -> KL of units (Z,), KL of variables (D,), category means (sum K,)."""
        ends = self.cont, self.cont + len(self.disc)
        return means[: ends[0]], means[ends[0] : ends[1]], means[ends[1] :]

    def _variables(self, offset: int) -> tuple[slice, ...]:
        return tuple(slice(*edge) for edge in pairwise(accumulate(self.disc, initial=offset)))


def largest_kl(sizes: Iterable[int]) -> float:
    """Return sum log K, the largest KL that categorical variables of these sizes can have, nats."""
    return sum(math.log(size) for size in sizes)
