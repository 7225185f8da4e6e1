"""Reads the settings of any run as config.json and checkpoints have them."""

from typing import Any

from fastjvae._numbers import shown
from fastjvae.errors import ArgumentError
from fastjvae.training.infogan.settings import InfoGANConfig
from fastjvae.training.settings.fields import (
    from_mapping,
    only_heeded,
    unknown_fields,
    without_fields,
)
from fastjvae.training.settings.run import RunConfig
from fastjvae.training.settings.train import TrainConfig, with_current_names


def config_from_dict(values: object) -> RunConfig:
    """Read the settings of any run, without those that this version does not know.

    Raises:
        ArgumentError: as :meth:`TrainConfig.from_dict`, or the settings are of no kind of run.
    """
    kind, settings = _kind_of_run(values)
    known = without_fields(settings, unknown_fields(kind, settings))
    return from_mapping(kind, only_heeded(kind, known))


def unknown_settings(values: object) -> dict[str, Any]:
    """The settings that :func:`config_from_dict` leaves out, nested as they are there."""
    return unknown_fields(*_kind_of_run(values))


def _kind_of_run(values: object) -> tuple[type[RunConfig], dict[str, Any]]:
    if not isinstance(values, dict):
        raise ArgumentError(f"the settings of a run are a JSON object, got {shown(values)}")
    method = values.get("method")
    if method not in (None, "infogan"):
        raise ArgumentError(
            f"the method of a run must be infogan or not named, got {shown(method)}"
        )
    settings = {name: value for name, value in values.items() if name != "method"}
    return (InfoGANConfig, settings) if method else (TrainConfig, with_current_names(settings))
