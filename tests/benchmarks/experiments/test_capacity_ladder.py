"""A ladder of capacities is run once and becomes a section of the page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.experiments import capacity_ladder, tables
from benchmarks.experiments import page as results_page

_RUNG = {
    "trial": 0, "nats": 2.5, "udr": [0.5, 0.6], "kl_cont": 2.4, "reconstruction": 90.0,
    "used_units": 1.5, "factor_vae": None,
}  # fmt: skip


def test_a_ladder_becomes_a_result_and_a_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("optuna", reason="needs the tune extra")
    monkeypatch.setenv("FASTJVAE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(capacity_ladder, "RESULTS", tmp_path)
    grid = ["shape=0..2", "scale=5", "orientation=0", "x=0..31/8", "y=0..31/8"]
    words = ["tune", "sprites", "--image-size", "16", "--grid", *grid]
    words += ["--seeds", "0,1", "--steps", "3"]
    monkeypatch.setitem(capacity_ladder.COMMANDS, "sprites", words)
    assert capacity_ladder.main(["sprites"]) == 0
    result = json.loads((tmp_path / "ladder-sprites.json").read_text())
    assert (result["steps"], result["trainings"], result["paper"]) == (3, 12, 40.0)
    assert [rung["nats"] for rung in result["rungs"]] == [2.5, 5.0, 10.0, 20.0, 40.0, 80.0]
    assert result["chosen"] in [rung["nats"] for rung in result["rungs"]]
    for rung in result["rungs"]:
        assert len(rung["udr"]) == 2
        assert 0 <= rung["factor_vae"] <= 1
    page = results_page.markdown(tmp_path / "experiments")
    assert "## How large C_z may be" in page
    assert "12 trainings of 3 steps, 2 seeds for each value" in page
    assert "the paper's value for dSprites is 40" in page
    assert "| Kim & Mnih |" in page


def test_the_table_marks_what_is_chosen():
    second = {**_RUNG, "nats": 5.0, "udr": [0.7, 0.9]}
    *_, first, chosen, _ = tables.ladder_table({"chosen": 5.0, "rungs": [_RUNG, second]})
    assert [cell.strip() for cell in first.split("|")[1:-1]] == [
        "2.5", "0.550 ± 0.071", "2.4", "1.5", "90.0",
    ]  # fmt: skip
    assert chosen.startswith("| 5, chosen |")


def test_an_unknown_data_set_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        capacity_ladder.main(["mnits"])
    assert "no ladder of 'mnits': there are digits, sprites" in capsys.readouterr().err
