"""The settings of a training from what is given in Python: a recipe, and settings by keyword."""

import dataclasses
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fastjvae.data.source import DataSource
from fastjvae.errors import ArgumentError, FastJVAEError, did_you_mean
from fastjvae.functional import Capacity
from fastjvae.training.settings.fields import checked_setting, setting_names, setting_types
from fastjvae.training.settings.for_images import Images, for_images
from fastjvae.training.settings.objective import CapacityConfig
from fastjvae.training.settings.overrides import check_epochs, overridden
from fastjvae.training.settings.phases import PHASE_SETTINGS
from fastjvae.training.settings.recipes import recipe as recipe_of
from fastjvae.training.settings.train import TrainConfig

# Settings that say which images to load, and where they go: here they are there already.
_OF_FILES = frozenset(
    {"dataset", "data_root", "channels", "labels", "download", "grid", "skip_damaged"}
    | {"max_pixels", "phases", "out"}
)

# Settings that a DataLoader does not heed, and what to do in their place.
_NOT_OF_LOADERS = {
    "image_size": "resize them in its dataset",
    "batch_size": "give DataLoader the batch_size",
    "held_out": "give validation images",
    "neighbours": "leave it out",
}

_FLAG = re.compile(r"(?<![\w/-])--([a-z][a-z-]*(?:\.[a-z][a-z-]*)*)")
_ON_COMMAND_LINE = "on the command line"  # what is said behind it is in its words

_WHOLE = frozenset({"encoder_args", "decoder_args"})  # one setting, whatever is in it


@contextmanager
def in_python() -> Iterator[None]:
    """Errors name settings as Python's keywords: cont_capacity.hi, not --cont-capacity.hi."""
    try:
        yield
    except FastJVAEError as error:
        error.args = (as_keywords(str(error)), *error.args[1:])
        raise


def as_keywords(sentence: str) -> str:
    """A sentence about settings with their names in Python.

    >>> as_keywords("--cont-capacity.hi must be above 0, on the command line --cont-capacity.hi 5")
    'cont_capacity.hi must be above 0, on the command line --cont-capacity.hi 5'
    """
    said, *rest = sentence.partition(_ON_COMMAND_LINE)
    return "".join([_FLAG.sub(lambda found: found[1].replace("-", "_"), said), *rest])


def checked(name: str, value: Any) -> Any:
    """The value of a setting of :class:`TrainConfig` that is needed before all are there.

    Raises:
        ArgumentError: it has another type, or is out of its bounds.
    """
    return checked_setting(value, setting_types(TrainConfig)[name], name)


def check_heeded_of_loader(given: Mapping[str, Any]) -> None:
    """Refuse settings that count for images in an array alone."""
    for name, value in _flattened(given):
        setting = name.rpartition(".")[2]
        if value and setting in _NOT_OF_LOADERS:
            raise ArgumentError(
                f"{name} is for images in an array, and a DataLoader gives its images as they are:"
                f" {_NOT_OF_LOADERS[setting]}, or give an array"
            )


def settings_for(
    images: Images,
    source: DataSource | None,
    recipe: str | TrainConfig | None,
    given: Mapping[str, Any],
    *,
    compared: bool = True,
) -> TrainConfig:
    """The settings of a run on images that are there.

    Args:
        images: the training images.
        source: where they were loaded from; None of images of one's own.
        recipe: the name of a recipe of their data set, of arrays where there is none; or settings.
            None for settings that are made for the images.
        given: settings that replace those, by name; one of several parts, or those of a phase, may
            be a mapping, as in ``cont_capacity={"hi": 20}`` and ``types={"lr": 1e-4}``.
        compared: see :func:`fastjvae.training.settings.for_images.for_images`.

    Raises:
        ArgumentError: there is no such recipe or setting, or one is out of range.
    """
    dataset = source.name if source else "arrays"
    settings = dict(_flattened(given))
    if isinstance(recipe, TrainConfig):
        config = recipe
    elif recipe is not None:
        config = recipe_of(dataset, recipe)
    else:
        made_for = overridden(TrainConfig(dataset=dataset), _first(settings))
        config = for_images(dataset, images, made_for.spec, made_for.steps, compared=compared)
    _check_names(config, settings)
    check_epochs(config, [name for name, value in settings.items() if value is not None])
    config = overridden(config, {n: v for n, v in settings.items() if v is not None})
    loading = _loading(source)
    if source and source.name != "arrays":  # bytes, which stand for whatever range is given
        del loading["value_range"]
    for name in ("value_range", "held_out"):
        if settings.get(name) and name in loading and getattr(config, name) != loading[name]:
            raise ArgumentError(
                f"{name} must be that of the images' DataSource, {loading[name]}, got"
                f" {getattr(config, name)}"
            )
    return dataclasses.replace(config, dataset=dataset, **loading)


def _first(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings by which the others are made."""
    return {n: settings[n] for n in ("cont", "disc", "steps") if settings.get(n) is not None}


def _loading(source: DataSource | None) -> dict[str, Any]:
    """The settings by which a command loads the images again."""
    if source is None:
        return {}
    values = {f.name: getattr(source, f.name) for f in dataclasses.fields(source)}
    values["data_root"] = values.pop("root")
    values["grid"] = values["grid"] or ()
    del values["name"], values["split"]
    return values


def _flattened(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Settings of several parts, and those of phases, by the names that their flags have."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and name not in _WHOLE:
            yield from ((f"{name}.{part}", each) for part, each in _flattened(value))
        else:
            yield name, _capacity(value) if isinstance(value, Capacity) else value


def _capacity(capacity: Capacity) -> CapacityConfig:
    return CapacityConfig(*(getattr(capacity, f.name) for f in dataclasses.fields(CapacityConfig)))


def _check_names(config: TrainConfig, settings: Mapping[str, Any]) -> None:
    names = setting_names(config)
    of_phases = [name for name in names if name.partition(".")[0] in PHASE_SETTINGS]
    known = {*names, *(f"{phase.name}.{name}" for phase in config.phases for name in of_phases)}
    for name in settings:
        if name in _OF_FILES:
            raise ArgumentError(
                f"{name} is a setting of the command line, which loads its images: give images as"
                f" arrays, or fastjvae.data.load(DataSource(...))"
            )
        if name not in known:
            hint = did_you_mean(name.lstrip("-").replace("-", "_"), sorted(known))
            raise ArgumentError(f"there is no setting {name}{hint}")
