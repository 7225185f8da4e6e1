"""The settings that a search tries, read from words such as ``lr=1e-4..2e-3:log``."""

import math
import types
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from fastjvae.errors import ArgumentError, did_you_mean
from fastjvae.files import to_json
from fastjvae.training.settings.fields import checked_setting, flag, heeds, setting_types
from fastjvae.training.settings.overrides import CHOOSE
from fastjvae.training.settings.phases import PHASE_SETTINGS
from fastjvae.training.settings.run import RUN_SETTINGS
from fastjvae.training.settings.train import TrainConfig

# What cannot make one model better than another, or is a folder or a seed.
_NOT_SEARCHED = (RUN_SETTINGS - {"steps", "epochs"}) | {
    "dataset", "image_size", "channels", "grid", "held_out", "seed", "out", "start_from", "compile",
    "phases", "encoder", "encoder_args", "decoder", "decoder_args", "value_range",
}  # fmt: skip
_DIGITS = 4  # of a number that is tried: as many as one would type


@dataclass(frozen=True)
class Searched:
    """A setting that is searched: a range of numbers, or some values.

    ``values`` are by the words that name them; of a range there are none.
    """

    name: str  # as settings have it, such as types.cont_capacity.hi
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False
    values: Mapping[str, Any] | None = None

    def suggest(self, trial: Any) -> Any:
        """The value that a trial of Optuna's tries."""
        if self.values is not None:
            return self.values[trial.suggest_categorical(self.name, list(self.values))]
        if self.whole:
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=self.log)
        value = trial.suggest_float(self.name, self.low, self.high, log=self.log)
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)

    def __str__(self) -> str:
        if self.values is not None:
            return f"{self.name}={','.join(self.values)}"
        return f"{self.name}={self.low:g}..{self.high:g}{':log' if self.log else ''}"


def parse_search(words: Sequence[str], phases: Collection[str] = ()) -> tuple[Searched, ...]:
    """Read what is searched; settings that choose which others count come first.

    >>> [str(each) for each in parse_search(["lr=1e-4..2e-3:log", "--batch-size=32,64"])]
    ['lr=0.0001..0.002:log', 'batch_size=32,64']

    Args:
        words: NAME=A..B, NAME=A..B:log or NAME=A,B,C; names as flags or settings have them.
        phases: names of the phases, whose settings are as types.lr.

    Raises:
        ArgumentError: a word has another form, a name is unknown, a value is none of the setting.
    """
    found = [_parse(word, phases) for word in words]
    names = [each.name for each in found]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ArgumentError(f"--search must name each setting once, got {twice} twice")
    return tuple(sorted(found, key=lambda each: each.name.rpartition(".")[2] not in CHOOSE))


def suggested(searched: Sequence[Searched], trial: Any, config: TrainConfig) -> dict[str, Any]:
    """The settings that a trial tries, without those that do not count beside the others."""
    settings: dict[str, Any] = {}
    for each in searched:
        top = each.name.partition(".")[0]
        values = {**vars(config), **settings}
        if config.phases or top not in PHASE_SETTINGS or heeds(TrainConfig, values, top):
            settings[each.name] = each.suggest(trial)
    return settings


def _parse(word: str, phases: Collection[str]) -> Searched:
    given, equals, space = word.partition("=")
    name = given.strip().lstrip("-").replace("-", "_")
    if not equals or not name or not space:
        raise ArgumentError(
            f"--search takes NAME=A..B, NAME=A..B:log or NAME=A,B,C, such as"
            f" cont_capacity.hi=5..50:log, got {word!r}"
        )
    hint = _type_of(name, phases)
    bounds, colon, scale = space.partition(":")
    if ".." in bounds:
        if colon and scale != "log":
            raise ArgumentError(
                f"--search {name}: behind a range there may be :log, got :{scale} in {word!r}"
            )
        return _range(name, hint, bounds, scale == "log", word)
    if colon:
        raise ArgumentError(f"--search {name}: :{scale} is for a range A..B, got {word!r}")
    texts = [text.strip() for text in bounds.split(",")]
    if len(set(texts)) < len(texts):
        raise ArgumentError(f"--search {name}: each value must be named once, got {word!r}")
    return Searched(name, values={text: _value(text, hint, name) for text in texts})


def _range(name: str, hint: Any, bounds: str, log: bool, word: str) -> Searched:
    kind = _kind(hint)
    if kind not in (int, float):
        raise ArgumentError(
            f"--search {name}: a range is for numbers, give values as {name}=A,B, got {word!r}"
        )
    low, high = (_value(text.strip(), hint, name) for text in bounds.split("..", maxsplit=1))
    if not low < high:
        raise ArgumentError(
            f"--search {name}: a range goes from a smaller number to a larger one, got {word!r}"
        )
    if log and low <= 0:
        raise ArgumentError(f"--search {name}: a range with :log begins above 0, got {word!r}")
    return Searched(name, low, high, log, kind is int)


def _type_of(name: str, phases: Collection[str]) -> Any:
    """The annotation of a setting."""
    known = {
        each: hint
        for each, hint in setting_types(TrainConfig).items()
        if each.partition(".")[0] not in _NOT_SEARCHED
    }
    of_phases = {each: hint for each, hint in known.items() if each.split(".")[0] in PHASE_SETTINGS}
    for phase in phases:
        known |= {f"{phase}.{each}": hint for each, hint in of_phases.items()}
    if name in known:
        return known[name]
    parts = [flag(each)[2:] for each in known if each.startswith(f"{name}.")]
    if parts:
        raise ArgumentError(f"--search {name} has parts: name one of {', '.join(parts)}")
    if name.partition(".")[0] in _NOT_SEARCHED:
        raise ArgumentError(
            f"--search: {flag(name)} cannot be searched, it is the same in all runs"
        )
    hint = did_you_mean(name, known)
    raise ArgumentError(f"--search: there is no setting {name!r}{hint}; see train --help")


def _kind(hint: Any) -> Any:
    """The type behind marks and None, such as float, tuple or Literal."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _kind(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return _kind(next(each for each in get_args(hint) if each is not type(None)))
    return origin or hint


def _value(text: str, hint: Any, name: str) -> Any:
    """The value of a word; several numbers are written as 10x10."""
    kind = _kind(hint)
    value: Any = text
    try:
        if text in _choices(hint):  # a word where there may be a number, too
            pass
        elif kind is tuple:
            value = [int(part) for part in text.split("x")]
        elif kind is float:
            value = float(text)
            if not math.isfinite(value):
                raise ValueError
        elif kind is int:
            value = int(text)
    except ValueError:
        what = {
            tuple: "whole numbers such as 10 or 10x10",
            float: "a number",
            int: "a whole number",
        }
        raise ArgumentError(f"--search {name} takes {what[kind]}, got {text!r}") from None
    if kind is bool and text.lower() in ("true", "false"):
        value = text.lower() == "true"
    if kind is Literal and value not in (choices := _choices(hint)):
        raise ArgumentError(f"--search {name} takes {', '.join(choices)}, got {text!r}")
    return checked_setting(value, hint, name)


def _choices(hint: Any) -> tuple[str, ...]:
    if get_origin(hint) is Literal:
        return get_args(hint)
    return next((found for each in get_args(hint) if (found := _choices(each))), ())


def words_of(settings: Mapping[str, Any]) -> list[str]:
    """Settings as the words of a command line.

    >>> words_of({"cont_capacity.hi": 5.0, "disc": (10, 2), "merge": True, "figures": False})
    ['--cont-capacity.hi', '5', '--disc', '10', '2', '--merge', '--no-figures']
    >>> words_of({"encoder": "nets:Net", "encoder_args": {"width": 8}})
    ['--encoder', 'nets:Net', '--encoder-args', '{"width": 8}']
    """
    words: list[str] = []
    for name, value in settings.items():
        if isinstance(value, bool):
            words.append(flag(name) if value else flag(f"no_{name}"))
        elif isinstance(value, tuple):
            words += [flag(name), *map(str, value)]
        elif isinstance(value, dict):
            words += [flag(name), to_json(value)]
        else:
            words += [flag(name), f"{value:g}" if isinstance(value, float) else str(value)]
    return words
