"""Fields of settings, checked against their types and the marks that stand beside them.

A field says what it takes by its annotation::

    lr: Annotated[float, Bounds(above=0)] = 5e-4

so that a value is checked in one way, whether it comes from a flag, from JSON or from Python.
"""

import dataclasses
import math
import os
import types
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from fastjvae._numbers import is_finite, shown
from fastjvae.errors import ArgumentError
from fastjvae.files import json_object

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Bounds:
    """The numbers that a field takes, itself or in its list; both ends are allowed."""

    least: float | None = None
    most: float | None = None
    above: float | None = None  # this end is not allowed

    def broken_by(self, number: float) -> str | None:
        """The bound that a number breaks, in words; None where it breaks none."""
        if self.least is not None and number < self.least:
            return f"at least {self.least}"
        if self.above is not None and number <= self.above:
            return f"above {self.above}"
        if self.most is not None and number > self.most:
            return f"at most {self.most}"
        return None

    def finite(self, number: float) -> str | None:
        """The bound that a number breaks, in words, where it has to be finite as well."""
        right = self.broken_by(number)
        if right is None or right.startswith("above"):
            return right and f"a finite number {right}"
        return f"a finite number of {right}"


@dataclass(frozen=True)
class HeededWith:
    """A setting counts only where another one has one of these values."""

    setting: str
    values: tuple[str, ...]
    others_set_it: bool = False  # recipes set it for every run, so only a flag is a mistake


def flag(name: str) -> str:
    """A setting as the command line has it.

    >>> flag("cont_capacity.hi")
    '--cont-capacity.hi'
    """
    return f"--{name.replace('_', '-')}"


def check_fields(settings: Any, within: str = "") -> None:
    """Check every field of a dataclass, and give it the form of its type.

    Values of JSON or NumPy take Python's own form: a list becomes a tuple, a dict the dataclass of
    its field, a whole float an integer.

    Args:
        settings: the instance, frozen or not.
        within: the name of the setting that has these as its fields.

    Raises:
        ArgumentError: a value has another type, or is out of its bounds.
    """
    for name, hint in _hints(type(settings)).items():
        place = f"{within}.{name}" if within else name
        object.__setattr__(settings, name, _checked(getattr(settings, name), hint, place))


def from_mapping(kind: type[Settings], values: object, within: str = "") -> Settings:
    """Make a dataclass from JSON's form of it; a missing entry has its default.

    Raises:
        ArgumentError: it is no object, a setting is unknown, missing without a default, or of
            another type or value than it can be.
    """
    what = f"the setting {within}" if within else "settings"
    if not isinstance(values, Mapping):
        raise ArgumentError(f"{what} must be a JSON object, got {shown(values)}")
    if unknown := sorted(map(str, values.keys() - _hints(kind).keys())):
        raise ArgumentError(f"{what} has no {shown(unknown[0])}")
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        needed = field.default is field.default_factory is dataclasses.MISSING
        if needed and field.name not in values:
            raise ArgumentError(f"{what} lacks {field.name}")
    made = kind(**values)
    check_fields(made, within)
    return made


def unknown_fields(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of JSON's form of a dataclass that it has no field for, nested as they are."""
    hints, unknown = _hints(kind), {}
    for name, value in values.items():
        if name not in hints:
            unknown[name] = value
            continue
        inner = _inner_settings(hints[name])
        if inner and isinstance(value, Mapping) and (beyond := unknown_fields(inner, value)):
            unknown[name] = beyond
    return unknown


def without_fields(values: Mapping[str, Any], unknown: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are not among the unknown ones, at every depth."""
    kept = {}
    for name, value in values.items():
        if name not in unknown:
            kept[name] = value
        elif isinstance(value, dict) and isinstance(unknown[name], dict) and value != unknown[name]:
            kept[name] = without_fields(value, unknown[name])
    return kept


def check_heeded(settings: Any, given: Collection[str] | None = None) -> None:
    """Refuse a setting that the run would not heed.

    Args:
        settings: a dataclass whose fields have :class:`HeededWith` beside them.
        given: the names of the settings that somebody gave. Where they are not known (None), every
            setting counts that differs from its default, unless recipes set it.

    Raises:
        ArgumentError: names the setting, and the one that it needs.
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        for mark in _marks(type(settings), field.name):
            if getattr(settings, mark.setting) in mark.values:
                continue
            off = value in (0, ()) and value == _default(field)
            if given is None:
                is_mistake = not mark.others_set_it and value != _default(field)
            else:
                is_mistake = field.name in given and not off
            if is_mistake:
                raise ArgumentError(
                    f"{flag(field.name)} is for {flag(mark.setting)} {' or '.join(mark.values)},"
                    f" this run has {flag(mark.setting)} {getattr(settings, mark.setting)}"
                )


def heeds(kind: type, values: Mapping[str, Any], name: str) -> bool:
    """Whether settings, all of which ``values`` has, heed the one of that name."""
    return all(values[mark.setting] in mark.values for mark in _marks(kind, name))


def only_heeded(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's form of settings, without the ones that :func:`check_heeded` refuses by default."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    heeded = dict(values)
    for name in values.keys() & fields.keys():
        for mark in _marks(kind, name):
            with_value = values.get(mark.setting, _default(fields[mark.setting]))
            if not mark.others_set_it and with_value not in mark.values:
                heeded.pop(name, None)
    return heeded


def setting_names(settings: Any) -> list[str]:
    """Every setting by name, and the parts of one that has several, such as cont_capacity.hi."""
    names = []
    for each in dataclasses.fields(settings):
        value = getattr(settings, each.name)
        names.append(each.name)
        if dataclasses.is_dataclass(value):
            names += [f"{each.name}.{part}" for part in setting_names(value)]
    return names


def setting_types(kind: type) -> dict[str, Any]:
    """The annotations of all settings by name, and of their parts by names as cont_capacity.hi."""
    found: dict[str, Any] = {}
    for name, hint in _hints(kind).items():
        if inner := _inner_settings(hint):
            found |= {f"{name}.{part}": each for part, each in setting_types(inner).items()}
        else:
            found[name] = hint
    return found


def checked_setting(value: Any, hint: Any, name: str) -> Any:
    """A value in the form of a setting's type.

    Raises:
        ArgumentError: it has another type, or is out of its bounds.
    """
    return _checked(value, hint, name)


# --- types ----------------------------------------------------------------------------------------


def _hints(kind: Any) -> dict[str, Any]:
    """The annotation of each field."""
    return _resolved_hints(kind)  # through Any: mypy takes no dataclass for hashable


@cache
def _resolved_hints(kind: Any) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(kind)}
    hints = get_type_hints(kind, include_extras=True)
    return {name: hint for name, hint in hints.items() if name in names}


def _marks(kind: type, name: str) -> list[HeededWith]:
    hint = _hints(kind)[name]
    return [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, HeededWith)]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _inner_settings(hint: Any) -> type | None:
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return hint if dataclasses.is_dataclass(hint) else None  # type: ignore[return-value]


def _checked(value: Any, hint: Any, name: str, bounds: Bounds = Bounds()) -> Any:
    """The value in the form of its type; the bounds hold for the numbers in it."""
    if get_origin(hint) is Annotated:
        hint, *marks = get_args(hint)
        bounds = next((mark for mark in marks if isinstance(mark, Bounds)), bounds)
        return _checked(value, hint, name, bounds)
    if isinstance(value, np.generic):
        value = value.item()
    if hint is Any:
        return value
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        if value is None and len(kinds) < len(get_args(hint)):
            return None
        if len(kinds) > 1:
            return _number_or_word(value, kinds[0], get_args(kinds[1]), name, bounds)
        return _checked(value, kinds[0], name, bounds)
    if get_origin(hint) is tuple:
        return _checked_list(value, get_args(hint), name, bounds)
    if get_origin(hint) is dict:
        if not isinstance(value, Mapping):
            raise _refused(name, 'a JSON object such as {"width": 64}', value)
        return json_object(value, flag(name))
    if get_origin(hint) is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in get_args(hint)):
            raise _refused(name, f"one of {', '.join(map(str, get_args(hint)))}", value)
        return value
    if dataclasses.is_dataclass(hint):
        if isinstance(value, Mapping):
            return from_mapping(hint, value, name)  # type: ignore[arg-type]
        if type(value) is not hint:
            raise _refused(name, f"a {getattr(hint, '__name__', hint)}", value)
        check_fields(value, name)
        return value
    return _FORMS[hint](value, name, bounds)


def _number_or_word(
    value: Any, number: Any, words: tuple[str, ...], name: str, bounds: Bounds
) -> Any:
    if isinstance(value, str) and value in words:
        return value
    right = f"{' or '.join(words)} or {bounds.finite(-math.inf) or 'a finite number'}"
    if not is_finite(value) or bounds.finite(value):
        raise _refused(name, right, value)
    return _checked(value, number, name, bounds)


def _checked_list(value: Any, kinds: tuple[Any, ...], name: str, bounds: Bounds) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        example = [value] * (1 if kinds[-1] is Ellipsis else len(kinds))
        such = f" such as {example}" if isinstance(value, int | float) else ""
        raise _refused(name, f"a list{such}", value)
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(value) != len(kinds):
        raise _refused(name, f"a list of {len(kinds)}", value)
    return tuple(_checked(v, kind, name, bounds) for v, kind in zip(value, kinds, strict=True))


def _text(value: Any, name: str, _: Bounds) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise _refused(name, "text", value)
    if not value:
        raise _refused(name, "text that is not empty", value)
    return value


def _truth(value: Any, name: str, _: Bounds) -> bool:
    if not isinstance(value, bool):
        raise _refused(name, "true or false", value)
    return value


def _whole(value: Any, name: str, bounds: Bounds) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise _refused(name, "a whole number", value)
    if right := bounds.broken_by(value):
        raise _refused(name, right, value)
    return value


def _number(value: Any, name: str, bounds: Bounds) -> float:
    if not is_finite(value):
        raise _refused(name, bounds.finite(-math.inf) or "a finite number", value)
    if right := bounds.finite(value):
        raise _refused(name, right, value)
    return value


def _refused(name: str, right: str, value: Any) -> ArgumentError:
    return ArgumentError(f"{flag(name)} must be {right}, got {shown(value)}")


_FORMS: Mapping[Any, Any] = {str: _text, bool: _truth, int: _whole, float: _number}
