"""Docstrings as the site takes them: doctests in fences, roles as plain code, an entry a name."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:attr|class|func|meth|mod):`~?([^`]+)`")
_DOCTEST = re.compile(r"^( *)>>> (?:.+\n?)+", re.MULTILINE)  # up to an empty line
# "    mean, logvar: (N, Z), which may ..." with the deeper lines below it
_JOINT_ENTRY = re.compile(r"^    (\w+(?:, \w+)+): (.*(?:\n {5,}.*)*)", re.MULTILINE)


def _fenced(doctest: re.Match[str]) -> str:
    indent = doctest[1]
    return f"{indent}```pycon\n{doctest[0].rstrip()}\n{indent}```\n"


def _one_each(entry: re.Match[str]) -> str:
    return "\n".join(f"    {name}: {entry[2]}" for name in entry[1].split(", "))


class Markdown(griffe.Extension):
    """Rewrites every docstring as it is found."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            text = _ROLE.sub(r"`\1`", obj.docstring.value)
            text = _JOINT_ENTRY.sub(_one_each, text)
            obj.docstring.value = _DOCTEST.sub(_fenced, text)
