"""When checkpoints are written: by the clock, by steps, and where several processes train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from runs import assert_resume_changes_nothing, trainer_of
from tiny_runs import tiny_config, write_arrays

from fastjvae.training import checkpoint_times
from fastjvae.training.checkpoint_times import EVERY_S, CheckpointTimes
from fastjvae.training.processes import Processes


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def perf_counter(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(checkpoint_times, "time", made)
    return made


class AmongTwo(Processes):
    """One of two processes, which hears what rank 0 says."""

    def __init__(self, rank: int, first_says: bool) -> None:
        super().__init__(rank, 2)
        self.first_says, self.asked = first_says, 0

    def any(self, flag: bool) -> bool:
        self.asked += 1
        return flag or (not self.is_first and self.first_says)


def test_a_checkpoint_is_due_half_a_minute_after_the_last(data: Path, clock: Clock):
    times = CheckpointTimes(tiny_config(data, checkpoint_every=None), Processes())
    clock.now_s += EVERY_S - 1
    assert not times.due(4)
    clock.now_s += 1
    assert times.due(5)
    times.written()
    assert not times.due(6)


def test_a_number_of_steps_knows_no_clock(data: Path, clock: Clock):
    times = CheckpointTimes(tiny_config(data, checkpoint_every=5), Processes())
    clock.now_s += 10 * EVERY_S
    assert [step for step in range(1, 13) if times.due(step)] == [5, 10]


@pytest.mark.parametrize("first_says", [True, False])
def test_rank_0_decides_for_all_at_log_lines(data: Path, clock: Clock, first_says: bool):
    config = tiny_config(data, checkpoint_every=None, log_every=4)
    processes = [AmongTwo(rank, first_says) for rank in range(2)]
    times = [CheckpointTimes(config, each) for each in processes]
    answers = []
    for step in range(1, 13):
        clock.now_s += 10 * EVERY_S * first_says
        first = times[0].due(step)
        clock.now_s += 10 * EVERY_S  # the other's clock is another one
        answers.append((first, times[1].due(step)))
        clock.now_s -= 10 * EVERY_S
    due = [step for step, answer in enumerate(answers, start=1) if answer == (True, True)]
    assert due == ([4, 8, 12] if first_says else [])
    assert answers.count((False, False)) == 12 - len(due)
    assert [each.asked for each in processes] == [3, 3]


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"checkpoint_every": None}, [7, 13]),  # the clock says so at step 7, and the end
        ({"checkpoint_every": 5}, [5, 10, 13]),
    ],
)
def test_a_run_writes_its_checkpoints_then(
    data: Path,
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    steps: list[int],
):
    trainer = trainer_of(tiny_config(data, **changes), tmp_path / "run")
    take, save, saved = trainer.train_step, trainer.save, []

    def train_step() -> None:
        take()
        clock.now_s += EVERY_S if trainer.step == 7 else 0.0

    def saving() -> None:
        save()
        saved.append(trainer.step)

    monkeypatch.setattr(trainer, "train_step", train_step)
    monkeypatch.setattr(trainer, "save", saving)
    assert trainer.train()
    assert saved == steps


@pytest.mark.parametrize("stop", [3, 8])  # between log lines, and at one
def test_a_run_by_the_clock_resumes_bitwise(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
):
    config = tiny_config(data, checkpoint_every=None)
    assert_resume_changes_nothing(config, tmp_path, stop, monkeypatch)
