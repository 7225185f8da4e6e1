"""The page about names that moved: every new place can be imported."""

from __future__ import annotations

import re
from importlib import import_module

import pytest
from conftest import ROOT

PAGE = (ROOT / "docs" / "moved.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(fastjvae[\w.]*)` \| `(fastjvae[\w.]*)` \| (.*) \|$", PAGE, re.MULTILINE)


def test_every_new_place_has_its_names() -> None:
    pytest.importorskip("triton", reason="needs triton")
    assert len(ROWS) > 50
    absent = []
    for _, place, names in ROWS:
        for name in names.split(", "):
            new = name.split(" -> ")[-1].strip("`")
            if not hasattr(import_module(place), new):
                absent.append(f"{place}.{new}")
    assert absent == []
