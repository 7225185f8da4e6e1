"""The short measurement prints a table and writes its keys."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from benchmarks import quick
from benchmarks.training.processes import (
    Measured,
)
from benchmarks.training.rows import MATMUL

KEYS = {
    "end_to_end_vs_published_way",
    "step_share_of_matmul_32",
    "step_share_of_matmul_64",
    "step_vs_tuned_eager",
    "step_vs_tuned_eager_same_allocator",
}


def test_quick_prints_a_table_and_writes_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    tiny = {"rounds": 2, "steps": 1, "images": 8, "batch_size": 2, "matmul_side": 64}
    monkeypatch.setattr(quick, "measure", partial(quick.measure, **tiny, block_s=0.01))
    quick.main(["--json", str(tmp_path / "q.json"), "--about", str(tmp_path / "about.json")])
    written = json.loads((tmp_path / "q.json").read_text())
    assert written.keys() == KEYS
    for value in written.values():
        assert value.keys() == {"median", "iqr"}
        assert 0 < value["iqr"][0] <= value["median"] <= value["iqr"][1]
    assert json.loads((tmp_path / "about.json").read_text())["torch"] == torch.__version__
    printed = capsys.readouterr().out
    assert f"torch {torch.__version__}" in printed
    assert all(label in printed for label in quick.LABELS.values())


def test_quick_takes_ratios_of_what_they_are_called():
    seconds = {
        "published loop": 8.0, "fastjvae loop": 2.0, "tuned": 3.0, "tuned, same allocator": 1.5,
        "fastjvae 32": 1.0, "fastjvae 64": 4.0, MATMUL: 0.5,
    }  # fmt: skip
    measured = {name: Measured([s, s], 1, {}, None, None) for name, s in seconds.items()}
    flops = {"fastjvae 32": 10.0, "fastjvae 64": 60.0, MATMUL: 10.0}
    found = {key: value.median for key, value in quick.results(measured, flops).items()}
    assert found == {
        "end_to_end_vs_published_way": 4.0,
        "step_share_of_matmul_32": 0.5,
        "step_share_of_matmul_64": 0.75,
        "step_vs_tuned_eager": 3.0,
        "step_vs_tuned_eager_same_allocator": 1.5,
    }
