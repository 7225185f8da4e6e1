"""An evaluation read again from its JSON form."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, TypeVar

from fastjvae.metrics.evaluation import Evaluation
from fastjvae.metrics.variables import Labelled, Variable

_Made = TypeVar("_Made")
# Numbers that an evaluation always has; null is what was not finite.
_NUMBERS = ("reconstruction", "kl", "information", "imbalance", "kl_cont", "shares")


def evaluation_from_dict(values: Mapping[str, Any]) -> Evaluation:
    """The evaluation that :meth:`Evaluation.to_dict` gave these values of.

    Entries that this version does not know are left out.

    Raises:
        ValueError: they are of none.
    """
    try:
        variables = [_made(Variable, each) for each in values["variables"]]
        seen = values.get("labelled")
        labelled = None if seen is None else _made(Labelled, seen)
        return _made(Evaluation, {**values, "variables": variables, "labelled": labelled})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"it is no evaluation ({error})") from error


def _made(kind: type[_Made], values: Mapping[str, Any]) -> _Made:
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    known = {name: value for name, value in values.items() if name in names}
    return kind(**known | {name: _numbers(known[name]) for name in _NUMBERS if name in known})


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    return math.nan if value is None else float(value)
