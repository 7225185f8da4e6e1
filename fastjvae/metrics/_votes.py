"""Items that share the value of one factor, drawn by index.

The metrics of Higgins et al. and of Kim & Mnih hold one factor fixed and draw items. The items are
sorted by each factor's value once; a draw is then an index into them, however many there are.
"""

import numpy as np

from fastjvae.errors import ArgumentError
from fastjvae.metrics._items import Integers

# Items drawn at a time: 1M, which as float64 take 8 MiB for each array of them.
_DRAWN_AT_ONCE = 2**20


class ItemsByValue:
    """The items that have each value of each factor.

    A value that a single item has is left out: among copies of one item nothing varies, whatever
    was learned. So is a factor that has no other values.

    Args:
        factors: (M, F) positions as of :class:`fastjvae.metrics._items.Items`.

    Raises:
        ArgumentError: no two items share a value of any factor.
    """

    def __init__(self, factors: Integers) -> None:
        counts = [np.bincount(column) for column in factors.T]
        starts = [np.cumsum(each) - each + f * len(factors) for f, each in enumerate(counts)]
        shared = [each >= 2 for each in counts]
        groups = np.array([each.sum() for each in shared])
        if not groups.any():
            raise ArgumentError(
                "two items or more must share a value of a factor that has others too,"
                f" got {len(factors)} items without such a pair"
            )
        self._items = np.concatenate([np.argsort(each, kind="stable") for each in factors.T])
        self._start = np.concatenate([s[keep] for s, keep in zip(starts, shared, strict=True)])
        self._count = np.concatenate([c[keep] for c, keep in zip(counts, shared, strict=True)])
        self._groups = groups[groups > 0]
        self._first_group = np.cumsum(self._groups) - self._groups

    @property
    def factors(self) -> int:
        """How many factors can be held fixed."""
        return len(self._groups)

    def draw_factors(self, generator: np.random.Generator, votes: int) -> Integers:
        """(votes,) the factor that each vote holds fixed, each as likely as another."""
        return generator.integers(self.factors, size=votes)

    def draw_groups(self, generator: np.random.Generator, fixed: Integers) -> Integers:
        """A value for each factor in ``fixed``, of any shape; each value as likely as another."""
        groups: Integers = self._first_group[fixed] + generator.integers(self._groups[fixed])
        return groups

    def draw_items(
        self, generator: np.random.Generator, groups: Integers, observations: int
    ) -> Integers:
        """(votes, observations) items, with replacement, for values (votes, 1 or observations)."""
        shape = (len(groups), observations)
        chosen = generator.integers(self._count[groups], size=shape)
        items: Integers = self._items[self._start[groups] + chosen]
        return items


def chunks(votes: int, observations: int) -> list[slice]:
    """The votes in parts that draw a bounded number of items each."""
    size = max(1, _DRAWN_AT_ONCE // observations)
    return [slice(start, min(start + size, votes)) for start in range(0, votes, size)]
