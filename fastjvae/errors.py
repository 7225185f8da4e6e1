"""Errors: each message is one sentence that repeats what was passed and says what is right."""

import difflib
from collections.abc import Collection

# What settings are called elsewhere, by words that are not alike.
_OTHER_NAMES = {"learning_rate": "lr", "max": "hi", "maximum": "hi", "min": "lo", "minimum": "lo"}
_ALIKE = 0.65  # of difflib: hi for high, and no networks for num_workers
_FEW = 6  # words that a sentence names all of


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

    Of a word with a dot, the part behind it counts.

    >>> did_you_mean("tarversal", ["traversal", "grid"])
    ' (did you mean traversal?)'
    >>> did_you_mean("capacity.max", ["capacity.lo", "capacity.hi"])
    ' (did you mean capacity.hi?)'
    >>> did_you_mean("capacity.colour", ["capacity.lo", "capacity.hi"])
    ' (capacity has lo and hi)'
    """
    dashes = word[: len(word) - len(word.lstrip("-"))]
    head, dot, last = word.removeprefix(dashes).rpartition(".")
    within = f"{dashes}{head}{dot}"
    beside = [e.removeprefix(within) for e in known if e.startswith(within) and e != word]
    if not beside:
        within, last, beside = "", word, [each for each in known if each != word]
    other_name = _OTHER_NAMES.get(last.replace("-", "_"))
    close = difflib.get_close_matches(last, beside, n=1, cutoff=_ALIKE)
    if meant := [other_name] if other_name in beside else close:
        return f" (did you mean {within}{meant[0]}?)"
    if dot and 1 < len(beside) <= _FEW:
        return f" ({head} has {', '.join(beside[:-1])} and {beside[-1]})"
    return ""
