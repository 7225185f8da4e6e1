"""Processes at once are measured beside one after the other."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from benchmarks import seeds_speed


def test_a_row_for_each_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    tiny = {"threads": 1, "rounds": 2, "block_s": 0.01, "images": 8, "batch_size": 2}
    measured = partial(seeds_speed.at_once_over_in_turn, **tiny)
    monkeypatch.setattr(seeds_speed, "at_once_over_in_turn", measured)
    monkeypatch.setattr(seeds_speed, "SIZES", ("32x32x1",))
    monkeypatch.setattr("torch.get_num_threads", lambda: 3)
    seeds_speed.main(["--json", str(tmp_path / "rows.json")])
    (row,) = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert (row["size"], row["processes"], row["threads_each"]) == ("32x32x1", 2, 1)
    low, high = row["at_once_over_in_turn"]["iqr"]
    assert 0 < low <= row["at_once_over_in_turn"]["median"] <= high
    assert "32x32x1: 2 processes of 1 threads do" in capsys.readouterr().out


def test_powers_of_two_up_to_the_threads(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        seeds_speed, "at_once_over_in_turn", lambda *_: seeds_speed.ratio([1.0], [1.0])
    )
    rows = seeds_speed.measure(8)
    assert [(row["processes"], row["threads_each"]) for row in rows[:3]] == [(2, 4), (4, 2), (8, 1)]
    assert seeds_speed.measure(1) == []
