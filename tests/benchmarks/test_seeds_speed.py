"""Processes at once are measured beside one after the other."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks import seeds_speed
from benchmarks.training.processes import Spread


def test_a_row_for_each_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    tiny = {"rounds": 2, "steps": 1, "images": 8, "batch_size": 2}
    monkeypatch.setattr(seeds_speed, "measure", partial(seeds_speed.measure, **tiny))
    monkeypatch.setattr(seeds_speed, "SIZES", ("32x32x1",))
    monkeypatch.setattr("torch.get_num_threads", lambda: 3)
    seeds_speed.main(["--json", str(tmp_path / "rows.json")])
    (row,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert (row["size"], row["processes"], row["threads_each"]) == ("32x32x1", 2, 1)
    low, high = row["in_turn_over_at_once"]["iqr"]
    assert 0 < low <= row["in_turn_over_at_once"]["median"] <= high
    assert "32x32x1: 2 processes of 1 threads do" in capsys.readouterr().out


def test_powers_of_two_up_to_the_threads(monkeypatch: pytest.MonkeyPatch):
    def measured(*_: Any, processes: int, threads: int, **__: Any) -> Spread:
        return Spread(float(processes), float(threads), 0.0)

    monkeypatch.setattr(seeds_speed, "seeds_at_once", measured)
    rows = seeds_speed.measure(8)
    assert [(row["processes"], row["threads_each"]) for row in rows[:3]] == [(2, 4), (4, 2), (8, 1)]
    assert rows[1]["in_turn_over_at_once"] == {"median": 4.0, "iqr": [8.0, 0.0]}
    assert seeds_speed.measure(1) == []
