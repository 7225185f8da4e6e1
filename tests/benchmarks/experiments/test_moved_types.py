"""Types of images that are moved are trained, and what they share is a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.experiments import moved_types, tables
from benchmarks.experiments import page as results_page
from benchmarks.experiments.moved_types import CASES, Case

TINY = Case("digits", 3, 5, turn=90.0, scale=0.2, steps=2)


def test_each_case_and_seed_is_trained_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(moved_types, "PATH", tmp_path / "moved-types.json")
    monkeypatch.setattr(moved_types, "CASES", (TINY,))
    moved_types.main([])
    (row,) = json.loads(moved_types.PATH.read_text())["rows"]
    assert row["name"] == "digits"
    assert 0 <= row["shared"] < 1.1
    assert 0.1 <= row["accuracy_one_to_one"] <= row["accuracy_majority"] <= 1
    assert "shared" in capsys.readouterr().out
    moved_types.main([])
    assert capsys.readouterr().out == ""
    page = results_page.markdown(tmp_path / "none")
    assert "## Types that moved images share" in page


def test_the_table_has_what_was_shared_of_how_much():
    row = {
        **TINY._asdict(), "seed": 1, "seconds": 61.2, "shared": 0.5, "overclustered": 1.25,
        "accuracy_majority": 0.75, "accuracy_one_to_one": 0.5,
    }  # fmt: skip
    *_, line, _ = tables.moved_table([row])
    cells = [cell.strip() for cell in line.split("|")[1:-1]]
    assert cells == [
        "digits", "90°", "20 %", "1", "2", "0.50 of 1.10", "1.25 of 1.61", "0.750", "0.500", "61",
    ]  # fmt: skip
    assert list(tables.moved_table([])) == []


def test_all_cases_differ():
    assert len(set(CASES)) == len(CASES)
