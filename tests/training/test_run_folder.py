from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_runs import tiny_config

from fastjvae.data import ImageData
from fastjvae.errors import ArgumentError, CheckpointError, RunError
from fastjvae.training.run_folder import MetricsLog, RunFolder, last_record, read_metrics, run_of
from fastjvae.training.settings.train import TrainConfig
from fastjvae.training.trainer import Trainer


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    return tiny_config(tmp_path / "squares.npz")


@pytest.fixture
def run(tmp_path: Path, config: TrainConfig) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.create(config, {"format": "x"})
    return run


def test_configuration_round_trips(run: RunFolder, config: TrainConfig):
    assert run.read_config() == config
    assert json.loads(run.config_file.read_text())["format"] == "x"
    run.create(config, {})  # the same run: nothing to do
    longer = dataclasses.replace(config, steps=99)
    run.change_config(longer)
    assert run.read_config() == longer
    assert json.loads(run.config_file.read_text())["format"] == "x"


def test_another_configuration_is_refused_and_kept(run: RunFolder, config: TrainConfig):
    before = run.config_file.read_bytes()
    with pytest.raises(RunError, match=r"lr is 0.001 there, 0.5 here.*--out.*--resume"):
        run.create(dataclasses.replace(config, lr=0.5), {})
    assert run.config_file.read_bytes() == before


def test_a_folder_with_other_files_is_refused(tmp_path: Path, config: TrainConfig):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunError, match=r"no run folder \(it holds thesis.tex\)"):
        RunFolder(tmp_path).create(config, {})
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_place_of_the_folder(tmp_path: Path, config: TrainConfig):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        RunFolder(tmp_path / "file" / "run").create(config, {})


def test_checking_a_folder_makes_nothing(tmp_path: Path, config: TrainConfig):
    RunFolder(tmp_path / "runs" / "new").check(config)
    assert not (tmp_path / "runs").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        RunFolder(tmp_path / "file").check(config)


@pytest.mark.parametrize("content", ["{", "{}", '{"training": {"lr": 1}}', "[]"])
def test_a_damaged_configuration_is_named(run: RunFolder, content: str):
    run.config_file.write_text(content)
    with pytest.raises(
        RunError, match=r"config.json (is not the configuration|lacks the training setting)"
    ):
        run.read_config()


def test_no_run_at_all(tmp_path: Path):
    with pytest.raises(RunError, match=r"config.json is missing"):
        RunFolder(tmp_path).read_config()
    assert not RunFolder(tmp_path).is_run()


def test_a_second_process_is_kept_out(run: RunFolder):
    script = (
        "import sys\nfrom fastjvae.training.run_folder import RunFolder\n"
        "with RunFolder(sys.argv[1]).lock():\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(run)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="another process is training in"), run.lock():
            pass
        holder.kill()
    with run.lock():  # a killed process holds nothing
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_said(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, number: int
):
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    (run.path / ".lock").touch()  # as a run that was refused for it has left it
    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", flock)
        for _ in range(2):
            with pytest.warns(UserWarning, match=f"of {run} has no locks"), run.lock():
                pass
    with run.lock(), pytest.raises(RunError, match="another process is training"), run.lock():
        pass


def test_a_folder_that_was_deleted_is_not_made_again(run: RunFolder):
    log = MetricsLog(run, step=0)
    run.check_is_there()
    shutil.rmtree(run.path)
    for write in (run.check_is_there, lambda: log.append({"step": 4})):
        with pytest.raises(RunError, match=f"{run} was deleted, moved or emptied"):
            write()
    assert not run.path.exists()


def test_the_last_record_where_there_is_one(run: RunFolder):
    assert last_record(run) is None
    run.metrics_file.write_text('{"step": 4}\n{"step": 8}\n{"st')
    assert last_record(run) == {"step": 8}
    run.metrics_file.write_text('{"step": 4}\n{"st\n{"step": 12}\n')
    assert last_record(run) is None


def test_a_model_file_is_of_the_run_it_lies_in(run: RunFolder):
    assert run_of(run.path).path == run_of(run.config_file).path == run.path


def test_metrics_after_the_checkpoint_are_dropped(run: RunFolder):
    log = MetricsLog(run, step=0)
    for step in (4, 8, 12):
        log.append({"step": step, "kl_cont": [0.5, 1.0]})
    MetricsLog(run, step=8)
    assert [record["step"] for record in read_metrics(run)] == [4, 8]


def test_a_line_cut_short_by_a_kill_is_ignored_but_damage_is_not(run: RunFolder):
    run.metrics_file.write_text('{"step": 4}\n{"step": 8}\n{"st')
    assert [record["step"] for record in read_metrics(run)] == [4, 8]
    run.metrics_file.write_text('{"step": 4}\n{"st\n{"step": 12}\n')
    with pytest.raises(CheckpointError, match="line 2 is no record"):
        read_metrics(run)
    for line in (b"5", b"{}", b"\xff\xfe", b'{"step": "x"}'):
        run.metrics_file.write_bytes(b'{"step": 4}\n' + line + b'\n{"step": 12}\n')
        with pytest.raises(CheckpointError, match="line 2 is no record"):
            read_metrics(run)


def test_tensorboard_holds_what_metrics_jsonl_holds(run: RunFolder):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
    )
    log = MetricsLog(run, step=0, tensorboard=True)
    log.append({"step": 4, "loss": 2.0, "kl_cont": [0.5, 1.0]})
    log.append({"step": 8, "loss": 1.0, "kl_cont": [0.25, 2.0]})
    log.close()
    events = accumulator.EventAccumulator(str(run.tensorboard))
    events.Reload()
    assert sorted(events.Tags()["scalars"]) == ["kl_cont/0", "kl_cont/1", "loss"]
    assert [(e.step, e.value) for e in events.Scalars("kl_cont/1")] == [(4, 1.0), (8, 2.0)]


@pytest.mark.parametrize("channels", [1, 3])
def test_tensorboard_has_the_frames_of_a_training(tmp_path: Path, channels: int):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
    )
    pixels = torch.randint(0, 256, (8, channels, 16, 16), dtype=torch.uint8)
    config = TrainConfig(
        dataset="arrays",
        data_root="given",
        cont=2,
        disc=(3,),
        batch_size=4,
        steps=4,
        animate_every=2,
        tensorboard=True,
        device="cpu",
    )
    run = RunFolder(tmp_path / "run")
    assert Trainer(config, ImageData("given", pixels), run).train()
    events = accumulator.EventAccumulator(str(run.tensorboard))
    events.Reload()
    assert events.Tags()["images"] == ["traversals"]
    shown = events.Images("traversals")
    assert [each.step for each in shown] == [0, 2, 4]
    for each in shown:
        with Image.open(run.frames / f"{each.step:09d}.png") as frame:
            right = np.asarray(frame.convert("RGB"))
        with Image.open(io.BytesIO(each.encoded_image_string)) as picture:
            assert np.array_equal(np.asarray(picture.convert("RGB")), right)


def test_tensorboard_without_the_extra(run: RunFolder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(ArgumentError, match=r"fastjvae\[tensorboard\]"):
        MetricsLog(run, step=0, tensorboard=True)


@pytest.mark.parametrize(
    "line",
    [
        "5",
        "[" * 10_000,
        '{"loss": 1}',
        '{"step": "x"}',
        '{"step": -1}',
        '{"step": 1.5}',
        '{"step": NaN}',
        '{"step": 1, "kl_cont": [[1]]}',
        '{"step": 1, "loss": {}}',
    ],
)
def test_a_line_of_another_form_is_named(run: RunFolder, line: str):
    run.metrics_file.write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n')
    with pytest.raises(CheckpointError, match=r"metrics.jsonl is damaged: line 2 is no record"):
        read_metrics(run)


def test_numbers_that_are_not_finite_are_null(run: RunFolder):
    run.metrics_file.write_text('{"step": 1, "loss": NaN, "kl_cont": [Infinity, 1.0]}\n')
    log = MetricsLog(run, step=5)
    log.append({"step": 6, "loss": float("nan")})
    lines = run.metrics_file.read_text().splitlines()
    assert lines == [
        '{"step": 1, "loss": null, "kl_cont": [null, 1.0]}',
        '{"step": 6, "loss": null}',
    ]
    assert [record["loss"] for record in read_metrics(run)] == [None, None]
