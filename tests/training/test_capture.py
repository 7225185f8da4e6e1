"""What is around the capture of a step, in which order, and what is left where it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from cuda_stand_ins import Streams
from tiny_runs import tiny_config, write_arrays

from fastjvae.data import load as load_data
from fastjvae.training.capture import capture
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.trainer import Trainer


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Streams:
    found = Streams()
    found.patch(monkeypatch)
    return found


@pytest.fixture
def trainer(tmp_path: Path) -> Callable[..., Trainer]:
    def make(**changes: Any) -> Trainer:
        config = tiny_config(write_arrays(tmp_path), **changes)
        return Trainer(config, load_data(config.source()), RunFolder(tmp_path / "run"))

    return make


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"warmup": 3},
        {"objective": "factor"},
        {"drawn_gamma": 10.0},
        {"labelled": 12, "augment": 0.5},
        {"networks": "triton", "batch_size": 2},
    ],
)
def test_everything_around_a_capture_is_ordered(
    streams: Streams, trainer: Callable[..., Trainer], changes: dict[str, Any]
):
    ours = trainer(**changes)
    take = ours.take
    for number in range(2):
        take.take(ours.batches.select(number), number)
    streams.synchronize()
    with torch.no_grad(), streams:
        selected = ours.batches.select(2)
        with torch.enable_grad():
            captured = take._capture(selected, 2)
            captured.replay(selected)
            take.take(selected, 2)  # what a replay reads and writes
    assert len(streams.all) == 2
    assert streams.all[1].clock[1] > 100  # the warm-up ran there
    assert streams.unordered == []


def test_what_is_not_ordered_is_found(streams: Streams):
    side, tensor = streams.new(), torch.zeros(3)
    with streams:
        tensor.add_(1)
        with streams.on(side):
            tensor.add_(1)
        tensor.sum()
        streams.current.wait_stream(side)
        tensor.sum()
    assert streams.unordered == [
        "aten.add_.Tensor on stream 1 may come before aten.add_.Tensor on stream 0",
        "aten.sum.default on stream 0 may come before aten.add_.Tensor on stream 1",
    ]


@contextmanager
def unchanged() -> Iterator[None]:
    yield


def test_a_capture_that_fails_leaves_stream_and_generators(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
):
    """As torch.cuda.graph does where the end of the capture fails as well."""

    @contextmanager
    def invalidated(_graph: Any, *, stream: Any, **_: Any) -> Iterator[None]:
        streams.current = stream
        try:
            yield
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    monkeypatch.setattr(torch.cuda, "graph", invalidated)
    renewed = []

    class Generator:
        def clone_state(self) -> str:
            return "as it was"

        def graphsafe_set_state(self, state: str) -> None:
            renewed.append((self, state))

    default, own = Generator(), Generator()
    monkeypatch.setattr(torch.cuda, "default_generators", {None: default})
    main, calls = streams.current, []
    with pytest.raises(RuntimeError, match="previous error"):
        capture(calls.append, torch.zeros(2), unchanged=unchanged, generators=[own])  # type: ignore[list-item]
    assert streams.current is main
    assert renewed == [(default, "as it was"), (own, "as it was")]


def test_a_step_that_waits_for_the_device_is_refused_before_the_capture(
    streams: Streams, monkeypatch: pytest.MonkeyPatch
):
    modes: list[Any] = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def reads(_selected: torch.Tensor) -> None:
        assert not streams.capturing
        if modes == ["error"]:
            raise RuntimeError("called a synchronizing CUDA operation")

    with pytest.raises(RuntimeError, match=r"the step waits for the device, as \.item\(\)"):
        capture(reads, torch.zeros(2), unchanged=unchanged, generators=[])
    assert modes == ["error", 0]
    main, side = streams.all
    assert streams.current is main
    assert main.clock[side.number] == side.clock[side.number]  # before anything is put back


def test_training_goes_on_where_a_capture_fails(
    streams: Streams,
    trainer: Callable[..., Trainer],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    plain = trainer()
    other = trainer()
    take = other.take
    take.graph = True

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no capture\nand a long trace")

    monkeypatch.setattr(torch.cuda, "graph", broken)
    monkeypatch.setattr(
        "fastjvae.training.capture._renew", lambda *_: None
    )  # a CPU's know no captures
    for each in (plain, other):
        each.train_step()
        each.train_step()
    assert capsys.readouterr().err == (
        "fastjvae: training goes on without a CUDA graph: no capture\n"
    )
    assert not take.graph
    for mine, right in zip(other.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(mine, right)
    assert torch.equal(other.recorder.read(), plain.recorder.read())
