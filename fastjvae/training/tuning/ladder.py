"""The capacity of the continuous units, found by a ladder of values with a few seeds each.

The paper chooses "the largest value where the representation is still disentangled" (section 3.4)
and leaves open how that is seen. Here it is the largest C_z whose score is within the seeds' spread
of the best; the score is UDR, which takes no label.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from fastjvae.errors import ArgumentError
from fastjvae.training.settings.overrides import overridden
from fastjvae.training.settings.train import TrainConfig
from fastjvae.training.tuning.search import Searched

LADDER = (2.5, 5.0, 10.0, 20.0, 40.0, 80.0)  # nats; the paper's are 5 to 50
MOST_STEPS = 5_000  # of a run
_GROWN = 0.8  # share of the steps in which the capacities grow; the rest is for what they hold then


def rungs(config: TrainConfig) -> Searched:
    """C_z over the ladder, in the last phase where there are some.

    Raises:
        ArgumentError: the run has no capacity of continuous units.
    """
    last = config.phase_configs[-1]
    if not config.cont:
        raise ArgumentError(
            "tune without --search chooses C_z, and --cont 0 leaves no units for it"
        )
    if last.config.objective != "joint":
        raise ArgumentError(
            f"tune without --search chooses C_z of --objective joint, this run has"
            f" {last.config.objective}: name what is searched, such as --search beta=1..16:log"
        )
    name = f"{last.name}.cont_capacity.hi" if last.name else "cont_capacity.hi"
    return Searched(name, values={f"{nats:g}": nats for nats in LADDER})


def shortened(config: TrainConfig, given: Sequence[str] = ()) -> dict[str, Any]:
    """Settings of a run of at most 5,000 steps whose capacities reach their ends in it.

    Args:
        config: of the run.
        given: names of settings that are left as they are.
    """
    steps = min(config.steps or MOST_STEPS, MOST_STEPS)
    last = overridden(config, {"steps": steps}).phase_configs[-1]
    settings: dict[str, Any] = {} if steps == config.steps else {"steps": steps}
    for name in ("cont_capacity", "disc_capacity"):
        capacity = getattr(last.config, name)
        share = _GROWN * last.config.steps / (capacity.start + capacity.iters)
        if share < 1:
            within = f"{last.name}.{name}" if last.name else name
            shorter = {"iters": max(1, int(round(capacity.iters * share, 6)))}
            if capacity.start:
                shorter["start"] = int(round(capacity.start * share, 6))
            settings |= {f"{within}.{part}": value for part, value in shorter.items()}
    return {name: value for name, value in settings.items() if name not in given}


def chosen_rung(scores: Mapping[float, Sequence[float]], lower_is_better: bool = False) -> float:
    """The largest value whose mean is within the seeds' spread of the best.

    The spread is the standard deviation of the seeds of one value (of a sample, ddof = 1), pooled
    over the values: that of three seeds alone may be next to nothing by chance.

    >>> chosen_rung({5.0: [0.5, 0.6], 10.0: [0.52, 0.6], 20.0: [0.5, 0.54], 40.0: [0.2, 0.3]})
    20.0

    Args:
        scores: those of the seeds, by value.
    """
    sign = -1 if lower_is_better else 1
    means = {value: sign * statistics.fmean(each) for value, each in scores.items()}
    best = max(means.values())
    variances = [statistics.variance(each) for each in scores.values() if len(each) > 1]
    spread = math.sqrt(statistics.fmean(variances)) if variances else 0.0
    return max(value for value, mean in means.items() if mean >= best - spread)


def paper_nats(recipes: Mapping[Any, TrainConfig]) -> float | None:
    """C_z of the paper's recipe, where a data set has one."""
    config = recipes.get("paper")
    return None if config is None else config.cont_capacity.hi
