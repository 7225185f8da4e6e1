from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from runs import stop_at, trainer_of
from tiny_runs import tiny_config, write_arrays

from fastjvae.errors import (
    DataError,
    NonFiniteLossError,
)
from fastjvae.model.checkpoint import read_checkpoint
from fastjvae.training.loss_checks import read_checked


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


@pytest.mark.parametrize("at", [3, 7])
def test_a_loss_that_is_not_finite_stops_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
):
    trainer = trainer_of(tiny_config(data), tmp_path / "run")

    def poison() -> None:
        with torch.no_grad():  # the next step's logvar of unit 1
            trainer.model.encoder.head.bias[3] = float("nan")

    stop_at(trainer, at - 1, poison, monkeypatch)
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
    trainer = trainer_of(tiny_config(data), tmp_path / "run")

    def poison() -> None:
        with torch.no_grad():
            trainer.model.decoder.features_to_image[0].bias[0] = float("inf")

    stop_at(trainer, 10, poison, monkeypatch)
    with pytest.raises(
        NonFiniteLossError, match=r"after step 10: decoder.features_to_image.0.bias"
    ):
        trainer.train()
    assert read_checkpoint(tmp_path / "run" / "checkpoint.pt")["step"] == 5


def test_a_reconstruction_below_0_ends_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As on a GPU, where nothing looks at the images of a step."""
    trainer = trainer_of(tiny_config(data), tmp_path / "run")
    append = trainer.recorder.append

    def written(numbers: dict[str, torch.Tensor], **others: Any) -> None:
        taken = int(trainer.device_step)  # without the step that is written
        wrong = numbers["reconstruction"] - 1e4 * (taken == 5)
        append({**numbers, "reconstruction": wrong}, **others)

    monkeypatch.setattr(trainer.recorder, "append", written)
    with pytest.raises(DataError, match=r"reconstruction at step 6 is -9\d+ nats, .* normalise$"):
        trainer.train()
    assert read_checkpoint(tmp_path / "run" / "checkpoint.pt")["step"] == 5


def test_large_parameters_are_no_error(data: Path, tmp_path: Path):
    """Their norm is beyond float32, they are not."""
    trainer = trainer_of(tiny_config(data), tmp_path / "run")
    unused = torch.nn.Parameter(torch.full((4,), 3e38))
    trainer.model.register_parameter("unused", unused)
    assert torch._foreach_norm([unused.detach()])[0].isinf()
    rows = read_checked(trainer.recorder, trainer.model, trainer.objective, 0, trainer.run)
    assert len(rows) == 0
    with torch.no_grad():
        unused[1] = float("nan")
    with pytest.raises(NonFiniteLossError, match=r"after step 0: unused; "):
        read_checked(trainer.recorder, trainer.model, trainer.objective, 0, trainer.run)


def test_a_log_line_is_one_copy_from_the_device(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    trainer = trainer_of(tiny_config(data, checkpoint_every=4), tmp_path / "run")
    copied: list[tuple[int, ...]] = []
    copy = torch.Tensor.cpu

    def cpu(tensor: torch.Tensor) -> torch.Tensor:
        copied.append(tuple(tensor.shape))
        return copy(tensor)

    for _ in range(4):
        trainer.train_step()
    columns, parameters = len(trainer.recorder.names), len(list(trainer.model.parameters()))
    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    trainer._read_record(0.0)
    assert copied == [(4 * columns + parameters,)]
    trainer.save()  # reads no parameter again, and no row but for the file
    assert copied[1:] == [(0,)]
