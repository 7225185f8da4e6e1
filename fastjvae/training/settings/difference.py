"""In what two runs differ, as a message names it."""

from collections.abc import Collection

from fastjvae.training.settings.recipes import OWN_IMAGES, RECIPES
from fastjvae.training.settings.run import RUN_SETTINGS, RunConfig
from fastjvae.training.settings.train import TrainConfig


def difference(
    config: RunConfig, there: RunConfig, here: str = "here", ignored: Collection[str] = ()
) -> str | None:
    """What tells two runs apart first: the recipe, the objective, or else a setting; None: nothing.

    Args:
        config: of this run.
        there: of the other run.
        here: where this run's settings are.
        ignored: settings that may differ.
    """
    if (first := config.differing(there, ignored)) is None:
        return None
    ours, theirs = config.flat(), there.flat()
    if type(config) is type(there) and config.dataset == there.dataset:
        recipes = _recipe_of(config), _recipe_of(there)
        if None not in recipes and recipes[0] != recipes[1]:
            return f"recipe is {recipes[1]} there, {recipes[0]} {here}"
        if ours.get("objective") != theirs.get("objective"):
            first = "objective"
    mine, other = ours.get(first), theirs.get(first)
    while isinstance(mine, dict) and isinstance(other, dict):
        part = next(n for n in {**mine, **other} if mine.get(n) != other.get(n))
        first, mine, other = f"{first}.{part}", mine.get(part), other.get(part)
    return f"{first} is {other!r} there, {mine!r} {here}"


def _recipe_of(config: RunConfig) -> str | None:
    """The recipe from which the fewest settings are others; None of recipes made for the images."""
    if not isinstance(config, TrainConfig) or config.dataset in OWN_IMAGES:
        return None
    ours = config.flat()

    def others(name: str) -> int:
        theirs = RECIPES[config.dataset][name].flat()  # type: ignore[index]
        names = {*ours, *theirs} - RUN_SETTINGS
        return sum(ours.get(name) != theirs.get(name) for name in names)

    return min(RECIPES[config.dataset], key=others)
