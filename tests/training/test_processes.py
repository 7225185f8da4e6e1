from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from programs import finish, start
from runs import assert_same_losses, losses
from tiny_runs import tiny_config, tiny_flags, write_arrays

from fastjvae.cli import main
from fastjvae.data import load as load_data
from fastjvae.errors import ArgumentError, RunError
from fastjvae.model.checkpoint import read_checkpoint
from fastjvae.training import processes
from fastjvae.training.processes import Processes, join_processes
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.trainer import Trainer

STEPS = 50


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


@pytest.fixture
def alone(data: Path, tmp_path: Path) -> Path:
    """A run of one process, whose batches of 7 leave an odd image and end an epoch with 5."""
    flags = tiny_flags(data, tmp_path / "alone", batch_size=7, steps=STEPS)
    assert main([*flags, "--no-figures"]) == 0
    return tmp_path / "alone"


@pytest.mark.parametrize("world", [2, 3])
def test_several_processes_train_as_one(data: Path, tmp_path: Path, alone: Path, world: int):
    flags = tiny_flags(data, tmp_path / "run", batch_size=7, steps=STEPS)
    results = finish(start([*flags, "--no-figures"], world))
    assert [code for code, _, _ in results] == [0] * world, results
    assert f"and {world - 1} more: to step {STEPS}" in results[0][1]
    said = [line for _, out, _ in results[1:] for line in out.splitlines()]
    assert [line for line in said if not line.startswith("[Gloo]")] == []  # PyTorch 2.8's own
    assert_same_losses(tmp_path / "run", alone)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {path.name for path in alone.iterdir()}


SHARED = {
    "disc-measure": "shared",
    "group": 2,
    "neighbours": 3,
    "augment": 0.5,
    "overclusters": 6,
}


@pytest.mark.parametrize(
    "own",
    [
        {"objective": "factor", "factor.layers": 2, "factor.width": 16, "factor.lr": 1e-3},
        {"objective": "beta-tc"},
        {"batch_size": 6, **SHARED},  # a process has one group and a half
        {"likelihood": "gaussian", "scale": "learned"},
        {"likelihood": "gaussian", "scale": "learned", "objective": "beta-tc"},
    ],
    ids=["factor", "beta-tc", "shared", "gaussian", "gaussian beta-tc"],
)
def test_several_processes_compare_the_images_of_a_batch_as_one(
    data: Path, tmp_path: Path, own: dict[str, Any]
):
    own = {"batch_size": 7, **own}
    flags = {
        folder: [*tiny_flags(data, tmp_path / folder, **own), "--no-figures"]
        for folder in ("alone", "run")
    }
    assert main(flags["alone"]) == 0
    results = finish(start([*flags["run"], "--accumulate", "2"], 2))
    assert [code for code, _, _ in results] == [0, 0], results
    assert_same_losses(tmp_path / "run", tmp_path / "alone")


def test_several_processes_read_what_they_draw_as_one(data: Path, tmp_path: Path):
    flags = {
        folder: [*tiny_flags(data, tmp_path / folder, batch_size=7, drawn_gamma=10), "--no-figures"]
        for folder in ("alone", "run")
    }
    assert main(flags["alone"]) == 0
    results = finish(start(flags["run"], 2))
    assert [code for code, _, _ in results] == [0, 0], results
    assert "drawn_information" in losses(tmp_path / "run")[0]
    assert_same_losses(tmp_path / "run", tmp_path / "alone")


def test_several_processes_fit_one_head_anew(data: Path, tmp_path: Path):
    """Fitting takes 200 steps at a large learning rate, in which rounding grows."""
    own = {"batch_size": 6, **SHARED, "refits": 3, "held_out": 0}
    flags = {
        folder: [*tiny_flags(data, tmp_path / folder, **own), "--no-figures"]
        for folder in ("alone", "run")
    }
    assert main(flags["alone"]) == 0
    results = finish(start(flags["run"], 2))
    assert [code for code, _, _ in results] == [0, 0], results
    assert [message.count("fitted anew after step 3") for _, _, message in results] == [1, 0]
    assert_same_losses(tmp_path / "run", tmp_path / "alone", 1e-3)


@pytest.mark.parametrize("parts", [2, 3, 20])
def test_accumulated_parts_train_as_one(data: Path, tmp_path: Path, alone: Path, parts: int):
    flags = tiny_flags(data, tmp_path / "run", batch_size=7, steps=STEPS, accumulate=parts)
    assert main([*flags, "--no-figures"]) == 0
    assert_same_losses(tmp_path / "run", alone)


def test_a_killed_process_ends_the_others_and_the_run_resumes(data: Path, tmp_path: Path):
    run = tmp_path / "run"
    flags = tiny_flags(data, run, held_out=0, batch_size=7, steps=200_000, timeout=20.0)
    started = start([*flags, "--no-figures"], 2)
    started[0].wait_for(run / "checkpoint.pt")
    started[1].kill()
    code, _, message = finish(started)[0]
    assert code == 1, message
    assert "process 0 of 2 lost another one" in message
    assert "Traceback" not in message
    step = read_checkpoint(run / "checkpoint.pt")["step"]
    assert step >= 5
    flags = ["train", "--resume", str(run), "--steps", str(step + 6)]
    results = finish(start(flags, 2))
    assert [code for code, _, _ in results] == [0, 0], results
    assert read_metrics(RunFolder(run))[-1]["step"] == step + 6
    whole = tiny_config(data, batch_size=7, steps=step + 6)
    once = Trainer(whole, load_data(whole.source()), RunFolder(tmp_path / "whole"))
    assert once.train()
    resumed, uninterrupted = (
        read_checkpoint(folder / "checkpoint.pt") for folder in (run, tmp_path / "whole")
    )
    assert torch.equal(resumed["rng"]["noise"], uninterrupted["rng"]["noise"])
    for name, tensor in resumed["model"].items():
        torch.testing.assert_close(tensor, uninterrupted["model"][name], rtol=1e-2, atol=1e-3)


def test_a_signal_to_one_process_stops_all(data: Path, tmp_path: Path):
    run = tmp_path / "run"
    flags = tiny_flags(data, run, batch_size=7, steps=200_000)
    started = start([*flags, "--no-figures"], 2)
    started[0].wait_for(run / "checkpoint.pt")
    started[1].send_signal(signal.SIGTERM)
    (code, out, _), (other, _, _) = finish(started)
    assert (code, other) == (128, 128 + signal.SIGTERM)
    assert "go on with: fastjvae train --resume" in out
    assert read_checkpoint(run / "checkpoint.pt")["step"] % 4 == 0  # a logging step


def test_the_error_of_the_first_process_is_said_once(data: Path, tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    results = finish(start(tiny_flags(data, tmp_path / "run"), 2))
    assert [code for code, _, _ in results] == [1, 1]
    assert "is no run folder" in results[0][2]
    assert results[1][2] == ""


def test_torchrun_trains(data: Path, tmp_path: Path):
    flags = tiny_flags(data, tmp_path / "run")
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "fastjvae", *flags, "--no-figures",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert json.loads((tmp_path / "run" / "config.json").read_text())["training"]["seed"] == 0


def test_a_process_alone_asks_nobody():
    alone = Processes()
    assert alone.is_first
    assert alone.any(True)
    assert not alone.any(False)
    assert alone.first(lambda: 3) == 3
    with pytest.raises(RuntimeError, match="gloo"), alone.answering():
        raise RuntimeError("gloo")
    alone.leave()


def test_an_error_of_another_kind_is_not_taken_for_a_lost_process():
    several = Processes(1, 2, "cpu")
    with pytest.raises(ZeroDivisionError), several.answering():
        _ = 1 / 0
    with pytest.raises(RuntimeError, match="shapes"), several.answering():
        raise RuntimeError("shapes")
    with pytest.raises(RunError, match="process 1 of 2 lost another one"), several.answering():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer")


def test_several_processes_cannot_share_a_named_gpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ArgumentError, match="--device must be auto, cpu or cuda, got cuda:1"):
        join_processes("cuda:1", 10.0)
    monkeypatch.setattr(processes.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(processes.torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(ArgumentError, match="process 1 of this machine has no GPU: there are 1"):
        join_processes("auto", 10.0)


def test_seeds_are_not_shared_by_processes(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([*tiny_flags(data, tmp_path / "run"), "--seeds", "0..2"]) == 2
    assert "without torchrun" in capsys.readouterr().err
