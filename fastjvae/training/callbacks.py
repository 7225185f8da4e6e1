"""Callbacks of a training: told of its records and checkpoints, and asked whether to stop."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastjvae.errors import ArgumentError

_METHODS = ("on_log", "on_checkpoint", "should_stop")


class Callback:
    """What a training calls; each method does nothing unless a subclass says otherwise.

    Any object with some of these methods will do. Where several processes train, rank 0 calls, and
    all stop when it is asked to.
    """

    def on_log(self, record: dict[str, Any]) -> None:
        """Told of each record of ``metrics.jsonl``: losses, KL in nats, speed by name."""

    def on_checkpoint(self, path: Path) -> None:
        """Told that a checkpoint was written into this run folder."""

    def should_stop(self, record: dict[str, Any]) -> bool:
        """Asked at each record whether training ends here, as by Ctrl-C."""
        return False


class Callbacks:
    """Calls each of some callbacks, in their order, as far as it has the method.

    Raises:
        ArgumentError: one of them has none of the methods, or they are no list.
    """

    def __init__(self, callbacks: Sequence[Any] = ()) -> None:
        if not isinstance(callbacks, Sequence):
            raise ArgumentError(
                f"callbacks must be a list of them, such as [callback], got a value of"
                f" type {type(callbacks).__name__}"
            )
        for each in callbacks:
            if isinstance(each, type):
                raise ArgumentError(
                    f"a callback is an instance, {each.__name__}(...), got the class"
                    f" {each.__name__} itself"
                )
            if not any(callable(getattr(each, name, None)) for name in _METHODS):
                raise ArgumentError(
                    f"a callback needs {', '.join(_METHODS[:-1])} or {_METHODS[-1]}, got a value"
                    f" of type {type(each).__name__} without any of them"
                )
        self._callbacks = tuple(callbacks)

    def on_log(self, record: dict[str, Any]) -> None:
        for on_log in self._methods("on_log"):
            on_log(record)

    def on_checkpoint(self, path: Path) -> None:
        for on_checkpoint in self._methods("on_checkpoint"):
            on_checkpoint(path)

    def should_stop(self, record: dict[str, Any]) -> bool:
        """Whether any of them says so; each is asked."""
        answers = [should_stop(record) for should_stop in self._methods("should_stop")]
        return any(answers)

    def _methods(self, name: str) -> list[Any]:
        return [getattr(each, name) for each in self._callbacks if hasattr(each, name)]
