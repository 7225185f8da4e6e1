"""The run on a GPU, dry on a CPU: its parts, their limits, what it writes, the page about it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from examples import in_ci

from benchmarks import report
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import contact, epoch, operations, recipe, steps, suite
from benchmarks.gpu.parts import Deadline, run_parts

pytest.importorskip("triton", reason="needs triton")


class Saved:
    """Takes what a part has found, as the file would."""

    content: Any = None

    def __call__(self, found: Any) -> None:
        self.content = json.loads(json.dumps(found))


@pytest.fixture
def saved() -> Saved:
    return Saved()


# --- parts ----------------------------------------------------------------------------------------


def test_checks_run_in_processes_of_their_own(saved: Saved, capsys: pytest.CaptureFixture[str]):
    names = ["infogan", "graph paper"]
    contact.measure(saved, Deadline(120), names)
    assert saved.content["infogan"] == {"ok": True, "said": "trains"}
    if not contact.CUDA:
        assert saved.content["graph paper"] == {"ok": None, "said": "needs a GPU"}
        assert "left out graph paper: needs a GPU" in capsys.readouterr().out
    contact.measure(saved, Deadline(0), ["infogan"])
    assert saved.content == {"infogan": {"ok": None, "said": "no time was left"}}


@in_ci
@pytest.mark.parametrize("name", sorted(contact._DRY - {"infogan"}))
def test_every_check_that_needs_no_gpu_passes(name: str):
    assert contact.CHECKS[name]()


def test_a_check_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setattr(contact.os, "_exit", lambda _code: None)
    monkeypatch.setitem(contact.CHECKS, "broken", lambda: 1 / 0)
    contact.main("broken")
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last == {"ok": False, "said": "ZeroDivisionError: division by zero"}


def test_steps_are_timed_beside_one_another(saved: Saved):
    steps.measure(saved, Deadline(60))
    rows = {row["provider"]: row for row in saved.content}
    assert {"published", "tuned", "fastjvae"} <= rows.keys()
    for row in rows.values():
        low, high = row["ms"]["iqr"]
        assert 0 < low <= row["ms"]["median"] <= high
        assert row["images_per_s"] > 0
        assert row["tflops"] > 0


def test_a_provider_that_fails_does_not_stop_the_others(
    saved: Saved, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setitem(steps.PROVIDERS, "tuned", steps.PROVIDERS["tuned"]._replace(build=broken))
    steps.measure(saved, Deadline(60))
    rows = {row["provider"]: row for row in saved.content}
    assert rows["tuned"]["error"] == "RuntimeError: out of memory"
    assert rows["fastjvae"]["images_per_s"] > 0


def test_training_end_to_end(saved: Saved):
    epoch.measure(saved, Deadline(60))
    assert all(row["images_per_s"] > 0 and row["epoch_s"] > 0 for row in saved.content)


def test_operations(saved: Saved):
    operations.measure(saved, Deadline(60))
    assert {row["operation"] for row in saved.content} >= {"joint_latent", "joint_loss"}
    for row in saved.content:
        assert row["forward_us"]["median"] > 0
        assert row["both_us"]["median"] > 0


@in_ci
def test_the_main_job_is_trained(saved: Saved):
    recipe.measure(saved, Deadline(120))
    (row,) = saved.content
    assert 0 <= row["accuracy_majority"] <= 1
    assert row["seconds"] > 0


def test_what_the_suite_says_is_counted(tmp_path: Path):
    report_file = tmp_path / "report.xml"
    report_file.write_text(
        '<testsuites><testsuite><testcase classname="a" name="passes"/>'
        '<testcase classname="a" name="fails"><failure/></testcase>'
        '<testcase classname="b" name="breaks"><error/></testcase>'
        '<testcase classname="b" name="skips"><skipped/></testcase></testsuite></testsuites>'
    )
    assert suite.summary(report_file) == {
        "passed": 1, "skipped": 1, "failed": ["a::fails", "b::breaks"],
    }  # fmt: skip


@in_ci
def test_the_suite_runs_and_ends_when_its_time_is_over():
    assert suite._run(["tests/functional/test_capacity.py"], 60)["passed"] > 5
    assert suite._run(["tests/functional/test_capacity.py"], 0.1) == {
        "out_of_time": True,
        "failed": [],
    }


# --- all together ---------------------------------------------------------------------------------

SCRIPTS = {
    "works": "import json, sys; json.dump([1], open(sys.argv[1], 'w'))",
    "breaks": "import sys; sys.exit(3)",
    "hangs": "import json, sys, time; json.dump([2], open(sys.argv[1], 'w')); time.sleep(60)",
}


def test_a_part_that_fails_or_hangs_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("benchmarks.gpu.parts._LEAST_S", 0.5)

    def command_of(name: str, path: Path, _seconds: float) -> list[str]:
        return [sys.executable, "-S", "-c", SCRIPTS[name.split("-")[0]], str(path)]

    limits = [("breaks", 30.0), ("hangs", 2.0), ("works", 30.0)]
    whole = run_parts(limits, tmp_path, 100.0, command_of)
    assert [part["exit_code"] for part in whole["parts"].values()] == [3, None, 0]
    assert whole["parts"]["hangs"]["seconds"] < 30
    assert (whole["hangs"], whole["works"]) == ([2], [1])  # what a part had stays
    assert json.loads((tmp_path / "gpu.json").read_text()) == whole
    assert "== hangs: its time ran out after 2 s" in capsys.readouterr().out
    late = run_parts([("works-late", 30.0)], tmp_path, 0.1, command_of)
    assert late["parts"]["works-late"] == {"seconds": 0.0, "exit_code": None}


def test_the_parts_take_eight_minutes_at_most():
    assert sum(command.LIMITS_S.values()) <= command._MOST_S <= 480


def test_a_part_alone_writes_its_file(tmp_path: Path):
    command.main(["--parts", "epoch", "--alone", str(tmp_path / "x.json"), "--seconds", "60"])
    assert json.loads((tmp_path / "x.json").read_text())[0]["batch_size"] > 0


# --- the page -------------------------------------------------------------------------------------


def test_the_page_has_what_ran(tmp_path: Path):
    spread = {"median": 1.5, "iqr": [1.25, 2.0]}
    step = {"problem": "32x32x1, B = 64", "images_per_s": 50_000.0, "tflops": 1.25}
    whole = {
        "environment": {"device": "some GPU", "python": "3.12", "torch": "2.11"},
        "parts": {
            "contact": {"seconds": 80.0, "exit_code": 0},
            "steps": {"seconds": 130.0, "exit_code": None},
        },
        "contact": {
            "graph paper": {"ok": True, "said": ""},
            "graph tf32": {"ok": False, "said": "x"},
            "resume": {"ok": None, "said": "no time was left"},
        },
        "suite": {"gpu": {"passed": 40}, "kernels": {"passed": 80}, "failed": ["a::b"]},
        "steps": [
            {**step, "provider": "fastjvae", "ms": spread, "peak_mib": 12.0,
             "kernels": {"number": 84.0, "busy_ms": 0.5}},
            {**step, "provider": "published", "ms": spread, "peak_mib": None},
            {"problem": "32x32x1, B = 64", "provider": "tuned", "error": "x"},
        ],
        "epoch": [
            {"batch_size": 64, "steps": 2_000, "settings": {"precision": "bf16"},
             "images_per_s": 100_000.0, "epoch_s": 0.6}
        ],
        "recipe": [
            {"seed": 0, "seconds": 12.0, "accuracy_majority": 0.95, "reconstruction": 200.0}
        ],
        "operations": [
            {"operation": "joint_latent", "rows": 1_024, "dtype": "fp32", "provider": "kernels",
             "forward_us": spread, "both_us": spread}
        ],
    }  # fmt: skip
    (tmp_path / "gpu.json").write_text(json.dumps(whole))
    report.main(["--results", str(tmp_path), "--out", str(tmp_path / "README.md")])
    page = (tmp_path / "README.md").read_text()
    for line in (
        "- Machine: some GPU\n- Versions: python 3.12, torch 2.11\n- Script: `make gpu`",
        "- Checks of training: 2, of which 1 failed: graph tf32",
        "- Tests: 120 passed, 1 failed: a::b",
        "- Not finished: steps, its time ran out after 130 s",
        "| 32x32x1, B = 64 | fastjvae | 1.500 (1.250 - 2.000) | 50,000 | 1.25 | 12 | 84 | 0.500 |",
        "| 64 | 2,000 | precision = bf16 | 100,000 | 0.60 |",
        "| 0 | 12.0 | 0.950 | 200.0 |",
        "| joint_latent | 1,024 | fp32 | kernels | 1.5 (1.2 - 2.0) | 1.5 (1.2 - 2.0) |",
    ):
        assert line in page
    published, ours = (page.index(f"| {name} | 1.500") for name in ("published", "fastjvae"))
    assert published < ours
    assert "tuned |" not in page[page.index("## On a GPU") :]
