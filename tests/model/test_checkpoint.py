from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from fastjvae import JointVAE, load, load_published
from fastjvae.errors import ArgumentError, CheckpointError
from fastjvae.model import checkpoint, pretrained

SPEC = {"cont": 3, "disc": [4, 2]}
SIZE = (2, 16, 20)


def _model() -> JointVAE:
    return JointVAE(SIZE, SPEC, temperature=0.5)


def _same(first: JointVAE, second: JointVAE) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


# --- saved models -------------------------------------------------------------------------------


def test_save_pretrained_round_trips(tmp_path: Path):
    model = _model()
    model.save_pretrained(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    for loaded in (JointVAE.from_pretrained(tmp_path / "model"), load(tmp_path / "model")):
        assert _same(model, loaded)
        assert (loaded.img_size, loaded.latent_spec, loaded.temperature) == (SIZE, SPEC, 0.5)


def test_from_pretrained_makes_the_subclass(tmp_path: Path):
    class Own(JointVAE):
        pass

    _model().save_pretrained(tmp_path)
    assert type(Own.from_pretrained(tmp_path)) is Own


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_parameters_keep_their_type(tmp_path: Path, dtype: torch.dtype):
    model = _model().to(dtype)
    model.save_pretrained(tmp_path)
    loaded = JointVAE.from_pretrained(tmp_path)
    assert loaded.dtype == dtype
    assert _same(model, loaded)


def test_from_pretrained_is_strict(tmp_path: Path):
    from safetensors.torch import load_file, save_file

    _model().save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    del tensors["encoder.head.bias"]
    save_file(tensors, weights)
    with pytest.raises(CheckpointError, match=r"another model: .*encoder.head.bias"):
        JointVAE.from_pretrained(tmp_path)


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _edit(path: Path, change: dict[str, Any]) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda d: _cut(d / "model.safetensors"),
            r"model.safetensors cannot be read or is damaged",
        ),
        (lambda d: (d / "model.safetensors").unlink(), r"model.safetensors is missing"),
        (lambda d: (d / "config.json").unlink(), r"config.json is missing"),
        (lambda d: _cut(d / "config.json"), r"config.json is not readable JSON"),
        (lambda d: (d / "config.json").write_text("[]"), r"format .*, got 'list'"),
        (lambda d: _edit(d / "config.json", {"format": "x"}), r"format .*, got 'x'"),
        (lambda d: _edit(d / "config.json", {"model": {}}), r"describes no JointVAE"),
        (
            lambda d: _edit(
                d / "config.json",
                {"model": {"img_size": SIZE, "latent_spec": {"disc": [1]}, "temperature": 1.0}},
            ),
            r"describes no JointVAE: discrete sizes",
        ),
    ],
)
def test_a_damaged_saved_model_is_named(tmp_path: Path, damage: Any, message: str):
    _model().save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message) as error:
        JointVAE.from_pretrained(tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


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


# --- hub ----------------------------------------------------------------------------------------


def test_hub_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _model().save_pretrained(tmp_path / "hub")
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
    assert _same(load("digits"), model)
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
    assert _same(load("user/digits", hub=True), model)


def test_hub_without_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ArgumentError, match=r"fastjvae\[hub\]"):
        JointVAE.from_pretrained("user/digits", hub=True)


# --- export -------------------------------------------------------------------------------------


def test_export_to_the_published_form(tmp_path: Path):
    model = _model().eval()
    checkpoint.save_published(model, tmp_path, {"dataset": "mnist", "lr": [5e-4]})
    specs = json.loads((tmp_path / "specs.json").read_text())
    assert specs["latent_spec"] == SPEC
    assert specs["dataset"] == "mnist"
    loaded = load_published(tmp_path)
    assert _same(model, loaded)
    assert loaded.temperature == 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_export_computes_the_same(tmp_path: Path, dtype: torch.dtype):
    model = _model().eval().to(dtype)
    checkpoint.save_exported(model, tmp_path)
    x = torch.rand(5, *SIZE, dtype=dtype)
    encoder = torch.export.load(str(tmp_path / "encoder.pt2")).module()
    decoder = torch.export.load(str(tmp_path / "decoder.pt2")).module()
    params = encoder(x)
    torch.testing.assert_close(params, model.encode_params(x))
    for rows in (1, 5):
        sample = torch.rand(rows, model.latent_dim, dtype=dtype)
        torch.testing.assert_close(decoder(sample), model.decode(sample))


# --- resumable checkpoints ----------------------------------------------------------------------


def _state(step: int) -> dict[str, Any]:
    model = _model()
    rest = dict.fromkeys(("config", "optimizer", "rng", "metrics", "data"), 0)
    config = pretrained.model_config(model)
    return {**rest, "step": step, "model": model.state_dict(), "model_config": config}


def test_the_previous_checkpoint_is_kept(tmp_path: Path):
    assert checkpoint.find_checkpoint(tmp_path) is None
    for step in (1, 2, 3):
        checkpoint.write_checkpoint(tmp_path, _state(step))
    current, previous = tmp_path / "checkpoint.pt", tmp_path / "checkpoint.previous.pt"
    assert checkpoint.read_checkpoint(current)["step"] == 3
    assert checkpoint.read_checkpoint(previous)["step"] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == [previous.name, current.name]
    assert checkpoint.find_checkpoint(tmp_path) == current
    current.unlink()  # as a kill between the two renames leaves it
    assert checkpoint.find_checkpoint(tmp_path) == previous
    assert load(tmp_path).latent_spec == SPEC


def test_a_damaged_checkpoint_names_the_intact_one_before_it(tmp_path: Path):
    for step in (1, 2):
        checkpoint.write_checkpoint(tmp_path, _state(step))
    current = tmp_path / "checkpoint.pt"
    _cut(current)
    with pytest.raises(CheckpointError, match=r"truncated: .*before it is .*previous.pt"):
        checkpoint.read_checkpoint(current)


def test_a_flipped_bit_is_noticed(tmp_path: Path):
    checkpoint.write_checkpoint(tmp_path, _state(1))
    current = tmp_path / "checkpoint.pt"
    content = bytearray(current.read_bytes())
    content[len(content) // 2] ^= 1  # inside a tensor
    current.write_bytes(content)
    torch.load(current, weights_only=True)  # does not notice
    with pytest.raises(CheckpointError, match="checksum"):
        checkpoint.read_checkpoint(current)


def test_foreign_checkpoints_are_refused(tmp_path: Path):
    current = tmp_path / "checkpoint.pt"
    torch.save({"model": {}}, current)
    with pytest.raises(CheckpointError, match="not a training checkpoint"):
        checkpoint.read_checkpoint(current)
    torch.save({"format": "fastjvae-checkpoint-1", "step": 3}, current)
    with pytest.raises(CheckpointError, match="it lacks config, data, metrics, model"):
        checkpoint.read_checkpoint(current)
    current.write_text("hello")
    with pytest.raises(CheckpointError, match="damaged or truncated"):
        checkpoint.read_checkpoint(current)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path):
    class Malicious:
        def __reduce__(self) -> Any:
            return (print, ("code ran",))

    current = tmp_path / "checkpoint.pt"
    torch.save({"format": "fastjvae-checkpoint-1", "step": Malicious()}, current)
    with pytest.raises(CheckpointError, match="holds a pickled 'print' and not tensors alone"):
        checkpoint.read_checkpoint(current)


def test_the_models_tensors_are_contiguous_in_a_checkpoint(tmp_path: Path):
    model = _model().to(memory_format=torch.channels_last)
    checkpoint.write_checkpoint(tmp_path, {**_state(1), "model": model.state_dict()})
    state = checkpoint.read_checkpoint(tmp_path / "checkpoint.pt")["model"]
    assert all(tensor.is_contiguous() for tensor in state.values())
    assert _same(load(tmp_path), model)


DAMAGES: dict[str, Any] = {
    "cut": lambda path: _cut(path),
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
        checkpoint.write_checkpoint(tmp_path, _state(step))
    damage(tmp_path / "checkpoint.pt")
    for read in (checkpoint.read_checkpoint, lambda path: load(path), lambda path: load(tmp_path)):
        with pytest.raises(CheckpointError, match=r"checkpoint.pt.*before it is .*previous.pt$"):
            read(tmp_path / "checkpoint.pt")
    _cut(tmp_path / "checkpoint.previous.pt")
    with pytest.raises(CheckpointError) as error:
        load(tmp_path)
    assert "before it" not in str(error.value)


# --- files that somebody else made ----------------------------------------------------------------


def test_prefixes_of_wrappers_do_not_count(tmp_path: Path):
    model = _model()
    (tmp_path / "specs.json").write_text(json.dumps({"img_size": SIZE}))
    for state in (model.published_state_dict(), model.state_dict()):
        for prefix in ("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."):
            prefixed = {prefix + key: tensor for key, tensor in state.items()}
            other = _model()
            other.load_state_dict(prefixed)
            assert _same(model, other)
    torch.save(prefixed, tmp_path / "ours.pt")
    with pytest.raises(CheckpointError, match=r"JointVAE, which does not tell the sizes"):
        load(tmp_path / "ours.pt")
    published = {f"module.{k}": tensor for k, tensor in model.published_state_dict().items()}
    torch.save(published, tmp_path / "model.pt")
    assert _same(model, load(tmp_path / "model.pt"))


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
    _model().save_pretrained(tmp_path)
    checkpoint.save_published(_model(), tmp_path, {})
    state = torch.load(tmp_path / "model.pt")
    wide = {**state, "img_to_features.0.weight": torch.zeros(1).expand(10**6, 10**6)}
    torch.save(wide, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"model.pt is damaged: a tensor of shape .* bytes"):
        load_published(tmp_path)
    torch.save(state, tmp_path / "model.pt")
    _edit(tmp_path / "specs.json", {"img_size": [2, 1024, 1024]})
    with pytest.raises(CheckpointError, match=r"model.pt holds the weights of another model"):
        load_published(tmp_path)
    _edit(tmp_path / "specs.json", {"img_size": [2, 100_004, 100_004]})
    with pytest.raises(CheckpointError, match=r"specs.json: the networks for images of 100004x"):
        load_published(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())["model"]
    _edit(tmp_path / "config.json", {"model": {**config, "img_size": [2, 1024, 1024]}})
    with pytest.raises(CheckpointError, match=r"model.safetensors holds the weights of another"):
        load(tmp_path)


def test_an_archive_that_grows_is_refused(tmp_path: Path):
    import zipfile

    checkpoint.write_checkpoint(tmp_path, _state(1))
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


def test_loaded_models_are_in_evaluation_mode(tmp_path: Path):
    _model().save_pretrained(tmp_path)
    assert not JointVAE.from_pretrained(tmp_path).training
