"""The settings of a training from what is given in Python: a recipe, and settings by keyword."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from fastjvae.data.source import DataSource
from fastjvae.errors import ArgumentError, did_you_mean
from fastjvae.functional import Capacity
from fastjvae.training.settings.fields import setting_names
from fastjvae.training.settings.for_images import Images, for_images
from fastjvae.training.settings.objective import CapacityConfig
from fastjvae.training.settings.overrides import overridden
from fastjvae.training.settings.phases import PHASE_SETTINGS
from fastjvae.training.settings.recipes import recipe as recipe_of
from fastjvae.training.settings.train import TrainConfig

# Settings that say which images to load, and where they go: here they are there already.
_OF_FILES = frozenset(
    {"dataset", "data_root", "channels", "labels", "download", "grid", "skip_damaged"}
    | {"max_pixels", "phases", "out"}
)

_WHOLE = frozenset({"encoder_args", "decoder_args"})  # one setting, whatever is in it


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
        made_for = overridden(TrainConfig(dataset=dataset), _latents(settings))
        config = for_images(
            dataset, images, made_for.spec, settings.get("steps"), compared=compared
        )
    _check_names(config, settings)
    config = overridden(config, {n: v for n, v in settings.items() if v is not None})
    loading = _loading(source)
    if source and source.name != "arrays":  # bytes, which stand for whatever range is given
        del loading["value_range"]
    elif source and settings.get("value_range") and config.value_range != source.value_range:
        raise ArgumentError(
            f"value_range must be that of the images' DataSource, {source.value_range}, got"
            f" {config.value_range}"
        )
    return dataclasses.replace(config, dataset=dataset, **loading)


def _latents(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {n: settings[n] for n in ("cont", "disc") if settings.get(n) is not None}


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
            raise ArgumentError(f"there is no setting {name}{did_you_mean(name, sorted(known))}")
