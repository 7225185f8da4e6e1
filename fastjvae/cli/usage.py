"""Turns tyro's message about wrong usage into one sentence, with the right form or likely word."""

import itertools
import re
from collections.abc import Collection, Sequence

from fastjvae.cli.spellings import takes_numbers
from fastjvae.errors import did_you_mean

_UNKNOWN = re.compile(r"Unrecognized (?:or misplaced )?options: ([^\s,=]+)")
_TRIED = re.compile(r" (--\S+):")  # tyro names every type that it has tried
_NO_TYPE = re.compile(r"Error parsing (\S+): no type matching (?:\{None\}\|)?(\S+) could be")


def usage_sentence(box: str, argv: Sequence[str], known: Collection[str]) -> str:
    """One sentence for tyro's error box.

    Args:
        box: what tyro printed.
        argv: the command line.
        known: words and flags that an unknown one may be a slip of.
    """
    sentence = _message(box)
    if match := _UNKNOWN.match(sentence):
        unknown = match[1]
        if unknown in known and "." in unknown:
            phase = unknown.lstrip("-").partition(".")[0]
            return f"{unknown} is for a recipe with the phase {phase}, this one has none"
        return sentence + did_you_mean(unknown, known)
    if (match := _TRIED.search(sentence)) and (form := takes_numbers(match[1])):
        return f"{match[1]} takes {form}, got {_values_of(match[1], argv)}"
    if match := _NO_TYPE.match(sentence):
        flag, kind = match.groups()
        kind = re.sub(r"[{}]", "", kind).replace("|", " or ")
        return f"{flag} takes {kind}, got {_values_of(flag, argv)}"
    return sentence


def _message(box: str) -> str:
    """The message in tyro's error box: the rows between its title and its next rule."""
    plain = re.sub(r"\[/?bold\]", "", box)
    rows = [row.strip("│╭╮╰╯ ") for row in plain.splitlines()]
    rows[0] = rows[0].strip("─ ")
    rules = [i for i, row in enumerate(rows) if row and set(row) <= {"─", "-"}]
    # Where the terminal has no line-drawing characters, the title has a rule of its own below it.
    first = rules.pop(0) + 1 if rules and rules[0] == 1 else 1
    message = rows[first : rules[0]] if rules else rows[first:]
    sentence = " ".join(" ".join(message).split()).rstrip(".") or rows[0]
    return sentence.removeprefix("Error parsing config: ")  # our own error says what is wrong


def _values_of(flag: str, argv: Sequence[str]) -> str:
    """The words behind a flag, as a sentence has them."""
    if flag not in argv:
        return "none"
    behind = itertools.takewhile(lambda w: not w.startswith("--"), argv[argv.index(flag) + 1 :])
    return " ".join(behind) or "none"
