from __future__ import annotations

import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from programs import Program, finish
from runs import comparable
from tiny_runs import (
    assert_same_state,
    fails,
    seeds_flags,
    seeds_results,
    tiny_config,
    write_arrays,
)

from fastjvae.cli import main
from fastjvae.errors import RunError
from fastjvae.model.checkpoint import read_checkpoint
from fastjvae.training import seeds_at_once
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.seeds import train_seeds
from fastjvae.training.seeds_at_once import places_for


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


# --- places ---------------------------------------------------------------------------------------


def test_gpus_that_a_run_may_use(data: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(seeds_at_once, "_VISIBLE", "CUDA_VISIBLE_DEVICES")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert seeds_at_once.visible_gpus(tiny_config(data, device="auto")) == ["0", "1", "2"]
    assert seeds_at_once.visible_gpus(tiny_config(data, device="cuda:1")) == []
    assert seeds_at_once.visible_gpus(tiny_config(data, device="cpu")) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,MIG-7,6")
    assert seeds_at_once.visible_gpus(tiny_config(data, device="cuda")) == ["4", "MIG-7", "6"]
    places = places_for(tiny_config(data, device="cuda"), runs=10, jobs=2)
    assert [place.environment["CUDA_VISIBLE_DEVICES"] for place in places] == [
        "4", "MIG-7", "6", "4", "MIG-7", "6",
    ]  # fmt: skip
    assert len(places_for(tiny_config(data, device="cuda"), runs=10)) == 3


@pytest.mark.parametrize(
    ("threads", "runs", "jobs", "processes", "each"),
    [
        (2, 10, None, 2, 1),  # by default one thread each
        (1, 10, None, 1, 1),
        (32, 10, None, 10, 3),  # fewer runs than threads: they are shared, all alike
        (32, 100, None, 32, 1),
        (8, 10, 3, 3, 2),
        (2, 10, 5, 5, 1),  # more processes than threads, where somebody asks for it
        (8, 2, 5, 2, 4),
    ],
)
def test_processes_share_the_threads_of_a_cpu(
    data: Path, monkeypatch: pytest.MonkeyPatch,
    threads: int, runs: int, jobs: int | None, processes: int, each: int,
):  # fmt: skip
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(seeds_at_once, "available", lambda: 2**40)
    places = places_for(tiny_config(data), runs, jobs)
    assert len(places) == processes
    assert {place.environment["OMP_NUM_THREADS"] for place in places} == {str(each)}
    assert places[0].name == ("with 1 thread" if each == 1 else f"with {each} threads")


def test_by_default_every_run_has_room_in_memory(data: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(seeds_at_once, "available", lambda: 3 * 2**30)
    assert len(places_for(tiny_config(data), runs=10)) == 3
    assert len(places_for(tiny_config(data), runs=10, jobs=8)) == 8
    monkeypatch.setattr(seeds_at_once, "available", lambda: 2**20)
    assert len(places_for(tiny_config(data), runs=10)) == 1


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--jobs", "2"], "--jobs is for several seeds at once, got 2 without --seeds, such as"),
        (["--seeds", "0..2", "--jobs", "0"], "--jobs must be at least 1, got 0"),
        (["--seeds", "0..2", "--jobs", "5000"], "--jobs must be at most 1000, got 5000"),
        (["--seeds", "0..2", "--jobs", "two"], "--jobs"),
        (["--seeds", "0..2", "--jobs", "1.5"], "--jobs"),
    ],
)
@pytest.mark.parametrize("command", ["train", "infogan"])
def test_jobs_that_cannot_be(command: str, flags: list[str], sentence: str, capsys: Any):
    assert sentence in fails([command, "digits", *flags], 2, capsys)


# --- processes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"labelled": 8}], ids=["no label", "labels"])
def test_seeds_at_once_are_those_in_turn(
    data: Path, tmp_path: Path, capsys: Any, changes: dict[str, Any]
):
    at_once, in_turn = tmp_path / "at once", tmp_path / "in turn"
    assert main([*seeds_flags(data, at_once, "0..2", **changes), "--jobs", "2"]) == 0
    out, err = capsys.readouterr()
    lines = [line for line in out.splitlines() if line.startswith("seed ")]
    log = at_once / "seed1.log"
    assert f"seed 1: with 1 thread, see {log}" in lines
    assert [line for line in lines if line.endswith("finished")] != []
    assert "training on" in log.read_text()
    assert err == ""
    assert main([*seeds_flags(data, in_turn, "0..2", **changes), "--jobs", "1"]) == 0
    assert seeds_results(at_once) == seeds_results(in_turn)
    for seed in range(3):
        ours, theirs = (comparable(folder / f"seed{seed}") for folder in (at_once, in_turn))
        for state, _ in (ours, theirs):
            state["rng"].pop("cpu")  # of the test
        assert_same_state(ours, theirs)


def test_processes_that_are_killed_with_their_parent_stop_and_the_same_command_goes_on(
    data: Path, tmp_path: Path
):
    folder = tmp_path / "seeds"
    flags = [*seeds_flags(data, folder, "0,1", steps=200_000), "--jobs", "2"]
    parent = Program(flags)
    for seed in (0, 1):
        parent.wait_for(folder / f"seed{seed}" / "checkpoint.pt")
    parent.kill()
    finish([parent])
    deadline = time.monotonic() + 60
    for seed in (0, 1):
        log = folder / f"seed{seed}.log"
        while not (stopped := re.search(r"stopped after step ([\d,]+)", log.read_text())):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        checkpoint = read_checkpoint(folder / f"seed{seed}" / "checkpoint.pt")
        assert checkpoint["step"] == int(stopped[1].replace(",", ""))


# Stands for a training process: says which GPU it sees, and waits for a signal in seed 2.
_PROCESS = """
import json, os, signal, sys, time
values = json.loads(sys.stdin.readline())
print("GPU", os.environ["CUDA_VISIBLE_DEVICES"], values["training"]["seed"], flush=True)
if values["training"]["seed"] == 1:
    print("fastjvae: the loss is not finite")
    sys.exit(1)
def stop(number, frame):
    print("stopped by", number, flush=True)
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, stop)
print("waiting", flush=True)
if values["training"]["seed"] == 2:
    time.sleep(60)
"""


def test_a_queue_of_seeds_over_gpus_and_a_stop(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(seeds_at_once, "visible_gpus", lambda _: ["6", "7"])
    monkeypatch.setattr(seeds_at_once, "_VISIBLE", "CUDA_VISIBLE_DEVICES")
    folder = tmp_path / "seeds"
    said: list[str] = []

    def sleep(_: float) -> None:  # between two looks at the processes
        log = folder / "seed2.log"
        said.append(capsys.readouterr().err)
        # Which of the two comes first is the machine's choice; a stop hides a failure after it.
        if any(said) and log.exists() and "waiting" in log.read_text():
            os.kill(os.getpid(), signal.SIGTERM)
            monkeypatch.undo()

    monkeypatch.setattr(seeds_at_once.time, "sleep", sleep)
    code = train_seeds(
        tiny_config(data), [0, 1, 2, 3, 4], folder, pytest.fail,
        command=[sys.executable, "-c", _PROCESS],
    )  # fmt: skip
    assert code == 128 + signal.SIGTERM
    logs = {p.name: p.read_text() for p in folder.iterdir()}
    assert "GPU 6 0" in logs["seed0.log"]
    assert "GPU 7 1" in logs["seed1.log"]
    assert f"stopped by {int(signal.SIGTERM)}" in logs["seed2.log"]
    said.append(capsys.readouterr().err)
    assert "".join(said) == "fastjvae: seed 1 failed: the loss is not finite\n"


def test_a_log_that_cannot_be_written_is_an_error(data: Path, tmp_path: Path):
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "seed0.log").mkdir()
    with pytest.raises(RunError, match=r"seed0\.log"):
        train_seeds(tiny_config(data), [0, 1], tmp_path / "seeds", pytest.fail, jobs=2)
    assert not RunFolder(tmp_path / "seeds" / "seed0").is_run()
