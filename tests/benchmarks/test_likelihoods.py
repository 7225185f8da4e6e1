"""The likelihoods are compared on the tutorial's discs, and their page has these numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import ROOT

from benchmarks import likelihoods


def test_a_row_for_each_likelihood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    tutorial = tmp_path / "tutorial.md"
    tutorial.write_text(likelihoods.TUTORIAL.read_text().replace("COUNT = 3000", "COUNT = 60"))
    monkeypatch.setattr(likelihoods, "TUTORIAL", tutorial)
    file = tmp_path / "rows.json"
    likelihoods.main(["--json", str(file), "--steps", "2", "--seeds", "0"])
    rows = json.loads(file.read_text())["rows"]
    assert [row["likelihood"] for row in rows] == list(likelihoods.LIKELIHOODS)
    assert [row["scale"] is None for row in rows] == [True, False, False]
    assert rows[1]["scale"] == pytest.approx(0.5**0.5)
    assert all(0 < row["squared_error"] < 1 for row in rows)
    assert capsys.readouterr().out.count("squared error 0.") == 3


def test_the_page_has_the_measured_numbers():
    page = (ROOT / "docs" / "likelihoods.md").read_text(encoding="utf-8")
    found = json.loads((ROOT / "benchmarks" / "results" / "likelihoods.json").read_text())
    assert found["about"]["processor"] in page
    for row in likelihoods.table_rows(found["rows"]):
        assert row in page
