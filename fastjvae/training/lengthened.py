"""A run that goes on to another number of steps than it began with."""

from collections.abc import Callable

from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.difference import difference
from fastjvae.training.settings.train import TrainConfig


def in_folder(
    run: RunFolder, config: TrainConfig, made_for: Callable[[int | None], TrainConfig]
) -> tuple[TrainConfig, bool]:
    """The settings of a run with which it goes on in its folder, and whether its length changes.

    Phases and schedules are shares of the steps that a run begins with. Where it goes on to
    others, they stay as they were, and the last phase takes what is left.

    Args:
        run: the folder, in which there may be this run, another one, or none.
        config: the settings of a run that would begin.
        made_for: makes them for another number of steps.

    Raises:
        RunError: the folder holds a run that differs in more than its steps.
        ArgumentError: the last phase of the run that is there would have no step.
    """
    if config.steps is None or not run.is_run():
        return config, False
    before = run.read_config()
    begun = run.entry("begun").get("steps", before.steps)
    same = config if begun == config.steps else made_for(begun)
    if found := difference(same, before, ignored={"steps"}):
        raise run.other_run(found)
    goes_on = same.ending_at(config.steps)
    return goes_on, goes_on.steps != before.steps
