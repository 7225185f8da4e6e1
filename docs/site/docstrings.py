"""Docstrings as Markdown: doctests in fences, roles such as ``:class:`Fit``` as plain code."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:attr|class|func|meth|mod):`~?([^`]+)`")
_DOCTEST = re.compile(r"^( *)>>> (?:.+\n?)+", re.MULTILINE)  # up to an empty line


def _fenced(doctest: re.Match[str]) -> str:
    indent = doctest[1]
    return f"{indent}```pycon\n{doctest[0].rstrip()}\n{indent}```\n"


class Markdown(griffe.Extension):
    """Rewrites every docstring as it is found."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            text = _ROLE.sub(r"`\1`", obj.docstring.value)
            obj.docstring.value = _DOCTEST.sub(_fenced, text)
