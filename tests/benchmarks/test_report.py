"""The page about training says what was measured, and what was not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from benchmarks import report


def _outcome(**changes: Any) -> dict[str, Any]:
    return {
        "steps": 3, "loss": 200.0, "reconstruction": 150.0,
        "kl_cont": [0.5, 0.25], "kl_disc": [0.125], **changes,
    }  # fmt: skip


ABOUT = {"processor": "some CPU", "threads": 2, "python": "3.11", "torch": "2.9", "fastjvae": "1.0"}


def _row(provider: str, ms: float, **extra: Any) -> dict[str, Any]:
    return {
        "extra_info": {
            "provider": provider, "problem": "32x32x1, B = 64", "images_per_s": 64e3 / ms,
            "peak_mib": 700.4, "imports_mib": 300.0, "environment": ABOUT,
            "outcome": _outcome(), "reference": _outcome(loss=200.001), **extra,
        },
        "stats": {"median": ms / 1e3, "q1": 0.9 * ms / 1e3, "q3": 1.1 * ms / 1e3, "rounds": 20},
    }  # fmt: skip


def _ratio(median: float) -> dict[str, Any]:
    return {"median": median, "iqr": [0.99 * median, 1.01 * median]}


def _write(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    commit = {"id": "0123456789abcdef", "dirty": False}
    content = {"benchmarks": rows, "commit_info": commit}
    (folder / f"{name}.json").write_text(json.dumps(content))


def _report(folder: Path) -> str:
    report.main(["--results", str(folder), "--out", str(folder / "README.md")])
    return (folder / "README.md").read_text()


def test_what_was_not_measured_is_called_so_and_has_no_numbers(tmp_path: Path):
    page = _report(tmp_path)
    assert page.count("not measured.") == 6
    measured = page[page.index("## On one machine") :]
    assert not re.search(r"\d", measured)
    assert not list(tmp_path.glob("*.png"))


def test_a_page_of_all_results(tmp_path: Path):
    rate = {"gflops": 50.0, "matmul_gflops": 100.0, "share_of_matmul": _ratio(0.5)}
    _write(
        tmp_path,
        "step",
        [
            _row("fastjvae", 10.0, **rate),
            _row("tuned", 15.0, times_fastjvae=_ratio(1.4), **rate),
            _row("published", 30.0, times_fastjvae=_ratio(3.0), **rate),
        ],
    )
    loop = {"measurement": "end to end", "images": 60_000}
    size = {"measurement": "data set size", "speed_to_smallest": _ratio(0.98)}
    share = {"loading_and_logging_share": _ratio(0.03), "checkpoint_s": 0.025}
    _write(
        tmp_path,
        "epoch",
        [
            _row("published", 40.0, times_fastjvae=_ratio(4.0), **loop),
            _row("fastjvae", 10.0, **loop, **share),
            _row("fastjvae", 10.0, **size, **{"images": 10_000, "outcome": None}),
            _row("fastjvae", 10.4, **size, **{"images": 100_000, "outcome": None}),
        ],
    )
    (tmp_path / "quick.json").write_text(json.dumps({"step_vs_tuned_eager": _ratio(1.25)}))
    by_way = {"pytorch_ms": _ratio(2.0), "fastjvae_ms": _ratio(1.0), "limit_ms": 0.5}
    layer = {"size": "32x32x1", "layer": "encoder 1", "pass": "forward", "shape": "1 -> 32, 32x32"}
    content = {"environment": ABOUT, "rows": [{**layer, **by_way}]}
    (tmp_path / "layers.json").write_text(json.dumps(content))
    part = {"batch_size": 64, "precision": "fp32", "part": "Adam", "ms": _ratio(4.0)}
    fixed = {**part, "batch_size": 2, "ms": _ratio(2.0)}
    tried = {"part": "Adam over 20 tensors", "form": "one flat buffer", "ms": _ratio(3.0)}
    content = {
        "environment": ABOUT,
        "parts": [{**fixed, "limit_ms": 0.25}, {**part, "limit_ms": 0.25}],
        "tries": [tried],
    }
    (tmp_path / "parts.json").write_text(json.dumps(content))

    page = _report(tmp_path)
    assert "- Machine: some CPU, threads: 2\n- Versions: python 3.11, torch 2.9, fastjvae" in page
    assert "`benchmarks/training/bench_step.py`, 20 blocks of each, commit 0123456789ab\n" in page
    # The weaker ratio comes first.
    assert "fastjvae's: tuned 1.40 (1.39 - 1.41); published 3.00 (2.97 - 3.03)." in page
    assert (
        "| tuned | 15.00 (13.50 - 16.50) | 4,267 | 50 | 50.0 % (49.5 - 50.5) | 700 | 3 | 200.00"
        " | 0.75000 | 0.12500 | 200.00 | 0.75000 | 0.12500 |"
    ) in page
    of_step = page[page.index("## A step alone") :]
    assert re.findall(r"^\| (published|tuned|fastjvae) \|", of_step, flags=re.MULTILINE) == [
        "published", "tuned", "fastjvae",
    ]  # fmt: skip
    assert "`make gpu`: not measured." in page
    assert "- Loading and logging in a step of fastjvae: 3.0 % (3.0 - 3.0).\n" in page
    assert "- A checkpoint of fastjvae takes 25 ms (one run).\n" in page
    assert "60,000 images, published: 700 MiB, 300 of them before it began" in page
    assert "| 100,000 | 10.40 (9.36 - 11.44) | 6,154 | 0.980 (0.970 - 0.990) | 700 |" in page
    assert "The fastest is 4.0 % faster than the slowest." in page
    assert "| step, tuned eager / fastjvae | 1.25 (1.24 - 1.26) |" in page
    assert "| end to end, published way / fastjvae | not measured |" in page
    assert "the machine was not recorded" in page
    assert "| encoder 1 | 1 -> 32, 32x32 | forward | 2.000 | 1.000 | 0.500 | 50 |" in page
    assert "| part | B = 2, fp32 | B = 64, fp32 | limit at B = 64 |" in page
    assert "| Adam | 2.00 (1.98 - 2.02) | 4.00 (3.96 - 4.04) | 0.25 |" in page
    assert "| together | 2.00 | 4.00 | 0.25 |" in page
    assert "| Adam over 20 tensors | one flat buffer | 3.000 (2.970 - 3.030) |" in page
    for name in ("step", "epoch"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("content", ["{", "[]", '{"benchmarks": []}', '{"benchmarks": [{}]}'])
def test_a_foreign_file_is_one_sentence(tmp_path: Path, content: str):
    (tmp_path / "step.json").write_text(content)
    with pytest.raises(SystemExit, match=r"step.json") as raised:
        _report(tmp_path)
    assert "\n" not in str(raised.value)


# --- all together ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["step", "epoch"])
def test_a_timed_run_can_be_reported(tmp_path: Path, name: str):
    # pytest-benchmark reads from pytest's variables whether it is a worker of a parallel run.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    script = f"benchmarks/training/bench_{name}.py"
    command = [sys.executable, "-m", "pytest", script, "--sizes=smallest"]
    result = subprocess.run(
        [*command, f"--benchmark-json={tmp_path / name}.json", "-p", "no:cacheprovider"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    rows = json.loads((tmp_path / f"{name}.json").read_text())["benchmarks"]
    for row in rows:
        assert row["stats"]["rounds"] == row["extra_info"]["blocks"] == 3
        seconds = row["extra_info"]["batch_size"] / row["extra_info"]["images_per_s"]
        assert row["stats"]["median"] == pytest.approx(seconds)
    assert "| published |" in _report(tmp_path)
