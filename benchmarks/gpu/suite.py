"""The tests that need a GPU, and those that hold the compiled kernels against the reference."""

import os
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from benchmarks.gpu.parts import Deadline, Save, python, say
from benchmarks.training.problems import DEVICE

ROOT = Path(__file__).parents[2]
_KERNELS = "tests/kernels"
# Nearly each example compiles a kernel.
_EXAMPLES = "4"


def measure(save: Save, until: Deadline) -> None:
    """Run the tests, several at a time; what runs out of time is ended."""
    found: dict[str, Any] = {"failed": []}
    for name, arguments in (
        ("gpu", ["-m", "gpu", "tests"]),
        ("kernels", [_KERNELS if DEVICE == "cuda" else f"{_KERNELS}/test_kernel_noise.py"]),
    ):
        if until.left_s < 1:
            break
        results = _run(arguments, until.left_s)
        found["failed"] += results.pop("failed")
        found[name] = results
        say(f"tests, {name}: {results}")
        save(found)


def _run(arguments: list[str], limit_s: float) -> dict[str, Any]:
    """Numbers of tests, and the names of those that failed."""
    workers = ["-n", "8"] if DEVICE == "cuda" and find_spec("xdist") else []
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = python(
            "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", f"--junit-xml={report}",
            *workers, *arguments,
        )  # fmt: skip
        try:
            subprocess.run(
                command,
                cwd=ROOT,
                env={**os.environ, "FASTJVAE_EXAMPLES": _EXAMPLES},
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"out_of_time": True, "failed": []}
        return summary(report)


def summary(report: Path) -> dict[str, Any]:
    """What a JUnit file says."""
    cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    failed = [
        f"{case.get('classname')}::{case.get('name')}"
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    ]
    skipped = sum(case.find("skipped") is not None for case in cases)
    passed = len(cases) - len(failed) - skipped
    return {"passed": passed, "skipped": skipped, "failed": failed}
