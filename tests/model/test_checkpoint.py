from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from saved import SPEC, checkpoint_state, cut, same, small_model

from fastjvae import load
from fastjvae.errors import CheckpointError
from fastjvae.model.checkpoint import find_checkpoint, read_checkpoint, write_checkpoint


def test_the_previous_checkpoint_is_kept(tmp_path: Path):
    assert find_checkpoint(tmp_path) is None
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, checkpoint_state(step))
    current, previous = tmp_path / "checkpoint.pt", tmp_path / "checkpoint.previous.pt"
    assert read_checkpoint(current)["step"] == 3
    assert read_checkpoint(previous)["step"] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == [previous.name, current.name]
    assert find_checkpoint(tmp_path) == current
    current.unlink()  # as a kill between the two renames leaves it
    assert find_checkpoint(tmp_path) == previous
    assert load(tmp_path).latent_spec == SPEC


def test_a_damaged_checkpoint_names_the_intact_one_before_it(tmp_path: Path):
    for step in (1, 2):
        write_checkpoint(tmp_path, checkpoint_state(step))
    current = tmp_path / "checkpoint.pt"
    cut(current)
    with pytest.raises(CheckpointError, match=r"truncated: .*before it is .*previous.pt"):
        read_checkpoint(current)


def test_a_flipped_bit_is_noticed(tmp_path: Path):
    write_checkpoint(tmp_path, checkpoint_state(1))
    current = tmp_path / "checkpoint.pt"
    content = bytearray(current.read_bytes())
    content[len(content) // 2] ^= 1  # inside a tensor
    current.write_bytes(content)
    torch.load(current, weights_only=True)  # does not notice
    with pytest.raises(CheckpointError, match="checksum"):
        read_checkpoint(current)


def test_foreign_checkpoints_are_refused(tmp_path: Path):
    current = tmp_path / "checkpoint.pt"
    torch.save({"model": {}}, current)
    with pytest.raises(CheckpointError, match="not a training checkpoint"):
        read_checkpoint(current)
    torch.save({"format": "fastjvae-checkpoint-1", "step": 3}, current)
    with pytest.raises(CheckpointError, match="it lacks config, data, metrics, model"):
        read_checkpoint(current)
    current.write_text("hello")
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        read_checkpoint(current)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path):
    class Malicious:
        def __reduce__(self) -> Any:
            return (print, ("code ran",))

    current = tmp_path / "checkpoint.pt"
    torch.save({"format": "fastjvae-checkpoint-1", "step": Malicious()}, current)
    with pytest.raises(CheckpointError, match="holds a pickled 'print' and not tensors alone"):
        read_checkpoint(current)


def test_the_models_tensors_are_contiguous_in_a_checkpoint(tmp_path: Path):
    model = small_model().to(memory_format=torch.channels_last)
    write_checkpoint(tmp_path, {**checkpoint_state(1), "model": model.state_dict()})
    state = read_checkpoint(tmp_path / "checkpoint.pt")["model"]
    assert all(tensor.is_contiguous() for tensor in state.values())
    assert same(load(tmp_path), model)


DAMAGES: dict[str, Any] = {
    "cut": cut,
    "no archive": lambda path: path.write_text("hello"),
    "another pickle": lambda path: torch.save(torch.nn.Linear(1, 1), path),
    "a tensor": lambda path: torch.save(torch.zeros(3), path),
    "another format": lambda path: torch.save({"format": "x"}, path),
    "parts are missing": lambda path: torch.save({"format": "fastjvae-checkpoint-1"}, path),
    "no step": lambda path: torch.save({**torch.load(path), "step": "x"}, path),
    "a step before the first": lambda path: torch.save({**torch.load(path), "step": -1}, path),
    "a step after the last": lambda path: torch.save({**torch.load(path), "step": 10**30}, path),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_whatever_is_wrong_the_intact_checkpoint_before_is_named(tmp_path: Path, damage: Any):
    for step in (1, 2):
        write_checkpoint(tmp_path, checkpoint_state(step))
    damage(tmp_path / "checkpoint.pt")
    for read in (read_checkpoint, lambda path: load(path), lambda path: load(tmp_path)):
        with pytest.raises(CheckpointError, match=r"checkpoint.pt.*before it is .*previous.pt$"):
            read(tmp_path / "checkpoint.pt")
    cut(tmp_path / "checkpoint.previous.pt")
    with pytest.raises(CheckpointError) as error:
        load(tmp_path)
    assert "before it" not in str(error.value)


def test_an_archive_that_grows_is_refused(tmp_path: Path):
    write_checkpoint(tmp_path, checkpoint_state(1))
    path = tmp_path / "checkpoint.pt"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(
        CheckpointError, match=r"checkpoint.pt is damaged: \d+ bytes are packed into"
    ):
        load(tmp_path)
