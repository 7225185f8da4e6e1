from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from examples import some
from tiny_runs import SHARED, tiny_config, write_arrays
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.environment import has_compiler
from fastjvae.data import load as load_data
from fastjvae.data.batches import StreamedBatches
from fastjvae.errors import ArgumentError
from fastjvae.training.about import about
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.settings.objective import FactorConfig, build_objective
from fastjvae.training.settings.train import TrainConfig, build_model
from fastjvae.training.trainer import Trainer

aten = torch.ops.aten
# Calls whose result the host needs, for which it would wait for a GPU.
WAITING = {
    aten._local_scalar_dense, aten.item, aten.is_nonzero, aten.equal, aten.nonzero,
    aten.masked_select, aten.unique_consecutive, aten._unique2, aten.bincount,
}  # fmt: skip
STEPS = 6


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


@pytest.fixture
def trainer(data: Path, tmp_path: Path) -> Callable[..., Trainer]:
    made: list[Trainer] = []

    def make(**changes: Any) -> Trainer:
        config = tiny_config(data, **changes)
        run = RunFolder(tmp_path / f"run{len(made)}")
        made.append(Trainer(config, load_data(config.source()), run))
        return made[-1]

    return make


def steps_of(trainer: Trainer, steps: int = STEPS) -> Tensor:
    for _ in range(steps):
        trainer.recorder.clear()
        trainer.train_step()
    return parameters_of(trainer)


def parameters_of(trainer: Trainer) -> Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def plain_loop(config: TrainConfig, steps: int) -> tuple[Tensor, list[float]]:
    """Training as a user writes it."""
    images = load_data(config.source()).images
    model = build_model(config, (1, 16, 16))
    adam = torch.optim.Adam(model.parameters(), lr=config.lr, fused=True)
    noise, objective = torch.Generator().manual_seed(config.seed), build_objective(config)
    order, losses = torch.Generator(), []
    for step in range(1, steps + 1):
        epoch, position = divmod(step - 1, 5)
        order.manual_seed(config.seed * 1_000_003 + epoch)
        indices = torch.randperm(len(images), generator=order)[position * 8 : position * 8 + 8]
        out = model.loss(images[indices], torch.tensor(step), objective, generator=noise)
        adam.zero_grad()
        out.loss.backward()
        adam.step()
        losses.append(out.loss.item() * 256)
    return torch.cat([p.detach().flatten() for p in model.parameters()]), losses


def test_steps_are_those_of_a_plain_loop(trainer: Callable[..., Trainer]):
    ours = trainer(log_every=STEPS)
    for _ in range(STEPS):
        ours.train_step()
    parameters, losses = plain_loop(ours.config, STEPS)
    assert ours.recorder.read()[:, 0].tolist() == losses
    assert torch.equal(parameters_of(ours), parameters)


class Calls(TorchDispatchMode):
    """Every call of an operator, which replaying makes again on the tensors where they are."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, result))
        return result

    def replay(self) -> None:
        """As a CUDA graph does: no Python, the same addresses."""
        for func, args, kwargs, recorded in self.calls:
            for into, value in zip(
                _tensors(recorded), _tensors(func(*args, **kwargs)), strict=True
            ):
                if into.data_ptr() != value.data_ptr():
                    into.copy_(value)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, (list, tuple)):
        return [tensor for element in value for tensor in _tensors(element)]
    return []


SMALL = {"factor": FactorConfig(layers=2, width=16)}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"accumulate": 3},
        {"warmup": 3},
        SHARED,
        {"accumulate": 3, **SHARED},
        {"drawn_gamma": 10.0},
        {"drawn_gamma": 10.0, "accumulate": 3, **SHARED},
        {"objective": "cc-beta"},
        {"objective": "beta-tc"},
        {"objective": "beta-tc", "accumulate": 3},
        {"objective": "factor", **SMALL},
        {"objective": "factor", "accumulate": 3, **SMALL},
    ],
)
def test_a_step_waits_for_nothing_and_can_be_replayed(
    trainer: Callable[..., Trainer], changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    """A CPU's stand-in for a CUDA graph: the recorded calls, repeated, train as the step does."""
    monkeypatch.setattr(
        "fastjvae.model.jointvae.check_unit_interval", lambda *_: None
    )  # on a CPU only
    ours, replayed = (trainer(log_every=STEPS, **changes) for _ in range(2))
    for each in (ours, replayed):
        each.train_step()  # Adam makes its moments
    take = replayed.take
    static = replayed.batches.select(1).clone()
    calls = Calls()
    with torch.no_grad(), take._unchanged(), torch.enable_grad(), calls:
        take.take(static, 1)
    waiting = [call[0] for call in calls.calls if call[0].overloadpacket in WAITING]
    assert waiting == []
    for number in range(1, 5):  # full batches
        ours.train_step()
        static.copy_(replayed.batches.select(number))
        with torch.no_grad():
            calls.replay()
        replayed.recorder.count()
        assert torch.equal(parameters_of(ours), parameters_of(replayed)), number
    assert torch.equal(ours.recorder.read(), replayed.recorder.read())


def test_what_a_step_writes_stays_where_it_is(trainer: Callable[..., Trainer]):
    ours = trainer(log_every=STEPS)
    ours.train_step()

    def addresses() -> list[int]:
        moments = [t for state in ours.optimizer.state.values() for t in state.values()]
        recorder = [ours.recorder._rows, ours.recorder._next]
        written = [*ours.model.parameters(), *moments, ours.take.step, *recorder]
        return [tensor.data_ptr() for tensor in written]

    before = addresses()
    for _ in range(STEPS - 1):
        ours.train_step()
    assert addresses() == before
    assert ours.take.step.item() == STEPS


@pytest.mark.parametrize("changes", [{}, {"objective": "factor", **SMALL}])
def test_a_warm_up_leaves_everything_as_it_was(
    trainer: Callable[..., Trainer], changes: dict[str, Any]
):
    ours, other = trainer(**changes), trainer(**changes)
    take = ours.take
    for begun in (False, True):  # without and with moments of Adam
        with take._unchanged():
            for _ in range(3):
                take.take(ours.batches.select(0), 0)
        for each in (ours, other):
            each.train_step()
        assert torch.equal(parameters_of(ours), parameters_of(other)), begun
        assert torch.equal(ours.recorder.read(), other.recorder.read())


COMPILED = dict(some([("shared", SHARED), ("joint", {}), ("drawn", {"drawn_gamma": 10.0})], few=1))


@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(not has_compiler(), reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("changes", COMPILED.values(), ids=COMPILED)
def test_a_compiled_step_agrees(
    trainer: Callable[..., Trainer], capsys: Any, changes: dict[str, Any]
):
    ours, compiled = (trainer(log_every=STEPS, compile=each, **changes) for each in (False, True))
    for each in (ours, compiled):
        for _ in range(STEPS):
            each.train_step()
    assert compiled.take.compiled
    assert "goes on without" not in capsys.readouterr().err
    torch.testing.assert_close(compiled.recorder.read(), ours.recorder.read(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [RuntimeError, AssertionError])
def test_training_goes_on_where_compiling_fails(
    trainer: Callable[..., Trainer],
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    kind: type[Exception],
):
    def broken(module: Any, fullgraph: bool) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            module(*arguments)  # has drawn its noise by then
            raise kind("no compiler found\nand a long trace")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    ours, plain = trainer(compile=True), trainer()
    assert torch.equal(steps_of(ours), steps_of(plain))
    assert capsys.readouterr().err == (
        "fastjvae: training goes on without torch.compile: no compiler found\n"
    )


def test_parts_are_not_compiled(trainer: Callable[..., Trainer], capsys: Any):
    ours = trainer(compile=True, accumulate=2)
    assert "torch.compile takes whole batches" in capsys.readouterr().err
    assert not ours.take.compiled


def test_half_precision_of_the_networks_stays_near(
    trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("fastjvae.training.device.cpu_has_bfloat16", lambda: True)
    ours, half = trainer(log_every=STEPS), trainer(log_every=STEPS, precision="bf16")
    for each in (ours, half):
        for _ in range(STEPS):
            each.train_step()
    mine, theirs = half.recorder.read()[:, 1], ours.recorder.read()[:, 1]
    assert not torch.equal(mine, theirs)
    torch.testing.assert_close(mine[:3], theirs[:3], rtol=1e-4, atol=0)
    torch.testing.assert_close(mine, theirs, rtol=2e-2, atol=0)
    assert half.model.dtype == torch.float32
    assert about(half.config, half.model, {}, half.precision)["numerics"]["precision"] == "bf16"


def test_a_cpu_without_bfloat16_trains_in_float32_and_says_so(
    trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.setattr("fastjvae.training.device.cpu_has_bfloat16", lambda: False)
    ours, asked = trainer(), trainer(precision="bf16")
    assert capsys.readouterr().err == (
        "fastjvae: this CPU has neither AVX512-BF16 nor AMX: instead of --precision bf16"
        " fp32 runs\n"
    )
    for each in (ours, asked):
        for _ in range(STEPS):
            each.train_step()
    assert torch.equal(parameters_of(ours), parameters_of(asked))
    assert about(asked.config, asked.model, {}, asked.precision)["numerics"]["precision"] == "fp32"


def test_tf32_needs_a_gpu(trainer: Callable[..., Trainer]):
    with pytest.raises(ArgumentError, match="--precision tf32 needs a GPU, this run is on cpu"):
        trainer(precision="tf32")


def test_the_numerics_are_recorded(trainer: Callable[..., Trainer]):
    ours = trainer()
    numerics = about(ours.config, ours.model, {})["numerics"]
    assert numerics["precision"] == "fp32"
    assert set(numerics) == {"precision", "matmul_tf32", "cudnn_tf32"}


# --- where images come from -----------------------------------------------------------------------


def test_streamed_images_train_as_resident_ones(
    tmp_path: Path, trainer: Callable[..., Trainer], data: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "images.npy"
    np.save(path, load_data(tiny_config(data).source()).images.numpy())
    resident = trainer()
    monkeypatch.setattr("fastjvae.data.memory.fits", lambda *_: False)
    streamed = trainer(data_root=str(path))
    assert isinstance(streamed.batches, StreamedBatches)
    with streamed.batches:
        assert torch.equal(steps_of(streamed), steps_of(resident))


def loader_of(data: Path, floats: bool = False) -> DataLoader[Any]:
    images = load_data(tiny_config(data).source()).images
    dataset = TensorDataset(images / 255 if floats else images, torch.arange(len(images)))
    return DataLoader(dataset, batch_size=6, shuffle=True)


@pytest.mark.parametrize("floats", [False, True])
def test_a_loader_trains_and_resumes_bitwise(data: Path, tmp_path: Path, floats: bool):
    config = tiny_config(data)

    def run(folder: str, steps: int) -> Trainer:
        changed = dataclasses.replace(config, steps=steps)
        whole = RunFolder(tmp_path / folder)
        resuming = (tmp_path / folder).exists()
        trainer = Trainer(changed, loader_of(data, floats), whole, resuming=resuming)
        assert trainer.train()
        return trainer

    once = run("once", 13)
    assert once.batches.steps_per_epoch == 7
    run("twice", 9)
    twice = run("twice", 13)
    assert torch.equal(parameters_of(once), parameters_of(twice))
    last = [read_metrics(RunFolder(tmp_path / name))[-1] for name in ("once", "twice")]
    assert last[0]["loss"] == last[1]["loss"]


# --- learning rates ------------------------------------------------------------------------------


@pytest.mark.parametrize("warmup", [1, 4])
def test_the_learning_rate_grows_from_zero(trainer: Callable[..., Trainer], warmup: int):
    ours = trainer(warmup=warmup)
    rates = []
    for _ in range(STEPS):
        ours.train_step()
        rates.append(float(ours.optimizer.param_groups[0]["lr"]))
    full = ours.config.lr
    assert rates == pytest.approx([full * min(1.0, step / warmup) for step in range(1, STEPS + 1)])


def test_a_warm_up_of_one_step_has_the_full_rate_at_once(trainer: Callable[..., Trainer]):
    full = steps_of(trainer())
    torch.testing.assert_close(steps_of(trainer(warmup=1)), full, rtol=1e-4, atol=1e-6)
    slower = steps_of(trainer(warmup=4))
    assert not torch.allclose(slower, full, rtol=1e-4, atol=1e-6)


def test_a_warm_up_goes_on_after_a_resume(data: Path, tmp_path: Path):
    config = tiny_config(data, warmup=4, steps=STEPS)
    images = load_data(config.source())
    whole = Trainer(config, images, RunFolder(tmp_path / "whole"))
    steps_of(whole)
    run = RunFolder(tmp_path / "halves")
    first = Trainer(config, images, run)
    steps_of(first, 2)
    first.save()
    second = Trainer(config, images, run)
    assert second.step == 2
    assert torch.equal(steps_of(second, STEPS - 2), parameters_of(whole))
