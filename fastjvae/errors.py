"""Errors: each message is one sentence that repeats what was passed and says what is right."""

import difflib
from collections.abc import Collection


class FastJVAEError(Exception):
    """Base of every error that fastjvae raises on purpose.

    ``exit_code`` is what the command line returns: 2 for wrong usage, 1 for a failure.
    """

    exit_code = 1


class ArgumentError(FastJVAEError, ValueError):
    """An argument, a flag or a specification that cannot be right."""

    exit_code = 2


class DataError(FastJVAEError, ValueError):
    """A data set that is missing, damaged or of the wrong form; names the file and the reason."""


class CheckpointError(FastJVAEError, RuntimeError):
    """A checkpoint or saved model that is truncated, foreign or of another model."""


class RunError(FastJVAEError, RuntimeError):
    """A run folder that cannot be used or written."""


class NonFiniteLossError(FastJVAEError, RuntimeError):
    """Training met a loss or parameter that is not finite."""


class OtherProcessError(FastJVAEError, RuntimeError):
    """The error of another process of the run, which says it itself."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class BackendError(FastJVAEError, RuntimeError):
    """A backend was asked for that cannot run here; says why."""


def first_sentence(error: Exception) -> str:
    """A library's words about an error, fit for a sentence: without lines and full stops."""
    text = str(getattr(error, "strerror", None) or error).strip() or type(error).__name__
    return text.splitlines()[0].strip().split(". ")[0].rstrip(".")


def did_you_mean(word: str, known: Collection[str]) -> str:
    """The end of a sentence about an unknown word, empty where none of the known ones is like it.

    >>> did_you_mean("tarversal", ["traversal", "grid"])
    ' (did you mean traversal?)'
    """
    close = difflib.get_close_matches(word, [each for each in known if each != word], n=1)
    return f" (did you mean {close[0]}?)" if close else ""
