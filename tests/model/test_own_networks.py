"""Encoders and decoders of one's own: made, checked, saved and loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import own_nets
import pytest
import torch
from torch import nn

import fastjvae
from fastjvae import JointVAE
from fastjvae.errors import ArgumentError, CheckpointError
from fastjvae.files import parse_json
from fastjvae.model.own_networks import imported

SIZE, SPEC = (1, 16, 16), {"cont": 2, "disc": [4]}  # 8 parameters, samples of 6
NAMED: dict[str, Any] = {
    "encoder": "own_nets:Encoder",
    "encoder_args": {"width": 6},
    "decoder": "own_nets:Decoder",
}
ALL = {"encoder": "own_nets:Encoder", "decoder": "own_nets:Decoder"}


def saved(tmp_path: Path, **networks: Any) -> tuple[JointVAE, Path]:
    model = JointVAE(SIZE, SPEC, **networks).eval()
    model.save_pretrained(tmp_path / "model")
    return model, tmp_path / "model"


def images(number: int = 3) -> torch.Tensor:
    return torch.rand(number, *SIZE)


def assert_same_model(one: JointVAE, other: JointVAE) -> None:
    assert torch.equal(one(x := images())[0], other(x)[0])


# --- made -----------------------------------------------------------------------------------------


def test_a_class_gets_the_sizes_that_it_names_and_its_arguments() -> None:
    model = JointVAE(SIZE, SPEC, **NAMED)
    assert type(model.encoder) is own_nets.Encoder
    assert model.encoder.features[0].out_channels == 6
    assert model.decoder.layers[0].in_features == 6
    assert model.has_own_modules
    assert model.reshape is None
    model.loss(images(), 1).loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    fixed = JointVAE(SIZE, SPEC, encoder="own_nets:Fixed")
    assert not JointVAE(SIZE, SPEC).has_own_modules
    assert fixed(images())[0].shape == (3, *SIZE)


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ({"encoder": "own_nets"}, r"named by module and class, such as nets:Net, got 'own_nets'"),
        ({"encoder": "own_nets:"}, "named by module and class"),
        ({"encoder": "../nets.py:Net"}, "named by module and class"),
        ({"encoder": "no_nets:Net"}, "no module no_nets for the encoder no_nets:Net"),
        ({"decoder": "own_nets.more:Net"}, r"no module own_nets.more for the decoder"),
        ({"encoder": "own_nets:Encodre"}, r"no Encodre \(did you mean Encoder\?\)"),
        ({"encoder": "own_nets:not_a_class"}, "must be a class of torch.nn.Module, .* a function"),
        ({"encoder": "own_nets:NUMBER"}, "must be a class of torch.nn.Module, it is a Tensor"),
        ({"encoder": "builtins:dict"}, "must be a class of torch.nn.Module, it is a type"),
        (
            {"encoder": "own_nets:Encoder", "encoder_args": {"widht": 3}},
            r'own_nets:Encoder cannot be made with .*"widht": 3.*unexpected keyword .*widht',
        ),
        (
            {"encoder": "own_nets:Encoder", "encoder_args": {"width": 0}},
            r"own_nets:Encoder cannot be made with",
        ),
        ({"encoder": "own_nets:Encoder", "encoder_args": {"width": torch.relu}}, "a JSON object"),
        ({"encoder_args": {"width": 3}}, "encoder_args are for a class by its name, .* no encoder"),
        (
            {"encoder": nn.Flatten(), "encoder_args": {"width": 3}},
            "encoder_args are for a class by its name, .* a Flatten",
        ),
        ({"encoder": own_nets.Encoder}, "a torch.nn.Module or the name .* class Encoder itself"),
        ({"decoder": 3}, "decoder must be a torch.nn.Module or the name of its class, .* got 3"),
    ],
)
def test_a_network_that_cannot_be_made_is_one_sentence(
    networks: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message) as raised:
        JointVAE(SIZE, SPEC, **networks)
    assert "\n" not in str(raised.value)


def test_a_module_that_fails_while_it_is_imported_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_nets.py").write_text("import a_missing_package\n")
    (tmp_path / "wrong_nets.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ArgumentError, match=r"cannot be imported: ModuleNotFound.*a_missing_pack"):
        imported("encoder", "broken_nets:Net")
    with pytest.raises(ArgumentError, match="cannot be imported: ZeroDivisionError: division by"):
        imported("encoder", "wrong_nets:Net")


# --- checked --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ({"encoder": own_nets.Narrow()}, r"parameters .* \(2, 8\) .* a Narrow returned \(2, 7\)"),
        ({"encoder": own_nets.Pair()}, "a Pair returned a tuple"),
        ({"encoder": own_nets.Fails()}, "a Fails, fails for an input .*: no luck$"),
        ({"decoder": nn.Linear(6, 7)}, r"logits of the pixels .* a Linear returned \(2, 7\)"),
        ({"decoder": nn.Linear(5, 7)}, r"decoder, a Linear, fails for an input of shape \(2, 6\)"),
        (
            {"encoder": own_nets.HeadOfNothing(SIZE, 8)},
            r"hidden_features, as a HeadOfNothing, needs a head .* nn.Linear\(features, 8\)",
        ),
    ],
)
def test_a_network_of_another_form_is_refused_at_once(
    networks: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        JointVAE(SIZE, SPEC, **networks)


def draw(*_: Any) -> None:
    torch.rand(3)


def test_trying_a_network_changes_nothing_of_it() -> None:
    encoder = own_nets.Encoder(SIZE, 8).train()
    encoder.features[1].eval()
    before = {k: v.clone() for k, v in encoder.state_dict().items()}
    model = JointVAE(SIZE, SPEC, encoder=encoder, decoder=own_nets.Decoder(SIZE, 6))
    assert all(torch.equal(v, before[k]) for k, v in encoder.state_dict().items())
    assert encoder.training
    assert not encoder.features[1].training
    assert model.encoder is encoder
    noisy = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.RReLU())
    noisy[1].register_forward_pre_hook(draw)
    state = torch.get_rng_state()
    JointVAE(SIZE, SPEC, encoder=noisy, decoder=model.decoder)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_lazy_network_has_its_parameters_once_it_was_tried() -> None:
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(8))
    model = JointVAE(SIZE, SPEC, encoder=lazy)
    assert model.encoder[1].weight.shape == (8, 256)


def test_an_encoder_may_tell_what_its_head_reads() -> None:
    model = JointVAE(SIZE, SPEC, encoder="own_nets:HeadedEncoder")
    x = images()
    assert model.encode_hidden(x).shape == (3, 12)
    assert torch.equal(model.encoder.head(model.encode_hidden(x)), model.encode_params(x))
    with pytest.raises(ArgumentError, match="must have hidden_features and a head"):
        JointVAE(SIZE, SPEC, encoder="own_nets:Fixed").encode_hidden(x)


# --- saved and loaded -----------------------------------------------------------------------------


def test_networks_by_name_are_saved_with_it_and_made_again(tmp_path: Path) -> None:
    model, folder = saved(tmp_path, **NAMED)
    config = parse_json((folder / "config.json").read_bytes())["model"]
    assert config["encoder"] == {"import": "own_nets:Encoder", "args": {"width": 6}}
    assert config["decoder"] == {"import": "own_nets:Decoder", "args": {}}
    for given in ({"trust_imports": True}, ALL, {**ALL, "encoder_args": {"width": 6}}):
        loaded = fastjvae.load(folder, **given)
        assert not loaded.training
        assert loaded.own_networks == model.own_networks
        assert_same_model(loaded, model)
    assert_same_model(JointVAE.from_pretrained(folder, trust_imports=True), model)
    own = {"encoder": own_nets.Encoder(SIZE, 8, 6), "decoder": own_nets.Decoder(SIZE, 6)}
    assert_same_model(fastjvae.load(folder, **own), model)


def test_one_network_may_be_the_standard_one(tmp_path: Path) -> None:
    model, folder = saved(tmp_path, encoder="own_nets:Encoder")
    assert "decoder" not in parse_json((folder / "config.json").read_bytes())["model"]
    assert_same_model(fastjvae.load(folder, encoder="own_nets:Encoder"), model)
    with pytest.raises(ArgumentError, match="has the standard decoder, got decoder='own_nets:Dec"):
        fastjvae.load(folder, **ALL)


def test_networks_given_as_objects_save_weights_alone(tmp_path: Path) -> None:
    networks = {"encoder": own_nets.Encoder(SIZE, 8), "decoder": own_nets.Decoder(SIZE, 6)}
    model, folder = saved(tmp_path, **networks)
    with pytest.raises(ArgumentError, match=r"given as an object, a 'own_nets.Encoder': give it"):
        fastjvae.load(folder, trust_imports=True)
    again = {"encoder": own_nets.Encoder(SIZE, 8), "decoder": own_nets.Decoder(SIZE, 6)}
    assert_same_model(fastjvae.load(folder, **again), model)
    by_name = fastjvae.load(folder, **ALL)
    assert_same_model(by_name, model)
    with pytest.raises(CheckpointError, match=r"weights of another model: .*size mismatch"):
        fastjvae.load(folder, **{**ALL, "encoder_args": {"width": 5}})


def test_weights_that_layers_share_are_saved(tmp_path: Path) -> None:
    encoder = own_nets.HeadedEncoder(SIZE, 8)
    encoder.again = encoder.head
    model, folder = saved(tmp_path, encoder=encoder)
    other = own_nets.HeadedEncoder(SIZE, 8)
    other.again = other.head
    assert_same_model(fastjvae.load(folder, encoder=other), model)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"encoder": "own_nets:Narrow"}, "has the encoder own_nets:Encoder .* got 'own_nets:Narr"),
        (
            {"trust_imports": True, "encoder_args": {"width": 7}},
            r'with \{"width": 6\}, got \'own_nets:Encoder\' with \{"width": 7\}',
        ),
        ({**ALL, "encoder": own_nets.Fixed()}, "weights of another model"),
        ({**ALL, "encoder": own_nets.Fixed}, r"has the encoder own_nets:Encoder .* got a type"),
    ],
)
def test_other_networks_than_the_saved_ones_are_refused(
    tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    _, folder = saved(tmp_path, **NAMED)
    with pytest.raises((ArgumentError, CheckpointError), match=message):
        fastjvae.load(folder, **given)


@pytest.mark.parametrize(
    "entry",
    ["own_nets:Encoder", {}, {"import": 3, "args": {}}, {"import": "own_nets:E"}, [1],
     {"import": "os;evil:E", "args": {}}, {"import": "own_nets:Encoder", "args": [3]}],
)  # fmt: skip
def test_a_description_of_another_form_is_one_sentence(tmp_path: Path, entry: object) -> None:
    _, folder = saved(tmp_path, **NAMED)
    config = parse_json((folder / "config.json").read_bytes())
    config["model"]["encoder"] = entry
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="describes no encoder"):
        fastjvae.load(folder, trust_imports=True)


def test_a_file_never_makes_the_program_import_what_it_names(tmp_path: Path) -> None:
    _, folder = saved(tmp_path, **NAMED)
    (tmp_path / "trap.py").write_text("from pathlib import Path\nPath('sprung').touch()\n")
    config = parse_json((folder / "config.json").read_bytes())
    config["model"]["encoder"] = {"import": "trap:Encoder", "args": {}}
    (folder / "config.json").write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, "-c", "import fastjvae; fastjvae.load('model')"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "would import trap:Encoder as its encoder and own_nets:Decoder as its decoder" in last
    assert "encoder='trap:Encoder', decoder='own_nets:Decoder' or trust_imports=True" in last
    assert "--trust-imports" in last
    assert not (tmp_path / "sprung").exists()


def test_a_trusted_module_that_is_gone_is_named(tmp_path: Path) -> None:
    _, folder = saved(tmp_path, **NAMED)
    config = (folder / "config.json").read_text().replace("own_nets:Enc", "gone_nets:Enc")
    (folder / "config.json").write_text(config)
    with pytest.raises(ArgumentError, match=r"config.json cannot be made: .* no module gone_nets"):
        fastjvae.load(folder, trust_imports=True)


def test_a_model_of_the_published_code_has_standard_networks(tmp_path: Path) -> None:
    from fastjvae.model.export import save_published

    save_published(JointVAE(SIZE, SPEC), tmp_path, {})
    with pytest.raises(ArgumentError, match="has the standard encoder, got encoder='own_nets:Enc"):
        fastjvae.load(tmp_path, encoder="own_nets:Encoder")
    with pytest.raises(ArgumentError, match="no published form"):
        save_published(JointVAE(SIZE, SPEC, **NAMED), tmp_path, {})
