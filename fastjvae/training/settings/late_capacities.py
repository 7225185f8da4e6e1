"""Capacities that a run does not let grow to their ends."""

import math

from fastjvae.functional.latents import largest_kl
from fastjvae.training.settings.fields import flag
from fastjvae.training.settings.objective import CapacityConfig, ObjectiveConfig
from fastjvae.training.settings.run import ends_of
from fastjvae.training.settings.train import TrainConfig


def late_capacities(config: TrainConfig, steps: int) -> list[str]:
    """A sentence about each capacity that still grows at the last step of the run or of a phase.

    A capacity of discrete variables ends where it is as large as their information can be.

    Args:
        config: the run's settings.
        steps: training steps of the whole run.
    """
    phases = config.phase_configs
    found = []
    for (phase, first, settings), end in zip(phases, ends_of(phases, steps), strict=True):
        what = f"the phase {phase}" if phase else "this run"
        for name, most in _capacities(settings).items():
            capacity: CapacityConfig = getattr(settings, name)
            needed, had = _end(capacity, most), end - first
            if needed > had:
                share = max(0, had - capacity.start) / capacity.iters
                reached = capacity.lo + (capacity.hi - capacity.lo) * share
                own = flag(f"{phase}.{name}" if phase else name)
                found.append(
                    f"{own} ends at step {needed:,} and {what} at {had:,}: it will have reached"
                    f" {reached:.2f} of {min(capacity.hi, most):.2f} nats; {own}.iters sets"
                    f" another number of steps"
                )
    return found


def _capacities(config: ObjectiveConfig) -> dict[str, float]:
    """The capacities that an objective has, and the most nats that each can reach."""
    if config.objective == "cc-beta":
        return {"total_capacity": math.inf}
    if config.objective != "joint":
        return {}
    cont = {"cont_capacity": math.inf} if config.cont else {}
    disc = {"disc_capacity": largest_kl(config.disc)} if config.disc else {}
    return {**cont, **disc}


def _end(capacity: CapacityConfig, most: float) -> int:
    """The step at which a capacity stops to change; 0 where it does not change."""
    lo, hi = min(capacity.lo, most), min(capacity.hi, most)
    if lo == hi:
        return 0
    # Of a falling one, the part above the most there can be is no change.
    share = (hi - capacity.lo) / (capacity.hi - capacity.lo)
    return capacity.start + math.ceil(round(capacity.iters * share, 6))
