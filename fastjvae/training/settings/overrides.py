"""Settings of a run that are replaced by name, in all of its phases or in one."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from fastjvae.errors import ArgumentError
from fastjvae.training.settings.fields import check_heeded, heeds
from fastjvae.training.settings.phases import PHASE_SETTINGS, Phase
from fastjvae.training.settings.train import TrainConfig

Settings = Mapping[str, Any]  # by name, of which cont_capacity.hi is a part of a setting

CHOOSE = ("objective", "disc_measure")  # which of the others count
_OF_GROUPS = ("group", "neighbours")


def overridden(config: TrainConfig, settings: Settings) -> TrainConfig:
    """Replace some settings of a run, by the names that their flags have.

    ``types.lr`` is that of the phase types, ``lr`` that of every phase that heeds it, and
    ``cont_capacity.hi`` a part of a setting. ``steps`` are those of the whole run: its phases keep
    their shares. ``group`` and ``neighbours`` are for the phases that take images in groups, where
    there are some.

    Raises:
        ArgumentError: a setting is out of range or does not go with the others, no phase heeds it,
            or the steps are those of the run and those of a phase.
    """
    names = [phase.name for phase in config.phases]
    own = {name: _within(settings, name) for name in names}
    bare = {name: value for name, value in settings.items() if _top(name) not in names}
    if not names:
        made = _replaced(config, bare)
        check_heeded(made, set(map(_top, bare)))
        return made
    if "steps" in bare and (phase := next((name for name in names if "steps" in own[name]), None)):
        raise ArgumentError(
            f"--steps is for the whole run and --{phase}.steps for one phase: give one of the two"
        )
    of_run = {n: v for n, v in bare.items() if n == "steps" or _top(n) not in PHASE_SETTINGS}
    of_phases = {name: value for name, value in bare.items() if name not in of_run}
    run = _replaced(config, of_run)
    phases = {phase.name: phase.config for phase in run.phase_configs if phase.name}
    heeded = {name: _heeded(phases, name, of_phases) for name in phases}
    for name, before in phases.items():
        try:
            phases[name] = _replaced(before, {**heeded[name], **own[name]})
            check_heeded(phases[name], set(map(_top, own[name])))
        except ArgumentError as error:
            raise ArgumentError(f"in the phase {name}: {error}") from None
    last = phases[list(phases)[-1]]
    check_heeded(last, {_top(name) for name in of_phases.keys() - set().union(*heeded.values())})
    whole = {name: getattr(last, name) for name in PHASE_SETTINGS}
    whole["steps"] = sum(phase.steps or 0 for phase in phases.values())
    parts = tuple(Phase.of(name, phase) for name, phase in phases.items())
    return dataclasses.replace(run, **whole, phases=parts)


def check_epochs(config: TrainConfig, given: Collection[str]) -> None:
    """Refuse epochs for settings that count their steps, which would replace them.

    Args:
        config: the settings before any is replaced.
        given: the names of those that somebody gave.
    """
    if "epochs" in given and config.steps is not None:
        what = "the phases of this recipe are" if config.phases else "this recipe is"
        raise ArgumentError(f"{what} counted in steps: give --steps instead of --epochs")


def _heeded(phases: Mapping[str, TrainConfig], name: str, settings: Settings) -> Settings:
    """Those of the settings that a phase heeds."""
    config = phases[name]
    values = {**vars(config), **{n: v for n, v in settings.items() if n in CHOOSE}}
    alone = config.group == 1 and any(phase.group > 1 for phase in phases.values())
    return {
        n: value
        for n, value in settings.items()
        if heeds(TrainConfig, values, _top(n)) and not (alone and n in _OF_GROUPS)
    }


def _replaced(config: TrainConfig, settings: Settings) -> TrainConfig:
    values: dict[str, Any] = {}
    for name, value in settings.items():
        top, _, part = name.partition(".")
        if part:
            value = dataclasses.replace(values.get(top, getattr(config, top)), **{part: value})
        values[top] = value
    return dataclasses.replace(config, **values)


def _within(settings: Settings, phase: str) -> dict[str, Any]:
    """The settings of one phase, by their names in it."""
    head = f"{phase}."
    return {n.removeprefix(head): v for n, v in settings.items() if n.startswith(head)}


def _top(name: str) -> str:
    return name.partition(".")[0]
