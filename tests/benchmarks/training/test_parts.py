"""The parts of a step are the whole of it, and tries compute what they would take the place of."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.training import parts


def test_every_part_of_every_step_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(parts, "BATCHES", (2,))
    monkeypatch.setattr(parts, "cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(parts, "keep_freed_memory", lambda: True)  # of this process, for good
    monkeypatch.setattr(parts, "tries", lambda: {"a part": {"a form": lambda: None}})
    monkeypatch.setattr(parts, "measure", partial(parts.measure, rounds=4, side=64))
    threads = torch.get_num_threads()
    try:
        parts.main(["--json", str(tmp_path / "parts.json")])
    finally:
        torch.set_num_threads(threads)
    found = json.loads((tmp_path / "parts.json").read_text())
    names = ["images", "encoder", "latent variables", "decoder", "loss", "backward pass", "Adam"]
    for precision in ("fp32", "bf16"):
        rows = [row for row in found["parts"] if row["precision"] == precision]
        assert [row["part"] for row in rows] == names
        assert all(row["ms"]["median"] > 0 for row in rows)
        limited = [row["part"] for row in rows if row["limit_ms"] is not None]
        assert limited == ["encoder", "decoder", "backward pass", "Adam"]
    assert [(row["part"], row["form"]) for row in found["tries"]] == [("a part", "a form")]
    assert "2 bf16 Adam" in capsys.readouterr().out


def test_forms_of_a_part_agree(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parts, "cpu_has_bfloat16", lambda: True)
    compared = 0
    for part, forms in parts.tries(rows=2).items():
        results = [form() for form in forms.values()]
        if part.startswith("Adam"):
            assert results == [None] * 3
            continue
        if len(forms) == 1:
            assert all(layers is not None for layers in results[0])
            continue
        first, *rest = (result[0] if isinstance(result, tuple) else result for result in results)
        if part.startswith("cross-entropy"):
            first = first * 2 * 1_024  # of the mean over images and of a pixel
        for other in rest:
            tolerance: Any = 2**-5 if other.dtype == torch.bfloat16 else 1e-4
            assert (first - other).norm() <= tolerance * other.norm(), part
            compared += 1
    assert compared == 7
