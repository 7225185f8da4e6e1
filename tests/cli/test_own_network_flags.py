"""Own networks on the command line: trained, resumed, several seeds, evaluated, drawn, exported."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import own_nets
import pytest
from PIL import Image
from tiny_runs import fails, seeds_flags, seeds_results, tiny_config, tiny_flags, write_arrays

import fastjvae
from fastjvae.cli import main
from fastjvae.data import load as load_data
from fastjvae.files import parse_json
from fastjvae.training import RunFolder, Trainer

NAMES = ["--encoder", "own_nets:Encoder", "--decoder", "own_nets:Decoder"]
OWN = {"encoder": "own_nets:Encoder", "encoder-args": '{"width": 6}', "decoder": "own_nets:Decoder"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


@pytest.fixture
def run(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A run that was stopped after 5 of its steps, as far as its settings go."""
    folder = tmp_path / "run"
    assert main([*tiny_flags(data, folder, **OWN, steps=5), "--no-figures"]) == 0
    said = capsys.readouterr().out
    assert f"model: {folder}, which commands load with {' '.join(NAMES)} or --trust-imp" in said
    return folder


def test_a_run_is_resumed_with_its_networks_named_again(run: Path, data: Path, tmp_path: Path):
    for flags in (["--trust-imports"], NAMES, [*NAMES, "--encoder-args", '{"width": 6}']):
        folder = tmp_path / "again"
        shutil.copytree(run, folder)
        assert main(["train", "--resume", str(folder), "--steps", "13", *flags]) == 0
        model = fastjvae.load(folder, trust_imports=True)
        assert model.encoder.features[0].out_channels == 6
        shutil.rmtree(folder)


def test_every_command_takes_the_model(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    picture = tmp_path / "picture.png"
    Image.new("L", (16, 16), 90).save(picture)
    out = str(tmp_path / "out.png")
    for words in (
        ["evaluate", str(run), "--json"],
        ["figures", "traversals", str(run), "--out", out],
        ["figures", "side-by-side", str(run), "--out", out],
        ["edit", str(run), str(picture), "--unit", "0", "--out", out],
        ["export", str(run), "--to", "safetensors", "--out", str(tmp_path / "exported")],
    ):
        said = fails(words, 2, capsys)
        assert "would import own_nets:Encoder as its encoder and own_nets:Decoder as" in said
        assert f"{' '.join(NAMES)} or --trust-imports" in said
        assert main([*words, *(["--trust-imports"] if words[0] == "figures" else NAMES)]) == 0
        capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "exported"), "arrays", *NAMES, "--data-root",
                 str(tmp_path / "squares0.npz")]) == 0  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--encoder", "own_nets:Narrow"], "has the encoder own_nets:Encoder with"),
        (["--trust-imports", "--encoder-args", '{"width": 7}'], 'got .* with {"width": 7}'),
        (["--trust-imports", "--encoder-args", "width"], "JSON object"),
        (["--encoder", "own_nets:Encoder"], "would import own_nets:Decoder as its decoder, "),
    ],
)
@pytest.mark.parametrize("command", [["evaluate"], ["train", "--resume"]])
def test_other_networks_are_refused(
    run: Path,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
    flags: list[str],
    message: str,
):
    assert re.search(message, fails([*command, str(run), *flags], 2, capsys))


def test_nothing_is_imported_from_a_run_that_came_from_elsewhere(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "trap_nets.py").write_text("raise SystemExit('sprung')\n")
    monkeypatch.chdir(tmp_path)
    text = (run / "config.json").read_text()
    for part in ("training", "model"):  # either alone
        config = json.loads(text)
        if part == "training":
            config["training"]["encoder"] = "trap_nets:Net"
            del config["model"]["encoder"]
        else:
            config["model"]["encoder"]["import"] = "trap_nets:Net"
            config["training"] |= {"encoder": None, "encoder_args": None}
        (run / "config.json").write_text(json.dumps(config))
        for words in (["train", "--resume", str(run)], ["evaluate", str(run)]):
            said = fails([*words, "--decoder", "own_nets:Decoder"], *_refused(words, part), capsys)
            assert "sprung" not in said
    assert "trap_nets" not in sys.modules


def _refused(words: list[str], part: str) -> tuple[int]:
    """A model that says it has the standard encoder has other weights than that."""
    return (1,) if (words[0], part) == ("evaluate", "training") else (2,)


def test_a_module_in_the_folder_of_the_command_is_found(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "my_nets_here.py").write_text(Path(own_nets.__file__).read_text())
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    flags = tiny_flags(data, tmp_path / "run", encoder="my_nets_here:Encoder", steps=2)
    assert main([*flags, "--no-figures"]) == 0
    assert main(["evaluate", str(tmp_path / "run"), "--trust-imports"]) == 0


def test_a_network_that_does_not_fit_leaves_no_run(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "wrong"
    said = fails(tiny_flags(data, folder, encoder="own_nets:Narrow"), 2, capsys)
    assert "a Narrow returned (2, 7)" in said
    assert not folder.exists()
    said = fails(tiny_flags(data, folder, encoder="own_nets:Encode"), 2, capsys)
    assert "did you mean Encoder" in said


def test_several_seeds_are_compared(data: Path, tmp_path: Path):
    assert main(seeds_flags(data, tmp_path / "seeds", "0,1", **OWN)) == 0
    found = seeds_results(tmp_path / "seeds")
    assert [each["seed"] for each in found["seeds"]] == [0, 1]
    assert found["no_udr"] is None
    again = [*seeds_flags(data, tmp_path / "seeds", "0,1", **OWN)]
    assert main(again) == 0


def test_a_run_of_modules_goes_on_with_their_classes(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = tiny_config(data, steps=5, figures=False)
    networks: dict[str, Any] = {
        "encoder": own_nets.Encoder((1, 16, 16), 8, 6),
        "decoder": own_nets.Decoder((1, 16, 16), 6),
    }
    folder = tmp_path / "run"
    Trainer(config, load_data(config.source()), RunFolder(folder), **networks).train()
    capsys.readouterr()
    resume = ["train", "--resume", str(folder), "--steps", "8"]
    said = fails([*resume, "--trust-imports"], 2, capsys)
    assert "given as an object, a 'own_nets.Encoder': give it again" in said
    assert main([*resume, *NAMES, "--encoder-args", '{"width": 6}']) == 0
    entries = parse_json((folder / "config.json").read_bytes())["model"]
    assert entries["encoder"] == {"object": "own_nets.Encoder"}
    flags = [*NAMES, "--encoder-args", '{"width": 6}']
    assert main(["evaluate", str(folder), *flags]) == 0
