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
from fastjvae.training.device import cpu_has_bfloat16

HALF = {"end_to_end_vs_published_way_bf16", "step_bf16_vs_fp32_32", "step_bf16_vs_fp32_64"}
KEYS = {
    "end_to_end_vs_published_way",
    "step_share_of_matmul_32",
    "step_share_of_matmul_64",
    "step_vs_tuned_eager",
    "step_vs_tuned_eager_same_allocator",
    *HALF,
    "seeds_at_once_vs_in_turn",
}


def test_quick_prints_a_table_and_writes_its_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    tiny = {"rounds": 2, "steps": 1, "images": 8, "batch_size": 2, "matmul_side": 64}
    monkeypatch.setattr(quick, "measure", partial(quick.measure, **tiny, block_s=0.01))
    quick.main(["--json", str(tmp_path / "q.json"), "--about", str(tmp_path / "about.json")])
    written = json.loads((tmp_path / "q.json").read_text())
    assert written.keys() == KEYS
    assert all((written[key] is None) is not cpu_has_bfloat16() for key in HALF)
    assert (written["seeds_at_once_vs_in_turn"] is None) is (torch.get_num_threads() == 1)
    for value in filter(None, written.values()):
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
    assert all(quick.results(measured, flops)[key] is None for key in HALF)
    for name in ("loop", "32", "64"):
        own = measured[f"fastjvae {name}"].seconds[0] / 2
        measured[f"fastjvae {name} bf16"] = Measured([own, own], 1, {}, None, None)
    found = {key: value.median for key, value in quick.results(measured, flops).items() if value}
    assert found == {
        "end_to_end_vs_published_way": 4.0,
        "step_share_of_matmul_32": 0.5,
        "step_share_of_matmul_64": 0.75,
        "step_vs_tuned_eager": 3.0,
        "step_vs_tuned_eager_same_allocator": 1.5,
        "end_to_end_vs_published_way_bf16": 8.0,
        "step_bf16_vs_fp32_32": 2.0,
        "step_bf16_vs_fp32_64": 2.0,
    }
