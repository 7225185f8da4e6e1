"""Turns the words of a command line, as people type them, into those that tyro reads."""

import os
import re
from collections.abc import Sequence

from fastjvae.errors import ArgumentError
from fastjvae.training.settings.fields import flag
from fastjvae.training.settings.train import FORMER_NAMES

# Flags that take several numbers, and how they are written.
NUMBER_LISTS = {
    "--image-size": "height and width in pixels, such as 64 64",
    "--disc": "a number of categories for each discrete variable, such as 10 or 10 10",
    "--refits": "training steps, such as 350 525",
    "--to": "values in standard deviations, such as -1.5 0 1.5",
    "--range": "two values in standard deviations, such as -2 2",
    "--category": "numbers of categories, such as 0 3",
}

_FORMER_FLAGS = {
    spelling: flag(now)
    for before, now in FORMER_NAMES.items()
    for spelling in (flag(before), f"--{before}")
}

_HOME = re.compile(r"((?:[^=/]*=)?)(~[^/]*(?:/.*)?)", flags=re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[-+]?[0-9]+)?")


def as_tyro_reads(words: Sequence[str]) -> list[str]:
    """Words with the home folder for ~, flags by their present names, and lists of numbers apart.

    >>> as_tyro_reads(["train", "images", "--disc", "10,10", "--image-size=64x64", "--seed", "1"])
    ['train', 'images', '--disc', '10', '10', '--image-size', '64', '64', '--seed', '1']
    >>> as_tyro_reads(["--image-size", "64", "--discrete-capacity=shared"])
    ['--image-size', '64', '64', '--disc-measure=shared']

    Raises:
        ArgumentError: a word begins with ~ and this user has no home folder.
    """
    read: list[str] = []
    waiting = list(map(_with_home, words))[::-1]
    while waiting:
        word, equals, value = waiting.pop().partition("=")
        if not takes_numbers(word):
            read.append(_FORMER_FLAGS.get(word, word) + equals + value)
            continue
        values = [value] if equals else []
        while not equals and waiting and not waiting[-1].startswith("--"):
            values.append(waiting.pop())
        numbers = [number for each in values for number in _numbers(each)]
        if word == "--image-size" and len(numbers) == 1 and _NUMBER.fullmatch(numbers[0]):
            numbers *= 2
        read += [word, *numbers]
    return read


def takes_numbers(word: str) -> str | None:
    """How the numbers of a flag are written, for one that takes several; also for one phase."""
    phase, _, name = word.rpartition(".")
    return NUMBER_LISTS.get(f"--{name}" if phase.startswith("--") else word)


def _with_home(word: str) -> str:
    """~ and ~name at the beginning of a word, or of what is behind its =, as a shell has them.

    A shell leaves it as it stands in --out=~/runs.
    """
    match = _HOME.fullmatch(word)
    if match is None:
        return word
    before, path = match.groups()
    expanded = os.path.expanduser(path)  # noqa: PTH111  of a name that nobody has, unchanged
    if expanded == path and path.split("/", maxsplit=1)[0] == "~":
        raise ArgumentError(
            f"{word} cannot be found: this user has no home folder, so give the path without ~,"
            f" or set HOME"
        )
    return before + expanded


def _numbers(word: str) -> list[str]:
    """The numbers of a word such as 10,10 or [10] or 64x64; any other word as it is."""
    if re.search(r"^x|x$", word.strip("[]() ")):  # a number is missing
        return [word]
    parts = [part for part in re.split(r"[\[\](),x\s]+", word) if part]
    return parts if all(_NUMBER.fullmatch(part) for part in parts) else [word]
