"""JSON without NaN and Infinity, as the standard has it, and files of it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from fastjvae.errors import CheckpointError, FastJVAEError


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON of a value; a number that is not finite is null.

    >>> to_json({"reconstruction": float("nan"), "kl": [0.5, float("inf")]})
    '{"reconstruction": null, "kl": [0.5, null]}'
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def parse_json(text: str | bytes) -> Any:
    """The value of JSON, also of older files with NaN and Infinity.

    Raises:
        ValueError: it is no JSON, or nested too deeply for any file of ours.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_json(path: Path, error: type[FastJVAEError] = CheckpointError) -> Any:
    """Read a JSON file.

    Raises:
        FastJVAEError: the file is missing, cannot be read or is no JSON; of the class ``error``.
    """
    try:
        return parse_json(path.read_bytes())
    except FileNotFoundError:
        raise error(f"{path} is missing") from None
    except OSError as reason:
        raise error(f"{path} cannot be read: {reason.strerror or reason}") from reason
    except ValueError as reason:
        raise error(f"{path} is not readable JSON: {reason}") from reason


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return value
