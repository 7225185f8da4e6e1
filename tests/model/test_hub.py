from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from fake_hub import FakeHub
from saved import same, small_model

from fastjvae import load
from fastjvae.errors import ArgumentError, CheckpointError, RunError
from fastjvae.model.hub import is_repository, upload


def test_load_says_that_the_hub_is_asked_by_hub_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    hub = FakeHub(tmp_path / "hub", monkeypatch)
    monkeypatch.chdir(tmp_path)
    sentence = (
        r"no such file or folder; of the Hub, fastjvae\.load\('me/digits', hub=True\) fetches"
    )
    with pytest.raises(CheckpointError, match=sentence):
        load("me/digits")
    for name in ("digits", "/me/digits", "a/b/c", "me/a b"):
        with pytest.raises(CheckpointError, match=r"no such file or folder$"):
            load(name)
    (tmp_path / "me" / "digits").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"found an empty folder$"):
        load("me/digits")
    assert hub.calls == []


def test_only_weights_and_configuration_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    hub = FakeHub(tmp_path / "hub", monkeypatch)
    model = small_model()
    model.save_pretrained(tmp_path / "hub" / "me" / "digits")
    monkeypatch.chdir(tmp_path)
    for name in ("me/digits", Path("me/digits")):
        loaded = load(name, hub=True)
        assert same(loaded, model)
        assert not loaded.training
    assert hub.calls[0] == hub.calls[1]
    assert hub.calls[0][1]["allow_patterns"] == ["config.json", "model.safetensors"]


def test_a_repository_of_pickles_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    FakeHub(tmp_path / "hub", monkeypatch)
    folder = tmp_path / "hub" / "me" / "digits"
    small_model().save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(small_model().state_dict(), folder / "model.pt")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        CheckpointError,
        match=r"repository me/digits lacks model\.safetensors: .* could run code is not fetched$",
    ):
        load("me/digits", hub=True)


def test_what_the_hub_answers_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hub = FakeHub(tmp_path / "hub", monkeypatch)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"^me/absent is neither .*: 404 Client Error$"):
        load("me/absent", hub=True)
    hub.failure = ValueError("no connection.\nTry again")
    with pytest.raises(CheckpointError, match=r": no connection$"):
        load("me/digits", hub=True)
    with pytest.raises(
        RunError, match=r"to the Hub repository me/digits: no connection; .*HF_TOKEN"
    ):
        upload(tmp_path, ["config.json"], "me/digits")


@pytest.mark.parametrize(
    "name", ["me", "me/", "/me/digits", "me/../digits", "me/a b", "-m/d", "é/a"]
)
def test_names_that_are_no_repository(name: str):
    assert not is_repository(name)


def test_the_real_library_has_what_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its names and arguments; offline, so that nothing leaves the machine."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="needs the extra hub")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"^me/digits is neither a folder") as e:
        load("me/digits", hub=True)
    assert not isinstance(e.value.__cause__, TypeError | AttributeError)
    with pytest.raises(RunError, match="cannot be uploaded to the Hub repository me/digits") as e:
        upload(tmp_path, ["config.json"], "me/digits")
    assert not isinstance(e.value.__cause__, TypeError | AttributeError)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ArgumentError, match=re.escape("pip install 'fastjvae[hub]'")):
        upload(tmp_path, ["config.json"], "me/digits")
