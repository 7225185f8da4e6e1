"""The benchmarks run and refuse wrong results; their report says what was found."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from examples import EVERYTHING

from benchmarks.operations.providers import passes_of, problem_of
from benchmarks.operations.workloads import SPECS, workloads
from benchmarks.report_kernels import main

CUDA = torch.cuda.is_available()
SCRIPT = "benchmarks/operations/bench_kernels.py"


def _bench(*options: str) -> str:
    """Run the benchmarks of the smallest sizes in a process of their own."""
    # pytest-benchmark reads from pytest's variables whether it is a worker of a parallel run.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", SCRIPT, "--sizes=smallest"]
    result = subprocess.run(
        [*command, "-p", "no:cacheprovider", *options],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    return result.stdout


# --- running --------------------------------------------------------------------------------------


def test_every_benchmark_runs_once_at_the_smallest_size():
    pytest.importorskip("triton", reason="needs triton")
    part = [] if EVERYTHING else ["-kgumbel_softmax"]
    printed = _bench("--benchmark-disable", "-rp", *part)
    passed = re.findall(r"^PASSED .*N64-fp32-(.*)-\w+\]", printed, re.M)
    # Three passes of 10 operations for one specification and of 6 for another; of 1 in a part.
    first, both = (30, 48) if EVERYTHING else (3, 6)
    expected = {"eager": both, "kernels": both if CUDA else first, "compile": 3}
    if CUDA:
        expected["kernels-cudagraph"] = both
    assert Counter(passed) == expected


def test_a_result_that_differs_is_not_offered_for_timing():
    workload = next(workloads(SPECS["mnist"], 8, torch.float32))
    problem = problem_of(workload)
    with passes_of("eager", problem) as passes:
        assert passes.both()[0].shape == (8, 10)
    for part in ("outputs", "gradients"):
        wrong = tuple(1.001 * tensor for tensor in getattr(problem, part))
        with (
            pytest.raises(AssertionError, match=f"{part}: error"),
            passes_of("eager", problem._replace(**{part: wrong})),
        ):
            pass


def test_a_timed_run_can_be_reported(tmp_path: Path):
    path = tmp_path / "times.json"
    _bench(
        f"--benchmark-json={path}",
        "--benchmark-min-rounds=2",
        "--benchmark-max-time=0.01",
        "-kgumbel_softmax-mnist and eager",
    )
    written = json.loads(path.read_text())
    for row in written["benchmarks"]:
        assert row["stats"]["rounds"] >= 2
        assert "data" not in row["stats"]
        assert row["extra_info"]["environment"]["torch"] == torch.__version__
    assert "node" not in written["machine_info"]
    main([str(path)])
    lines = (tmp_path / "times.md").read_text().splitlines()
    for direction in ("forward", "backward", "both"):
        start = f"| gumbel_softmax | {direction} | mnist | 64 | fp32 | "
        assert sum(line.startswith(start) for line in lines) == 1
    assert (tmp_path / "times.png").read_bytes().startswith(b"\x89PNG")


# --- report ---------------------------------------------------------------------------------------


def _row(provider: str, rows: int, median_us: float, **extra: Any) -> dict[str, Any]:
    return {
        "extra_info": {
            "operation": "joint_latent",
            "direction": "both",
            "spec": "mnist",
            "rows": rows,
            "dtype": "bf16",
            "provider": provider,
            "environment": {"device": "some GPU", "torch": "2.8", "fastjvae": "1.0"},
            **extra,
        },
        "options": {"timer": "EventTimer"},
        "stats": {"median": median_us * 1e-6, "iqr": 0.5e-6, "rounds": 40},
    }


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    commit = {"id": "0123456789abcdef", "dirty": True}
    path.write_text(json.dumps({"benchmarks": rows, "commit_info": commit}))
    return path


def test_the_table_has_medians_spread_ratios_and_bandwidth(tmp_path: Path):
    rows = [
        _row("eager", 64, 100.0),
        _row("compile", 64, 30.0),
        _row("compile-reduce-overhead", 64, 25.0),
        _row("kernels", 64, 8.0, copy_bandwidth=2e12, percent_of_copy_bandwidth=71.6),
        _row("eager", 262_144, 12_345.0),
    ]
    rows[0]["extra_info"]["copy_bandwidth"] = 2e12
    main([str(_write(tmp_path / "a.b.json", rows)), "--out", str(tmp_path / "new" / "folder")])
    table = (tmp_path / "new" / "folder" / "a.b.md").read_text()
    assert "- Device: some GPU\n- Versions: torch 2.8\n" in table
    assert "- fastjvae 1.0, commit 0123456789ab with local changes\n" in table
    assert "40 to 40 rounds by CUDA events, cold L2 cache\n- Copy bandwidth: 2,000 GB/s" in table
    assert (
        "| operation | pass | spec | N | dtype | eager | compile | compile-reduce-overhead"
        " | kernels | compile / kernels | eager / kernels | kernels, % of copy bandwidth |"
    ) in table
    assert (
        "| joint_latent | both | mnist | 64 | bf16 | 100 (0.50) | 30.0 (0.50) | 25.0 (0.50)"
        " | 8.00 (0.50) | 3.12 | 12.50 | 72 |"
    ) in table
    assert (
        "| joint_latent | both | mnist | 262,144 | bf16 | 12,345 (0.50) | - | - | - | - | - | - |"
    ) in table
    assert (tmp_path / "new" / "folder" / "a.b.png").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read .*times.json: No such file"),
        ("{", "times.json is not a JSON file: "),
        ("[]", f"times.json holds no results of {SCRIPT}; write them with"),
        ('{"benchmarks": []}', "holds no results"),
        ('{"benchmarks": [{"name": "of another suite", "extra_info": {}}]}', "holds no results"),
        ('{"benchmarks": [{"extra_info": {"operation": "x"}}]}', "holds no results"),
    ],
)
def test_a_missing_or_foreign_file_is_one_sentence(
    tmp_path: Path, content: str | None, message: str
):
    path = tmp_path / "times.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit, match=message) as raised:
        main([str(path)])
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.glob("*.md"))


def test_a_plot_of_what_was_not_measured_names_what_was(tmp_path: Path):
    path = _write(tmp_path / "times.json", [_row("eager", 64, 1.0)])
    with pytest.raises(SystemExit, match="nothing was measured for mnist fp32, only mnist bf16"):
        main([str(path), "--dtype", "fp32"])


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    path = _write(tmp_path / "times.json", [_row("eager", 64, 1.0)])
    with pytest.raises(SystemExit, match=r"cannot write .*times.json"):
        main([str(path), "--out", str(path)])
