from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from saved import SIZE, edit, same, small_model

from fastjvae import load, load_published
from fastjvae.errors import ArgumentError, CheckpointError
from fastjvae.model.export import save_published


def test_load_says_what_it_found(tmp_path: Path):
    with pytest.raises(CheckpointError, match="no such file or folder"):
        load(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="an empty folder"):
        load(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(CheckpointError, match=r"\['notes.txt'\]"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match=r"notes.txt is damaged or not a PyTorch file"):
        load(tmp_path / "notes.txt")


def test_a_model_is_loaded_to_a_device(tmp_path: Path):
    small_model().save_pretrained(tmp_path)
    for device in ("cpu", "auto", torch.device("cpu")):
        assert load(tmp_path, device=device).device.type in ("cpu", "cuda")
    with pytest.raises(ArgumentError, match=r"the device must be cpu, .* or auto, got 'gpu'"):
        load(tmp_path, device="gpu")


def test_prefixes_of_wrappers_do_not_count(tmp_path: Path):
    model = small_model()
    (tmp_path / "specs.json").write_text(json.dumps({"img_size": SIZE}))
    for state in (model.published_state_dict(), model.state_dict()):
        for prefix in ("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."):
            prefixed = {prefix + key: tensor for key, tensor in state.items()}
            other = small_model()
            other.load_state_dict(prefixed)
            assert same(model, other)
    torch.save(prefixed, tmp_path / "ours.pt")
    with pytest.raises(CheckpointError, match=r"JointVAE, which does not tell the sizes"):
        load(tmp_path / "ours.pt")
    published = {f"module.{k}": tensor for k, tensor in model.published_state_dict().items()}
    torch.save(published, tmp_path / "model.pt")
    assert same(model, load(tmp_path / "model.pt"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.nn.Linear(2, 2), "holds a pickled 'torch.nn.modules.linear.Linear' and not tensors"),
        (
            torch.zeros(2, 3),
            r"it holds a single tensor of shape \(2, 3\); save the model.state_dict",
        ),
        ([torch.zeros(2)], "it holds a list"),
        ({"epoch": 3, "state": {}}, r"it holds a dict of \['epoch', 'state'\]"),
        ({1: torch.zeros(2)}, r"it holds a dict of \[1\]"),
        ({"x": torch.zeros(2, device="meta")}, "strided on meta, and not all of its numbers"),
        ({"x": torch.eye(2).to_sparse()}, "sparse_coo on cpu, and not all of its numbers"),
    ],
)
def test_what_a_foreign_file_holds_is_said(tmp_path: Path, value: Any, message: str):
    torch.save(value, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=f"x.pt.*{message}") as error:
        load(tmp_path / "x.pt")
    assert "\n" not in str(error.value)


def test_a_small_file_makes_no_large_model(tmp_path: Path):
    small_model().save_pretrained(tmp_path)
    save_published(small_model(), tmp_path, {})
    state = torch.load(tmp_path / "model.pt")
    wide = {**state, "img_to_features.0.weight": torch.zeros(1).expand(10**6, 10**6)}
    torch.save(wide, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"model.pt is damaged: a tensor of shape .* bytes"):
        load_published(tmp_path)
    torch.save(state, tmp_path / "model.pt")
    edit(tmp_path / "specs.json", {"img_size": [2, 1024, 1024]})
    with pytest.raises(CheckpointError, match=r"model.pt holds the weights of another model"):
        load_published(tmp_path)
    edit(tmp_path / "specs.json", {"img_size": [2, 100_004, 100_004]})
    with pytest.raises(CheckpointError, match=r"specs.json: the networks for images of 100004x"):
        load_published(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())["model"]
    edit(tmp_path / "config.json", {"model": {**config, "img_size": [2, 1024, 1024]}})
    with pytest.raises(CheckpointError, match=r"model.safetensors holds the weights of another"):
        load(tmp_path)
