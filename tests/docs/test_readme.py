"""The README is short, in its order, and its numbers are those of the committed measurements."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
from conftest import ROOT
from pages import blocks

README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "benchmarks" / "results"


def test_it_is_short() -> None:
    assert len(README.split()) <= 900  # as wc -w counts


def test_it_has_a_picture_six_lines_and_four_commands() -> None:
    first, _, rest = README.partition("\n## ")
    assert len(re.findall(r"!\[", first)) == 1
    assert "![" not in rest
    (python,) = blocks(README, "python")
    assert len([line for line in python.splitlines() if line]) == 6
    install, commands = blocks(README, "sh")
    assert [line.split("  ")[0] for line in install.splitlines()] == [
        "make train", "make test", "pip install .",
    ]  # fmt: skip
    assert [line.split()[:2] for line in commands.splitlines()] == [
        ["fastjvae", command] for command in ("train", "evaluate", "figures", "edit")
    ]


COLUMNS = [
    ("step.json", "32x32x1, B = 64"),
    ("step.json", "32x32x1, B = 1,024"),
    ("epoch.json", "end to end"),
]


def _row(label: str, cells: Iterable[str]) -> str:
    return f"| {label} | {' | '.join(cells)} |\n"


def _measured(provider: str) -> list[dict[str, Any]]:
    """What the committed measurements have of a provider, in the order of the table's columns."""
    found = []
    for file, group in COLUMNS:
        runs = json.loads((RESULTS / file).read_text())["benchmarks"]
        of_group = [each["extra_info"] for each in runs if each["group"] == group]
        found += [each for each in of_group if each["provider"] == provider]
    assert len(found) == len(COLUMNS)
    return found


@pytest.mark.parametrize(
    ("label", "provider"),
    [
        ("tuned eager PyTorch, freed memory kept as well", "tuned-same-allocator"),
        ("tuned eager PyTorch", "tuned"),
        ("the published way of training", "published"),
    ],
)
def test_the_ratios_are_the_measured_ones(label: str, provider: str) -> None:
    medians = [each["times_fastjvae"]["median"] for each in _measured(provider)]
    assert _row(label, (f"{median:.2f}" for median in medians)) in README


def test_the_speed_and_the_machine_are_the_measured_ones() -> None:
    speeds = [each["images_per_s"] for each in _measured("fastjvae")]
    assert _row("fastjvae itself, images/s", (f"{speed:,.0f}" for speed in speeds)) in README
    machine = json.loads((RESULTS / "step.json").read_text())["machine_info"]
    assert (machine["processor"], machine["threads"]) == ("AMD EPYC", 2)
    assert "| on two cores of an AMD EPYC |" in README
