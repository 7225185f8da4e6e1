from __future__ import annotations

import copy
import dataclasses
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from examples import EVERYTHING
from programs import Program
from tiny import assert_same_state, tiny_config, tiny_flags, write_arrays
from torch.utils.data import DataLoader, TensorDataset

from fastjvae import BetaObjective, JointVAE, load
from fastjvae.data import load as load_data
from fastjvae.errors import (
    ArgumentError,
    CheckpointError,
    DataError,
    NonFiniteLossError,
    RunError,
)
from fastjvae.model.checkpoint import read_checkpoint, write_checkpoint
from fastjvae.training.device import resolve_device
from fastjvae.training.objective_settings import FactorConfig
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.settings import TrainConfig
from fastjvae.training.trainer import Trainer


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


def _trainer(config: TrainConfig, folder: Path) -> Trainer:
    return Trainer(config, load_data(config.source()), RunFolder(folder))


def _comparable(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Everything a run leaves behind but its speed."""
    state = read_checkpoint(folder / "checkpoint.pt")
    records = read_metrics(RunFolder(folder))
    for record in records:
        assert record.pop("images_per_s") > 0
    return state, records


def _stop_at(
    trainer: Trainer, step: int, how: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    take = trainer.train_step

    def train_step() -> None:
        take()
        if trainer.step == step:
            how()

    monkeypatch.setattr(trainer, "train_step", train_step)


def test_a_run_folder_holds_what_is_promised(data: Path, tmp_path: Path):
    trainer = _trainer(tiny_config(data), tmp_path / "run")
    assert trainer.train()
    records = read_metrics(trainer.run)
    assert [record["step"] for record in records] == [4, 8, 12, 13]
    assert set(records[0]) == {
        "step", "epoch", "loss", "reconstruction", "kl_cont", "kl_disc", "category_mean",
        "information", "capacity_cont", "capacity_disc", "images_per_s",
    }  # fmt: skip
    assert records[0]["capacity_cont"] == pytest.approx(0.2 * (1 + 2 + 3 + 4) / 4)
    loaded = JointVAE.from_pretrained(tmp_path / "run")
    assert_same_state(dict(loaded.state_dict()), dict(trainer.model.state_dict()))
    assert read_checkpoint(tmp_path / "run" / "checkpoint.previous.pt")["step"] == 10


def test_training_lowers_the_loss(data: Path, tmp_path: Path):
    trainer = _trainer(tiny_config(data, steps=150, log_every=10), tmp_path / "run")
    trainer.train()
    records = read_metrics(trainer.run)
    assert records[-1]["reconstruction"] < 0.8 * records[0]["reconstruction"]


def test_every_image_is_seen_once_an_epoch(data: Path, tmp_path: Path):
    trainer = _trainer(tiny_config(data, batch_size=7), tmp_path / "run")
    epochs = []
    for _ in range(2):
        indices = []
        for _ in range(6):  # 5 batches of 7 and one of 5
            indices.append(trainer.batches.select(trainer.step))
            trainer.step += 1
        assert [len(batch) for batch in indices] == [7] * 5 + [5]
        epochs.append(torch.cat(indices))
    assert all(torch.equal(order.sort().values, torch.arange(40)) for order in epochs)
    assert not torch.equal(*epochs)


@pytest.mark.parametrize("stop", [1, 4, 5, 7, 12])
@pytest.mark.parametrize("objective", ["joint", "cc-beta", "factor", "beta-tc"])
def test_resume_is_bitwise_as_if_never_stopped(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, objective: str
):
    small = FactorConfig(layers=2, width=16)
    settings = {"factor": small} if objective == "factor" else {}
    config = tiny_config(data, objective=objective, **settings)
    assert _trainer(config, tmp_path / "whole").train()
    first = _trainer(config, tmp_path / "parts")
    _stop_at(first, stop, lambda: os.kill(os.getpid(), signal.SIGINT), monkeypatch)
    assert not first.train()
    assert (first.step, first.stop_signal) == (stop, signal.SIGINT)
    torch.manual_seed(123)  # the resumed process has another state of the default generator
    second = _trainer(config, tmp_path / "parts")
    assert second.step == stop
    assert second.train()
    whole, parts = _comparable(tmp_path / "whole"), _comparable(tmp_path / "parts")
    for state, _ in (whole, parts):
        state["rng"].pop("cpu")  # of the test, not of the trainer
    assert_same_state(whole, parts)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_finishes_the_step_and_restores_the_handler(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    trainer = _trainer(tiny_config(data), tmp_path / "run")
    _stop_at(trainer, 3, lambda: os.kill(os.getpid(), number), monkeypatch)
    assert not trainer.train()
    assert trainer.stop_signal == number
    assert read_checkpoint(tmp_path / "run" / "checkpoint.pt")["step"] == 3
    assert signal.getsignal(number) == before


def test_a_finished_run_trains_no_further(data: Path, tmp_path: Path):
    config = tiny_config(data)
    _trainer(config, tmp_path / "run").train()
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    again = _trainer(config, tmp_path / "run")
    assert again.finished
    assert again.train()
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("at", [3, 7])
def test_a_loss_that_is_not_finite_stops_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
):
    trainer = _trainer(tiny_config(data), tmp_path / "run")

    def poison() -> None:
        with torch.no_grad():  # the next step's logvar of unit 1
            trainer.model.encoder.head.bias[3] = float("nan")

    _stop_at(trainer, at - 1, poison, monkeypatch)
    with pytest.raises(NonFiniteLossError) as error:
        trainer.train()
    message = str(error.value)
    assert f"not finite at step {at}: loss, " in message
    assert "kl_cont[1]" in message
    assert "kl_cont[0]" not in message
    if at == 3:
        assert "there is no checkpoint yet" in message
    else:
        assert f"the last good checkpoint is {tmp_path / 'run' / 'checkpoint.pt'}" in message
        assert read_checkpoint(tmp_path / "run" / "checkpoint.pt")["step"] == 5


def test_parameters_that_are_not_finite_are_never_saved(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trainer = _trainer(tiny_config(data), tmp_path / "run")

    def poison() -> None:
        with torch.no_grad():
            trainer.model.decoder.features_to_image[0].bias[0] = float("inf")

    _stop_at(trainer, 10, poison, monkeypatch)
    with pytest.raises(
        NonFiniteLossError, match=r"after step 10: decoder.features_to_image.0.bias"
    ):
        trainer.train()
    assert read_checkpoint(tmp_path / "run" / "checkpoint.pt")["step"] == 5


def test_a_model_without_its_checkpoint_is_not_trained_over(data: Path, tmp_path: Path):
    config = tiny_config(data)
    _trainer(config, tmp_path / "run").train()
    model = (tmp_path / "run" / "model.safetensors").read_bytes()
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        (tmp_path / "run" / name).unlink()
    longer, images = dataclasses.replace(config, steps=20), load_data(config.source())
    with pytest.raises(CheckpointError, match=r"no checkpoint\.pt to go on from; .*--start-from"):
        Trainer(longer, images, RunFolder(tmp_path / "run"), resuming=True)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == model
    assert read_metrics(RunFolder(tmp_path / "run"))[-1]["step"] == 13


def test_a_checkpoint_of_a_gpu_goes_on_here(data: Path, tmp_path: Path):
    """Generator states of a GPU are other numbers of other sizes, and its Adam has other flags."""
    config = tiny_config(data, steps=6, warmup=4)
    _trainer(config, tmp_path / "run").train()
    folder = tmp_path / "run"
    state = read_checkpoint(folder / "checkpoint.pt")
    state["rng"] |= {"noise": torch.zeros(16, dtype=torch.uint8), "cuda": [torch.zeros(16)]}
    state["optimizer"]["param_groups"][0] |= {"capturable": True, "fused": None}
    write_checkpoint(folder, state)
    shutil.copytree(folder, tmp_path / "again")
    longer = dataclasses.replace(config, steps=13)
    ends = []
    for path in (folder, tmp_path / "again"):
        resumed = Trainer(longer, load_data(config.source()), RunFolder(path), resuming=True)
        assert resumed.step == 6
        assert resumed.train()
        flags = resumed.optimizer.param_groups[0]
        assert (flags["capturable"], flags["fused"], flags["betas"]) == (False, True, (0.9, 0.999))
        ends.append(resumed.model.state_dict())
    assert_same_state(*ends)  # from numbers that the seed and the step give


def test_a_checkpoint_of_other_data_or_another_model_is_refused(data: Path, tmp_path: Path):
    config = tiny_config(data)
    _trainer(config, tmp_path / "run").train()
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    write_arrays(tmp_path, seed=0, images=24)  # the same file, other content
    with pytest.raises(
        CheckpointError, match=r"other images \(40 of them then, 24 of other content now\)"
    ):
        _trainer(config, tmp_path / "run")
    write_arrays(tmp_path)
    other = dataclasses.replace(config, cont=3)
    RunFolder(tmp_path / "run").change_config(other)
    with pytest.raises(CheckpointError, match="another model"):
        _trainer(other, tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before


def test_a_checkpoint_of_a_run_with_other_settings_is_refused(data: Path, tmp_path: Path):
    _trainer(tiny_config(data, lr=0.01, objective="beta"), tmp_path / "other").train()
    config = tiny_config(data)
    _trainer(config, tmp_path / "run").train()
    (tmp_path / "other" / "checkpoint.pt").replace(tmp_path / "run" / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="of another run: objective is 'beta' there"):
        _trainer(config, tmp_path / "run")


def test_training_begins_with_the_weights_of_another_model(data: Path, tmp_path: Path):
    before = _trainer(tiny_config(data), tmp_path / "before")
    before.train()
    config = tiny_config(data, start_from=str(tmp_path / "before"), seed=1)
    trainer = _trainer(config, tmp_path / "run")
    assert_same_state(trainer.model.state_dict(), before.model.state_dict())
    assert trainer.step == 0
    trainer.train()
    assert not torch.equal(trainer.model.encoder.head.bias, before.model.encoder.head.bias)
    # From here on the run has a checkpoint of its own.
    shutil.rmtree(tmp_path / "before")
    resumed = _trainer(config, tmp_path / "run")
    assert resumed.step == 13
    assert_same_state(resumed.model.state_dict(), trainer.model.state_dict())


def test_training_begins_with_a_model_of_the_published_code(data: Path, tmp_path: Path):
    spec = {"cont": 2, "disc": [4]}
    published = JointVAE((1, 32, 32), spec)
    torch.save(published.published_state_dict(), tmp_path / "model.pt")
    config = tiny_config(data, start_from=str(tmp_path / "model.pt"), image_size=(32, 32))
    trainer = _trainer(config, tmp_path / "run")
    assert_same_state(trainer.model.state_dict(), published.state_dict())


def test_a_model_to_start_from_has_to_fit(data: Path, tmp_path: Path):
    JointVAE((1, 16, 16), {"cont": 3, "disc": [4]}).save_pretrained(tmp_path / "other")
    config = tiny_config(data, start_from=str(tmp_path / "other"))
    message = r"other has images of \(1, 16, 16\) and .*cont=3.*, this run has .* and .*cont=2"
    with pytest.raises(ArgumentError, match=message):
        _trainer(config, tmp_path / "run")
    with pytest.raises(CheckpointError, match="none holds no model"):
        _trainer(dataclasses.replace(config, start_from=str(tmp_path / "none")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_killed_before_its_model_was_written_gets_it(data: Path, tmp_path: Path):
    config = tiny_config(data)
    _trainer(config, tmp_path / "run").train()
    model = (tmp_path / "run" / "model.safetensors").read_bytes()
    (tmp_path / "run" / "model.safetensors").unlink()
    assert _trainer(config, tmp_path / "run").train()
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == model


def test_a_run_that_goes_on_is_not_loaded_from_its_old_end(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _trainer(tiny_config(data), tmp_path / "run").train()
    longer = Trainer(
        tiny_config(data, steps=40),
        load_data(tiny_config(data).source()),
        RunFolder(tmp_path / "run"),
        resuming=True,
    )
    _stop_at(longer, 20, lambda: os.kill(os.getpid(), signal.SIGINT), monkeypatch)
    assert not longer.train()
    assert_same_state(dict(load(tmp_path / "run").state_dict()), dict(longer.model.state_dict()))
    assert RunFolder(tmp_path / "run").read_config().steps == 40


def test_a_run_that_cannot_go_on_keeps_its_end(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = tiny_config(data, animate_every=4)
    folder = tmp_path / "run"
    _trainer(config, folder).train()
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    def longer(**changes: Any) -> Trainer:
        wanted = dataclasses.replace(config, steps=40, **changes)
        return Trainer(wanted, load_data(config.source()), RunFolder(folder), resuming=True)

    def fail(_: int) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
        with pytest.raises(ArgumentError, match="tensorboard"):
            longer(tensorboard=True).train()
    trainer = longer()
    monkeypatch.setattr(trainer, "take", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        trainer.train()
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    trainer = longer()
    _stop_at(trainer, 14, lambda: os.kill(os.getpid(), signal.SIGINT), monkeypatch)
    assert not trainer.train()
    assert RunFolder(folder).read_config() == trainer.config
    assert not (folder / "model.safetensors").exists()


@pytest.mark.parametrize("written", ["checkpoint_every", "log_every", "animate_every"])
def test_a_folder_deleted_while_it_trains_is_not_made_again(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
):
    rare = {"checkpoint_every": 1000, "log_every": 1000}
    trainer = _trainer(tiny_config(data, **{**rare, written: 5}), tmp_path / "run")
    _stop_at(trainer, 3, lambda: shutil.rmtree(tmp_path / "run"), monkeypatch)
    with pytest.raises(RunError, match=f"{tmp_path / 'run'} was deleted, moved or emptied"):
        trainer.train()
    assert trainer.step == 5
    assert not (tmp_path / "run").exists()


def test_a_run_cannot_end_before_where_it_is(data: Path, tmp_path: Path):
    config = tiny_config(data)
    _trainer(config, tmp_path / "run").train()
    run = RunFolder(tmp_path / "run")
    shorter = dataclasses.replace(config, steps=7)
    with pytest.raises(ArgumentError, match="13 steps already, so it cannot end at step 7"):
        Trainer(shorter, load_data(config.source()), run, resuming=True)
    assert run.read_config() == config


class _Learned:
    """An objective with a weight of its own: beta-VAE whose beta is learned towards 2."""

    def __init__(self) -> None:
        self.beta = torch.nn.Parameter(torch.tensor(1.0))
        self.steps = 0

    def loss(self, model, x, step, noise):
        self.steps += 1
        out = BetaObjective(1.0).loss(model, x, step, noise)
        return out._replace(loss=out.loss + (self.beta - 2) ** 2, extra={"beta": self.beta})

    def parameter_groups(self):
        return [{"params": [self.beta], "lr": 0.1}]

    def state_dict(self):
        return {"beta": self.beta.detach().clone(), "steps": self.steps}

    def load_state_dict(self, state):
        self.beta.data.copy_(state["beta"])
        self.steps = state["steps"]


def test_an_objective_with_state_is_trained_and_resumed_like_the_model(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = tiny_config(data)
    images = load_data(config.source())

    def trainer(folder: str) -> Trainer:
        return Trainer(config, images, RunFolder(tmp_path / folder), objective=_Learned())

    whole = trainer("whole")
    assert whole.train()
    assert whole.objective.steps == 13
    assert whole.objective.beta.item() > 1.5
    first = trainer("parts")
    _stop_at(first, 6, lambda: os.kill(os.getpid(), signal.SIGINT), monkeypatch)
    assert not first.train()
    second = trainer("parts")
    assert second.train()
    assert second.objective.steps == 13
    assert torch.equal(second.objective.beta, whole.objective.beta)
    assert_same_state(dict(second.model.state_dict()), dict(whole.model.state_dict()))
    assert read_metrics(second.run)[-1]["beta"] == read_metrics(whole.run)[-1]["beta"]


def test_nothing_in_a_step_waits_for_the_device(data: Path, tmp_path: Path):
    from torch.utils._python_dispatch import TorchDispatchMode

    class Calls(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.names: list[str] = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.names.append(str(func))
            return func(*args, **(kwargs or {}))

    trainer = _trainer(tiny_config(data), tmp_path / "run")
    trainer.train_step()
    with Calls() as calls:
        trainer.train_step()
        trainer.train_step()
    waiting = ("_local_scalar_dense", "aten.equal", "nonzero")
    assert not [name for name in calls.names if any(wait in name for wait in waiting)]
    # Weight gradients of four convolutions and the input gradient of one, in each step.
    assert sum("convolution_backward" in name for name in calls.names) == 2 * 5


def test_devices_by_name():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "meta:x", "meta"):
        with pytest.raises(ArgumentError, match=f"--device {name} cannot be used"):
            resolve_device(name)


OTHER_PARTS: dict[str, Any] = {
    "config": 5,
    "config of another type": lambda state: {"config": {**state["config"], "batch_size": "x"}},
    "data": 5,
    "rng": {},
    "metrics": torch.zeros(3),
    "metrics of another run": lambda state: {"metrics": torch.zeros(2, 3)},
    "optimizer": {},
    "optimizer of another type": lambda state: {"optimizer": {**state["optimizer"], "state": "x"}},
    "moments of another shape": lambda state: _with_moment(state, "exp_avg", torch.zeros(2)),
    "moments of another kind": lambda state: _with_moment(state, "momentum", torch.zeros(2)),
    "model": lambda state: {"model": {**state["model"], "encoder.head.bias": torch.zeros(3)}},
}


def _with_moment(state: dict[str, Any], name: str, value: torch.Tensor) -> dict[str, Any]:
    optimizer = copy.deepcopy(state["optimizer"])
    optimizer["state"][0][name] = value
    return {"optimizer": optimizer}


def test_a_checkpoint_with_a_part_of_another_form_is_one_sentence(data: Path, tmp_path: Path):
    config = tiny_config(data)
    run = tmp_path / "run"
    _trainer(config, run).train()
    whole = read_checkpoint(run / "checkpoint.pt")
    images = load_data(config.source())
    for name, part in OTHER_PARTS.items():
        change = part(whole) if callable(part) else {name: part}
        torch.save({**whole, **change}, run / "checkpoint.pt")
        with pytest.raises(CheckpointError, match=r"checkpoint.pt .* before it is .*previous") as e:
            Trainer(dataclasses.replace(config, steps=14), images, RunFolder(run), resuming=True)
        assert "\n" not in str(e.value), name


def test_moments_of_another_layout_go_on_as_they_are(data: Path, tmp_path: Path):
    config = tiny_config(data, checkpoint_every=13)
    for folder in ("as written", "contiguous"):
        _trainer(config, tmp_path / folder).train()
    path = tmp_path / "contiguous" / "checkpoint.pt"
    state = read_checkpoint(path)
    for moments in state["optimizer"]["state"].values():
        moments.update({name: value.contiguous() for name, value in moments.items()})
    state["optimizer"]["param_groups"][0]["lr"] = "what the run says"
    torch.save(state, path)
    found = []
    for folder in ("as written", "contiguous"):
        longer = Trainer(
            dataclasses.replace(config, steps=16),
            load_data(config.source()),
            RunFolder(tmp_path / folder),
            resuming=True,
        )
        longer.train()
        found.append(dict(longer.model.state_dict()))
    assert_same_state(*found)


# --- images that are none -------------------------------------------------------------------------


@pytest.mark.parametrize("change", [lambda x: 255 * x, lambda x: (x - 0.13) / 0.31])
def test_a_loaders_images_have_to_be_between_0_and_1(data: Path, tmp_path: Path, change: Any):
    images = torch.rand(8, 1, 16, 16)
    loader = DataLoader(TensorDataset(change(images)), batch_size=4)
    with pytest.raises(ArgumentError, match=r"between 0 and 1, got values .* do not normalise"):
        Trainer(tiny_config(data), loader, RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_reconstruction_below_0_ends_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As on a GPU, where nothing looks at the images of a step."""
    trainer = _trainer(tiny_config(data), tmp_path / "run")
    append = trainer.recorder.append

    def written(numbers: dict[str, torch.Tensor]) -> None:
        step = int(trainer.trained.step)
        wrong = numbers["reconstruction"] - 1e4 * (step == 6)
        append({**numbers, "reconstruction": wrong})

    monkeypatch.setattr(trainer.recorder, "append", written)
    with pytest.raises(DataError, match=r"reconstruction at step 6 is -9\d+ nats, .* normalise$"):
        trainer.train()
    assert read_checkpoint(tmp_path / "run" / "checkpoint.pt")["step"] == 5


# --- kill -9 ------------------------------------------------------------------------------------


def _killed_run(data: Path, folder: Path, after_s: float) -> None:
    """Start a real training process and kill it ``after_s`` seconds after its first checkpoint."""
    first = not (folder / "config.json").exists()
    begin = tiny_flags(data, folder, **{"steps": 100_000, "checkpoint-every": 3})
    process = Program(begin if first else ["train", "--resume", str(folder)])
    try:
        newest = _step_of(folder)
        deadline = time.monotonic() + 120
        while _step_of(folder) <= newest:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(after_s)
    finally:
        process.kill()
        process.communicate(timeout=60)


def _step_of(folder: Path) -> int:
    """Step of the newest checkpoint; the process beside us may be renaming them."""
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        with suppress(CheckpointError):
            return read_checkpoint(folder / name)["step"]
    return 0


def _check_kills(data: Path, tmp_path: Path, kills: int) -> None:
    folder = tmp_path / "killed"
    moments = random.Random(0)
    for _ in range(kills):
        _killed_run(data, folder, moments.uniform(0.0, 0.3))
    run = RunFolder(folder)
    steps = _step_of(folder) + 7
    config = dataclasses.replace(run.read_config(), steps=steps)
    resumed = Trainer(config, load_data(config.source()), run, resuming=True)
    assert resumed.train()
    whole = _trainer(config, tmp_path / "whole")
    assert whole.train()
    assert_same_state(dict(resumed.model.state_dict()), dict(whole.model.state_dict()))
    first, second = (_comparable(f)[1] for f in (folder, tmp_path / "whole"))
    assert first == second
    left = {p.name for p in folder.iterdir()}
    assert left == {
        ".lock", "config.json", "metrics.jsonl", "model.safetensors",
        "checkpoint.pt", "checkpoint.previous.pt",
    }  # fmt: skip


def test_killed_runs_resume(data: Path, tmp_path: Path):
    _check_kills(data, tmp_path, kills=3 if EVERYTHING else 1)


@pytest.mark.slow
def test_runs_killed_many_times_resume(data: Path, tmp_path: Path):
    _check_kills(data, tmp_path, kills=30)
