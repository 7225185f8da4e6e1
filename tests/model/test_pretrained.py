from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from saved import SIZE, SPEC, cut, edit, same, small_model

from fastjvae import JointVAE, load
from fastjvae.errors import ArgumentError, CheckpointError


def test_save_pretrained_round_trips(tmp_path: Path):
    model = small_model()
    model.save_pretrained(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    for loaded in (JointVAE.from_pretrained(tmp_path / "model"), load(tmp_path / "model")):
        assert same(model, loaded)
        assert (loaded.img_size, loaded.latent_spec, loaded.temperature) == (SIZE, SPEC, 0.5)


def test_from_pretrained_makes_the_subclass(tmp_path: Path):
    class Own(JointVAE):
        pass

    small_model().save_pretrained(tmp_path)
    assert type(Own.from_pretrained(tmp_path)) is Own


def test_a_subclass_keeps_what_it_adds(tmp_path: Path):
    class Classifying(JointVAE):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.classes = torch.nn.Linear(self.latent_dim, 2)

    model = Classifying(SIZE, SPEC, 0.5)
    model.save_pretrained(tmp_path)
    loaded = Classifying.from_pretrained(tmp_path)
    assert torch.equal(loaded.classes.weight, model.classes.weight)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_parameters_keep_their_type(tmp_path: Path, dtype: torch.dtype):
    model = small_model().to(dtype)
    model.save_pretrained(tmp_path)
    loaded = JointVAE.from_pretrained(tmp_path)
    assert loaded.dtype == dtype
    assert same(model, loaded)


def test_from_pretrained_is_strict(tmp_path: Path):
    from safetensors.torch import load_file, save_file

    small_model().save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    del tensors["encoder.head.bias"]
    save_file(tensors, weights)
    with pytest.raises(CheckpointError, match=r"another model: .*encoder.head.bias"):
        JointVAE.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda d: cut(d / "model.safetensors"),
            r"model.safetensors cannot be read or is damaged",
        ),
        (lambda d: (d / "model.safetensors").unlink(), r"model.safetensors is missing"),
        (lambda d: (d / "config.json").unlink(), r"config.json is missing"),
        (lambda d: cut(d / "config.json"), r"config.json is not readable JSON"),
        (lambda d: (d / "config.json").write_text("[]"), r"format .*, got 'list'"),
        (lambda d: edit(d / "config.json", {"format": "x"}), r"format .*, got 'x'"),
        (lambda d: edit(d / "config.json", {"model": {}}), r"describes no JointVAE"),
        (
            lambda d: edit(
                d / "config.json",
                {"model": {"img_size": SIZE, "latent_spec": {"disc": [1]}, "temperature": 1.0}},
            ),
            r"describes no JointVAE: discrete sizes",
        ),
    ],
)
def test_a_damaged_saved_model_is_named(tmp_path: Path, damage: Any, message: str):
    small_model().save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message) as error:
        JointVAE.from_pretrained(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_hub_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    small_model().save_pretrained(tmp_path / "hub")
    calls: list[Any] = []

    class HfApi:
        def create_repo(self, repo_id: str, exist_ok: bool) -> Any:
            assert exist_ok
            return SimpleNamespace(repo_id=f"me/{repo_id}")

        def upload_folder(self, **arguments: Any) -> None:
            calls.append(arguments)

    def snapshot_download(repo_id: str, **arguments: Any) -> str:
        calls.append((repo_id, arguments))
        if repo_id == "user/absent":
            raise errors.HfHubHTTPError("404 Client Error\nRequest id")
        return str(tmp_path / "hub")

    errors = SimpleNamespace(
        HfHubHTTPError=type("HfHubHTTPError", (Exception,), {}),
        HFValidationError=type("HFValidationError", (Exception,), {}),
    )
    hub = ModuleType("huggingface_hub")
    hub.__dict__.update(HfApi=HfApi, snapshot_download=snapshot_download, errors=errors)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.chdir(tmp_path)

    model = JointVAE.from_pretrained("user/digits", hub=True, revision="v1")
    files = ["config.json", "model.safetensors"]
    assert calls.pop() == ("user/digits", {"revision": "v1", "allow_patterns": files})
    model.save_pretrained("digits", push_to_hub=True)
    assert same(load("digits"), model)
    upload = calls.pop()
    assert (upload["repo_id"], str(upload["folder_path"])) == ("me/digits", "digits")
    assert upload["allow_patterns"] == files
    with pytest.raises(CheckpointError, match=r"user/absent is neither .*: 404 Client Error$"):
        JointVAE.from_pretrained("user/absent", hub=True)
    calls.clear()
    with pytest.raises(
        CheckpointError, match=r"digitz is no folder; .* from the Hub give hub=True"
    ):
        JointVAE.from_pretrained("user/digitz")
    with pytest.raises(ArgumentError, match=r"revision is of a Hub repository: .* got 'v1'"):
        JointVAE.from_pretrained("digits", revision="v1")
    assert not calls
    assert same(load("user/digits", hub=True), model)


def test_hub_without_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ArgumentError, match=r"fastjvae\[hub\]"):
        JointVAE.from_pretrained("user/digits", hub=True)


def test_loaded_models_are_in_evaluation_mode(tmp_path: Path):
    small_model().save_pretrained(tmp_path)
    assert not JointVAE.from_pretrained(tmp_path).training
