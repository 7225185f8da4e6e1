"""A training step on a GPU: captured, without waiting, and going on where it cannot be captured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import SHARED, tiny_config, write_arrays
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.gpu.variants import VARIANTS
from benchmarks.training.agreement import check_agreement, trainer_outcomes
from benchmarks.training.problems import problem_of
from fastjvae import Capacity, JointObjective
from fastjvae.data import load as load_data
from fastjvae.data.batches import StreamedBatches
from fastjvae.training.capture import refused_waiting
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.objective import FactorConfig
from fastjvae.training.trainer import Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]

STEPS = 13  # of 6 an epoch, whose last batch is smaller
# On the small images of these tests; "compiled" is a parameter of its own.
SMALL: dict[str, dict[str, Any]] = {
    "shared": {**SHARED, "batch_size": 14},
    "factor": {"factor": FactorConfig(layers=2, width=16)},
}
KINDS = {
    name: {**changes, **SMALL.get(name, {})}
    for name, changes in VARIANTS.items()
    if name != "compiled"
}


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., Trainer]:
    made: list[Trainer] = []
    arrays = write_arrays(tmp_path)

    def make(data: Any = None, objective: Any = None, **changes: Any) -> Trainer:
        settings = {"device": "cuda", "log_every": STEPS, "batch_size": 7, **changes}
        config = tiny_config(arrays, **settings)
        run = RunFolder(tmp_path / f"run{len(made)}")
        data = load_data(config.source()) if data is None else data
        made.append(Trainer(config, data, run, objective=objective))
        return made[-1]

    return make


def parameters_of(trainer: Trainer) -> Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.mark.filterwarnings("ignore")  # a compiler's own
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_a_captured_step_trains_as_the_plain_one(
    trainer: Callable[..., Trainer], capsys: Any, compiled: bool, name: str
):
    if compiled and name == "accumulate":
        pytest.skip("parts are not compiled")
    plain, graph = (
        trainer(cuda_graph=each, compile=compiled, **KINDS[name]) for each in (False, True)
    )
    for each in (plain, graph):
        for _ in range(STEPS):
            each.train_step()
    assert "goes on without" not in capsys.readouterr().err
    assert len(graph.take._prepared) == 2
    assert all(graph.take._prepared.values())
    tolerance = 1e-2 if name in ("bf16", "tf32") else 1e-4
    torch.testing.assert_close(
        graph.recorder.read(), plain.recorder.read(), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("name", KINDS)
def test_neither_selection_nor_step_waits(trainer: Callable[..., Trainer], name: str):
    ours = trainer(cuda_graph=False, **KINDS[name])
    for _ in range(2):
        ours.train_step()
    with refused_waiting():
        for _ in range(2):  # within an epoch: a new one orders its images
            ours.train_step()


def test_a_warm_up_leaves_everything_as_it_was(trainer: Callable[..., Trainer]):
    """Large enough for the warm-up to be at work while the host is done with its capture."""
    data = torch.randint(0, 256, (2_048, 3, 64, 64), dtype=torch.uint8)
    loader = DataLoader(TensorDataset(data), batch_size=2_048)
    ours = trainer(loader)
    for _ in range(3):
        before = parameters_of(ours)
        ours.take._capture(ours.batches.select(0), 0)
        torch.cuda.synchronize()
        assert torch.equal(parameters_of(ours), before)
        moments = [m for state in ours.optimizer.state.values() for m in state.values()]
        assert all(not m.any() for m in moments)
        assert int(ours.take.step) == 0


class Reads:
    """The paper's objective, and a number that the host reads."""

    def __init__(self) -> None:
        capacity = Capacity(0, 5, 100, 30)
        self._inner = JointObjective(cont=capacity, disc=capacity)

    def loss(self, model: Any, x: Tensor, step: Tensor, noise: Any) -> Any:
        out = self._inner.loss(model, x, step, noise)
        out.loss.item()
        return out


def test_an_objective_that_reads_trains_without_a_graph(
    trainer: Callable[..., Trainer], capsys: Any
):
    ours = trainer(objective=Reads())
    assert ours.train()
    assert "without a CUDA graph: the step waits for the device" in capsys.readouterr().err
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    torch.rand(2, device="cuda")  # the default generator is in no capture
    ours.noise.get_state()


def test_a_capture_that_fails_leaves_stream_and_generators(
    trainer: Callable[..., Trainer], capsys: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("fastjvae.training.capture.refused_waiting", torch.enable_grad)
    ours = trainer(objective=Reads())
    assert ours.train()
    assert "goes on without a CUDA graph" in capsys.readouterr().err
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    torch.rand(2, device="cuda")


def test_a_loader_that_pins_memory_does_not_end_a_capture(
    trainer: Callable[..., Trainer], capsys: Any
):
    images = torch.randint(0, 256, (4_000, 1, 16, 16), dtype=torch.uint8)
    loader = DataLoader(TensorDataset(images), 64, shuffle=True, pin_memory=True, num_workers=2)
    ours = trainer(loader, steps=40)
    assert ours.train()
    assert "goes on without" not in capsys.readouterr().err


def test_streamed_images_are_captured(
    trainer: Callable[..., Trainer], capsys: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda *_: (0, 0))
    ours = trainer()
    assert isinstance(ours.batches, StreamedBatches)
    assert ours.train()
    assert "goes on without" not in capsys.readouterr().err


@pytest.mark.parametrize("devices", [("cpu", "cuda"), ("cuda", "cpu"), ("cuda", "cuda")])
def test_a_run_goes_on_on_another_device(
    tmp_path: Path, trainer: Callable[..., Trainer], capsys: Any, devices: tuple[str, str]
):
    first = trainer(device=devices[0], steps=6, warmup=3)
    assert first.train()
    config = dataclasses.replace(first.config, device=devices[1], steps=STEPS)
    second = Trainer(config, load_data(config.source()), first.run, resuming=True)
    assert second.step == 6
    assert second.train()
    assert "goes on without" not in capsys.readouterr().err
    flags = second.optimizer.param_groups[0]
    assert flags["capturable"] is (devices[1] == "cuda")


def test_the_trainer_agrees_with_itself_on_the_reference():
    ours, right = trainer_outcomes(problem_of("32x32x1", 64))
    assert check_agreement("the trainer", ours, right) <= 1
