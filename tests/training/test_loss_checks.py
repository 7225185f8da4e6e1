from __future__ import annotations

from pathlib import Path

import pytest
import torch
from runs import stop_at, trainer_of
from tiny_runs import tiny_config, write_arrays

from fastjvae.errors import (
    DataError,
    NonFiniteLossError,
)
from fastjvae.model.checkpoint import read_checkpoint


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

    def written(numbers: dict[str, torch.Tensor]) -> None:
        step = int(trainer.device_step)
        wrong = numbers["reconstruction"] - 1e4 * (step == 6)
        append({**numbers, "reconstruction": wrong})

    monkeypatch.setattr(trainer.recorder, "append", written)
    with pytest.raises(DataError, match=r"reconstruction at step 6 is -9\d+ nats, .* normalise$"):
        trainer.train()
    assert read_checkpoint(tmp_path / "run" / "checkpoint.pt")["step"] == 5
