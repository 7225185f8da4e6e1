"""Training of networks of one's own: by fit, by a Trainer, resumed, on several processes."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import own_nets
import pytest
import torch
from programs import finish, start
from runs import assert_resume_changes_nothing, losses, trainer_of
from tiny_runs import SHARED, assert_same_state, tiny_config, tiny_flags, write_arrays
from torch import nn

import fastjvae
from fastjvae.cli import main
from fastjvae.data import load as load_data
from fastjvae.errors import ArgumentError, CheckpointError, RunError
from fastjvae.files import parse_json
from fastjvae.training import RunFolder, TrainConfig, Trainer, fit, recipe
from fastjvae.training.settings.own_networks import fitting
from fastjvae.training.settings.saved import config_from_dict

IMAGES = np.random.default_rng(0).integers(0, 256, (120, 16, 16), dtype=np.uint8)
SIZE = (1, 16, 16)
TINY: dict[str, Any] = {"cont": 2, "disc": [4], "steps": 3, "device": "cpu", "log_every": 1}
NAMED: dict[str, Any] = {
    "encoder": "own_nets:Encoder",
    "encoder_args": {"width": 6},
    "decoder": "own_nets:Decoder",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


def objects() -> dict[str, nn.Module]:
    return {"encoder": own_nets.Encoder(SIZE, 8), "decoder": own_nets.Decoder(SIZE, 6)}


# --- fit ------------------------------------------------------------------------------------------


def test_fit_trains_networks_by_name_and_keeps_them(tmp_path: Path) -> None:
    fitted = fit(IMAGES, out=tmp_path / "run", **TINY, **NAMED)
    assert type(fitted.model.encoder) is own_nets.Encoder
    assert fitted.model.encoder.features[0].out_channels == 6
    whole = parse_json((tmp_path / "run" / "config.json").read_bytes())
    for part in (whole["training"]["encoder"], whole["model"]["encoder"]["import"]):
        assert part == "own_nets:Encoder"
    for part in (whole["training"]["encoder_args"], whole["model"]["encoder"]["args"]):
        assert part == {"width": 6}
    loaded = fastjvae.load(tmp_path / "run", trust_imports=True)
    assert_same_state(dict(loaded.state_dict()), dict(fitted.model.state_dict()))
    again = fit(IMAGES, out=tmp_path / "run", **TINY, **NAMED)  # it has ended
    assert_same_state(dict(again.model.state_dict()), dict(fitted.model.state_dict()))
    with pytest.raises(RunError, match=r"encoder_args.width is 6 there, 7 here"):
        fit(IMAGES, out=tmp_path / "run", **TINY, **{**NAMED, "encoder_args": {"width": 7}})


def test_fit_trains_modules_themselves(tmp_path: Path) -> None:
    own = objects()
    before = own["decoder"].layers[0].weight.detach().clone()
    fitted = fit(IMAGES, out=tmp_path / "run", recipe="paper", **TINY, **own)
    assert fitted.model.encoder is own["encoder"]
    assert not torch.equal(own["decoder"].layers[0].weight, before)
    again = fit(IMAGES, out=tmp_path / "run", recipe="paper", **TINY, **objects())
    assert_same_state(dict(again.model.state_dict()), dict(fitted.model.state_dict()))
    with pytest.raises(ArgumentError, match=r"given as an object, a 'own_nets.Encoder'"):
        fastjvae.load(tmp_path / "run", trust_imports=True)
    loaded = fastjvae.load(tmp_path / "run", **objects())
    assert_same_state(dict(loaded.state_dict()), dict(fitted.model.state_dict()))
    with pytest.raises(CheckpointError, match="is of another model"):
        fit(IMAGES, out=tmp_path / "run", recipe="paper", **TINY)


def test_an_encoder_without_a_head_goes_without_what_fits_heads(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = []

    class Watch:
        def on_log(self, record: dict[str, Any]) -> None:
            told.append(record.get("phase"))

    fit(IMAGES, encoder=own_nets.Encoder(SIZE, 8), callbacks=[Watch()], **{**TINY, "steps": 6})
    assert set(told) == {None}  # in one piece, by what the categories tell
    said = "an own encoder: initialisation he is left out: it is for the standard encoder\n"
    assert said in capsys.readouterr().err
    told.clear()
    fit(IMAGES, encoder="own_nets:HeadedEncoder", callbacks=[Watch()], **{**TINY, "steps": 12})
    assert told[0] == "types"
    assert told[-1] == "style"
    err = capsys.readouterr().err
    assert "fitted anew" in err
    assert said in err


def test_settings_are_fitted_to_an_encoder() -> None:
    fast = recipe("mnist", "fast")
    assert fitting(fast, None) == (fast, "")
    headed, told = fitting(fast, own_nets.HeadedEncoder)
    assert dataclasses.replace(headed, initialisation="he") == fast
    assert "--refits" not in told
    plain, told = fitting(fast, own_nets.Encoder(SIZE, 8))
    assert plain.phases[0].refits is None
    assert plain.phases[0].overclusters is None
    assert told == (
        "an own encoder: --initialisation he is left out: it is for the standard encoder;"
        " --overclusters, --refits are left out: they are for the standard encoder or one with"
        " hidden_features and a head"
    )
    assert fitting(plain, own_nets.Encoder) == (plain, "")
    paper = recipe("mnist", "paper")
    assert fitting(paper, own_nets.Encoder) == (paper, "")


# --- settings -------------------------------------------------------------------------------------


def test_names_and_arguments_are_settings_that_come_back(data: Path) -> None:
    config = tiny_config(data, **{**NAMED, "encoder_args": {"width": 6, "sizes": (1, 2)}})
    assert config.encoder_args == {"width": 6, "sizes": [1, 2]}
    assert config_from_dict(config.to_dict()) == config
    old = {k: v for k, v in config.to_dict().items() if "coder" not in k}
    assert config_from_dict(old) == tiny_config(data)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoder": "nets"}, "the encoder is named by module and class"),
        ({"encoder_args": {"width": 3}}, "--encoder-args are for --encoder MODULE:CLASS, got"),
        ({"decoder": "nets:A", "decoder_args": [3]}, "--decoder-args must be a JSON object"),
        ({"decoder": "nets:A", "decoder_args": {"a": {3}}}, "--decoder-args must be a JSON object"),
    ],
)
def test_settings_of_another_form(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        TrainConfig("mnist", **settings)


@pytest.mark.parametrize("settings", [{"initialisation": "he"}, {**SHARED}])
def test_a_trainer_refuses_what_the_encoder_cannot_have(
    data: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    config = tiny_config(data, encoder="own_nets:Encoder", **settings)
    with pytest.raises(ArgumentError, match=r"for the standard encoder.*; .* its own, Encoder"):
        trainer_of(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- steps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [4, 7])
@pytest.mark.parametrize("encoder", ["Encoder", "ByViews"])
def test_resume_is_bitwise_with_own_networks(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int, encoder: str
) -> None:
    config = tiny_config(data, encoder=f"own_nets:{encoder}", decoder="own_nets:Decoder")
    assert_resume_changes_nothing(config, tmp_path, stop, monkeypatch)


def test_modules_go_on_where_others_stopped(data: Path, tmp_path: Path) -> None:
    config = tiny_config(data)
    images = load_data(config.source())
    torch.manual_seed(3)
    first = objects()
    begun = {which: copy.deepcopy(network) for which, network in first.items()}
    Trainer(
        dataclasses.replace(config, steps=5), images, RunFolder(tmp_path / "a"), **first
    ).train()
    resumed = Trainer(config, images, RunFolder(tmp_path / "a"), resuming=True, **objects())
    assert resumed.step == 5
    assert resumed.train()
    whole = Trainer(config, images, RunFolder(tmp_path / "b"), **begun)
    assert whole.train()
    assert_same_state(dict(resumed.model.state_dict()), dict(whole.model.state_dict()))


def test_weights_depend_on_the_seed_alone(data: Path, tmp_path: Path) -> None:
    states = []
    for folder, noise in (("a", 1), ("b", 2)):
        torch.manual_seed(noise)
        trainer = trainer_of(tiny_config(data, **NAMED), tmp_path / folder)
        states.append(dict(trainer.model.state_dict()))
    assert_same_state(*states)


class Flat(nn.Module):
    """Two convolutions, and features that may lie as they like, or have to be contiguous."""

    def __init__(self, by_view: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 3, 4, stride=4), nn.Conv2d(3, 5, 3, padding=1))
        self.last, self.by_view = nn.Linear(5 * 16, 8), by_view

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.layers(images)
        flat = features.view(len(features), -1) if self.by_view else features.flatten(1)
        rows: torch.Tensor = self.last(flat)
        return rows


@pytest.mark.parametrize("by_view", [False, True])
def test_networks_train_in_channels_last_where_they_can(
    data: Path, capsys: pytest.CaptureFixture[str], by_view: bool
) -> None:
    config = tiny_config(data)
    trainer = Trainer(config, load_data(config.source()), None, encoder=Flat(by_view))
    told = "channels_last is not for this run's encoder, which stays" in capsys.readouterr().err
    assert told == by_view
    weight = trainer.model.encoder.layers[1].weight
    assert weight.is_contiguous() == by_view
    assert weight.is_contiguous(memory_format=torch.channels_last) != by_view
    assert trainer.train()


def test_start_from_a_model_with_the_same_networks(data: Path, tmp_path: Path) -> None:
    before = trainer_of(tiny_config(data, **NAMED), tmp_path / "first")
    before.train()
    config = tiny_config(data, **NAMED, start_from=str(tmp_path / "first"))
    after = trainer_of(config, tmp_path / "second")
    assert_same_state(dict(after.model.state_dict()), dict(before.model.state_dict()))
    standard = tiny_config(data, start_from=str(tmp_path / "first"))
    with pytest.raises(ArgumentError, match="would import own_nets:Encoder"):
        trainer_of(standard, tmp_path / "third")


def test_two_processes_train_as_one(data: Path, tmp_path: Path) -> None:
    own = {"batch_size": 7, "encoder": "own_nets:ByViews", "decoder": "own_nets:Decoder"}
    flags = {
        folder: [*tiny_flags(data, tmp_path / folder, **own), "--no-figures"]
        for folder in ("alone", "run")
    }
    assert main(flags["alone"]) == 0
    results = finish(start(flags["run"], 2))
    assert [code for code, _, _ in results] == [0, 0], results
    alone, together = losses(tmp_path / "alone"), losses(tmp_path / "run")
    for ours, theirs in zip(together, alone, strict=True):
        assert ours["reconstruction"] == pytest.approx(theirs["reconstruction"], rel=1e-4)
