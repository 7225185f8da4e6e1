"""Times of several things that take turns in one process."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.training.processes import Spread, spread, synchronize

Work = Callable[[], Any]


def in_turns(
    works: Mapping[str, Work], *, turns: int, block_s: float, most: int = 400
) -> dict[str, Spread]:
    """Seconds of each work: medians and quartiles over blocks, which alternate.

    Args:
        works: by name; called before, so that everything is compiled.
        turns: blocks of each, at least 2; every other turn goes backwards.
        block_s: length of a block.
        most: calls of a block.
    """
    number = {}
    for name, work in works.items():
        number[name] = max(2, min(most, round(block_s / _seconds(work, 3))))
    blocks: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(turns):
        for name in list(works)[:: -1 if turn % 2 else 1]:
            works[name]()  # fills what another has used meanwhile
            blocks[name].append(_seconds(works[name], number[name]))
    return {name: spread(seconds) for name, seconds in blocks.items()}


def _seconds(work: Work, calls: int) -> float:
    synchronize()
    begin = time.perf_counter()
    for _ in range(calls):
        work()
    synchronize()
    return (time.perf_counter() - begin) / calls
