"""Processes take turns, and one that fails ends all."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.training.agreement import DisagreementError
from benchmarks.training.processes import (
    Measured,
    Task,
    Turns,
    WorkerError,
    alternate,
    ratio,
    spread,
)
from benchmarks.training.rows import rate_share


def _write_name(turns: Turns, folder: Path, name: str, fails_at: int = -1, how: str = "") -> None:
    """Write the name at every step; fail at one of them."""
    (folder / f"{name}.pid").write_text(str(os.getpid()))
    turns.facts["name"] = name
    for step in range(100):
        if step == fails_at and how == "error":
            raise ArithmeticError(f"{name} cannot go on")
        if step == fails_at:
            os._exit(7)
        if not turns.wait():
            break
        with (folder / "order").open("a") as file:
            file.write(name)


def _all_have_ended(folder: Path) -> bool:
    for path in folder.glob("*.pid"):
        try:
            os.kill(int(path.read_text()), 0)
        except ProcessLookupError:
            continue
        return False
    return True


def test_blocks_alternate_and_every_other_round_goes_backwards(tmp_path: Path):
    seen = []
    measured = alternate(
        {
            "a": Task(_write_name, (tmp_path, "a"), steps=2, untimed=1),
            "b": Task(_write_name, (tmp_path, "b"), steps=3, untimed=0),
        },
        rounds=3,
        check=lambda name, facts: seen.append((name, facts["name"])),
    )
    assert seen == [("a", "a"), ("b", "b")]
    # At first one step and two, with the untimed ones, in which the length of a step is found.
    assert (tmp_path / "order").read_text() == "aaaaa" + "bbb" + "aaabbb" + "bbbaaa" + "aaabbb"
    for name, steps in (("a", 2), ("b", 3)):
        assert len(measured[name].seconds) == 3
        assert min(measured[name].seconds) > 0
        assert measured[name].steps == steps
        assert measured[name].facts == {"name": name}
        if sys.platform == "linux":
            assert measured[name].peak_mib >= measured[name].imports_mib > 10
    assert _all_have_ended(tmp_path)


@pytest.mark.parametrize(
    ("fails_at", "how", "message"),
    [
        (0, "error", r"b failed:\nTraceback (.|\n)*in _write_name(.|\n)*b cannot go on"),
        (5, "error", r"b failed:\nTraceback (.|\n)*ArithmeticError: b cannot go on"),
        (0, "exit", "b ended with exit code 7"),
        (5, "exit", "b ended with exit code 7"),
    ],
)
def test_a_process_that_fails_ends_all(tmp_path: Path, fails_at: int, how: str, message: str):
    tasks = {
        "a": Task(_write_name, (tmp_path, "a"), steps=1),
        "b": Task(_write_name, (tmp_path, "b", fails_at, how), steps=1),
    }
    with pytest.raises(WorkerError, match=message):
        alternate(tasks, rounds=9)
    assert _all_have_ended(tmp_path)


def test_a_failed_check_ends_all_before_anything_is_timed(tmp_path: Path):
    def check(name: str, facts: dict[str, Any]) -> None:
        raise DisagreementError(f"{name} is wrong")

    with pytest.raises(DisagreementError, match="a is wrong"):
        alternate({"a": Task(_write_name, (tmp_path, "a"))}, rounds=1, check=check)
    assert not (tmp_path / "order").exists()
    assert _all_have_ended(tmp_path)


def test_medians_quartiles_and_ratios_within_rounds():
    assert spread([5.0, 1.0, 2.0, 4.0, 3.0]) == (3.0, 2.0, 4.0)
    assert spread([2.0]) == (2.0, 2.0, 2.0)
    assert ratio([2.0, 40.0, 600.0], [1.0, 10.0, 100.0]) == (4.0, 3.0, 5.0)
    own, matmul = (Measured([s], 1, {}, None, None) for s in (0.5, 0.25))
    assert rate_share(own, 4.0, matmul, 8.0).median == 0.25  # 8 of 32 operations a second
