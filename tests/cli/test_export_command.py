from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_hub import FakeHub
from tiny_runs import fails, tiny_flags, write_arrays

from fastjvae import JointVAE, load
from fastjvae.cli import main
from fastjvae.files import read_json, write_json

FILES = ["README.md", "config.json", "model.safetensors", "traversals.png"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    data = write_arrays(folder)
    assert main([*tiny_flags(data, folder / "squares"), "--no-figures"]) == 0
    return folder / "squares"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / trained.name))


def card_of(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def header_of(card: str) -> dict[str, Any]:
    """The YAML at the top of a model card."""
    yaml = pytest.importorskip("yaml", reason="comes with the extra hub")
    _, header, _ = card.split("---\n", 2)
    found: dict[str, Any] = yaml.safe_load(header)
    return found


def test_a_folder_for_the_hub(run: Path, capsys: pytest.CaptureFixture[str]):
    model = load(run)
    assert main(["export", str(run), "--to", "hub"]) == 0
    folder = run / "export-hub"
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"wrote {', '.join(FILES)} to {folder}",
        "the model card says that nobody has named a license: --license does",
    ]
    assert sorted(path.name for path in folder.iterdir()) == FILES
    x = torch.rand(2, 1, 16, 16)
    assert torch.equal(load(folder)(x)[0], model(x)[0])
    assert set(read_json(folder / "config.json")) == {"format", "model"}  # nothing of this machine
    card = card_of(folder)
    assert header_of(card) == {
        "license": "unknown",
        "library_name": "fastjvae",
        "tags": ["jointvae", "vae", "disentanglement"],
    }
    assert "# squares\n" in card
    assert "Trained on arrays/squares0.npz/train, images: 36, held out beside them: 4." in card
    assert "](traversals.png)" in card
    assert "| images (channels, height, width) | 1, 16, 16 |\n| continuous units | 2 |" in card
    assert "## License\n\nNobody has said under which license" in card
    assert main(["evaluate", str(run)]) == 0
    assert f"```text\n{capsys.readouterr().out.rstrip()}\n```" in card


def test_the_settings_are_those_of_the_run_without_its_folders(run: Path):
    assert main(["export", str(run), "--to", "hub"]) == 0
    card = card_of(run / "export-hub")
    (block,) = re.findall(r"```json\n(.*?)\n```", card, re.DOTALL)
    settings, training = json.loads(block), read_json(run / "config.json")["training"]
    assert settings.pop("data_root") == "squares0.npz"
    assert settings == {name: value for name, value in training.items() if name != "data_root"}
    assert str(run.parent) not in card
    versions = read_json(run / "config.json")["versions"]
    assert f"torch {versions['torch']}" in card


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("C:\\Users\\me\\pictures", "pictures"),
        ("/home/me/x.npz:images", "x.npz:images"),
        ("data/", "data"),
    ],
)
def test_paths_of_any_system_are_cut(run: Path, path: str, shown: str):
    config = read_json(run / "config.json")
    config["training"] |= {"data_root": path, "start_from": path}
    write_json(run / "config.json", config)
    assert main(["export", str(run), "--to", "hub"]) == 0
    card = card_of(run / "export-hub")
    for name in ("data_root", "start_from"):
        assert f'"{name}": "{shown}"' in card
    assert not re.search(r"(home|Users)\W+me", card)


def test_an_evaluation_of_another_model_is_none_of_this_one(
    run: Path, capsys: pytest.CaptureFixture[str]
):
    evaluation = read_json(run / "evaluation.json")
    for change in ("gone", "of another step", "not of the end"):
        if change == "gone":
            (run / "evaluation.json").unlink()
        elif change == "of another step":
            write_json(run / "evaluation.json", {**evaluation, "steps": 7})
        else:  # the model is the checkpoint of a run that goes on
            write_json(run / "evaluation.json", evaluation)
            (run / "model.safetensors").unlink()
        assert main(["export", str(run), "--to", "hub"]) == 0
        assert "the model card has no evaluation: none of this" in capsys.readouterr().out
        card = card_of(run / "export-hub")
        assert "\n## Evaluation\n\nNo evaluation of this very model is known.\n" in card
        assert "nats" not in card


def test_a_damaged_evaluation_is_named(run: Path, capsys: pytest.CaptureFixture[str]):
    write_json(run / "evaluation.json", {"variables": 3})
    message = fails(["export", str(run), "--to", "hub"], 1, capsys)
    assert f"{run / 'evaluation.json'} cannot be taken up" in message
    assert not (run / "export-hub").exists()


def test_a_model_of_no_run_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    # Five channels are no picture, and so there is no figure.
    JointVAE((5, 16, 16), {"disc": [3]}).save_pretrained(tmp_path / "a#model")
    assert main(["export", str(tmp_path / "a#model"), "--to", "hub"]) == 0
    folder = tmp_path / "a#model" / "export-hub"
    assert sorted(path.name for path in folder.iterdir()) == [f for f in FILES if "png" not in f]
    card = card_of(folder)
    for sentence in (
        "# a\\#model\n",
        "\nWhat the model was trained on is not known.\n",
        "\nNo evaluation of this very model is known.\n",
        "\nHow the model was trained is not known.\n",
        "| categories of each discrete variable | 3 |\n",
    ):
        assert sentence in card
    assert "![" not in card


def test_it_is_uploaded_and_loaded_again(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    hub = FakeHub(tmp_path / "hub", monkeypatch)
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "secret.txt").touch()
    command = ["export", str(run), "--to", "hub", "--out", str(folder), "--push", "me/squares"]
    assert main([*command, "--license", "cc-by-4.0"]) == 0
    said = capsys.readouterr().out
    assert said == f"wrote {', '.join(FILES)} to {folder}\nuploaded to me/squares on the Hub\n"
    assert hub.files("me/squares") == FILES
    card = card_of(tmp_path / "hub" / "me" / "squares")
    assert header_of(card)["license"] == "cc-by-4.0"
    assert "## License" not in card
    assert 'fastjvae.load("me/squares", hub=True)' in card
    monkeypatch.chdir(tmp_path)
    x = torch.rand(2, 1, 16, 16)
    assert torch.equal(load("me/squares", hub=True)(x)[0], load(run)(x)[0])
    hub.failure = OSError("401 Unauthorized")
    assert main(command) == 1
    err = capsys.readouterr().err
    assert "cannot be uploaded to the Hub repository me/squares: 401 Unauthorized; the token" in err


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--to", "onnx", "--push", "me/x"], "--push is for --to hub, got --to onnx"),
        (["--to", "torch", "--license", "mit"], "--license is for --to hub, got --to torch"),
        (
            ["--to", "hub", "--push", "digits"],
            "--push takes the id of a repository, USER/NAME, got",
        ),
        (["--to", "hub", "--license", "MIT License"], "such as mit, apache-2.0 or cc-by-4.0, got"),
        (["--to", "hub", "--license", "mit\n- x"], "--license takes the Hub's word"),
    ],
)
def test_flags_that_cannot_be(
    run: Path, tmp_path: Path, flags: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    FakeHub(tmp_path / "hub", monkeypatch)
    before = sorted(run.iterdir())
    assert sentence in fails(["export", str(run), *flags], 2, capsys)
    assert sorted(run.iterdir()) == before


@pytest.mark.parametrize(
    ("flags", "library", "extra"),
    [
        (["--to", "hub", "--push", "me/x"], "huggingface_hub", "hub"),
        (["--to", "onnx"], "onnxscript", "onnx"),
    ],
)
def test_without_an_extra(
    run: Path, flags: list[str], library: str, extra: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    monkeypatch.setitem(sys.modules, library, None)
    message = fails(["export", str(run), *flags], 2, capsys)
    assert f"pip install 'fastjvae[{extra}]'" in message
    assert not (run / f"export-{extra}").exists()


def test_what_onnxruntime_says_is_printed(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for difference, said in (
        (2.5e-7, "the largest difference from the model in onnxruntime: 2.5e-07"),
        (None, "not compared with the model: onnxruntime is not installed"),
    ):
        monkeypatch.setattr("fastjvae.cli.export.save_onnx", lambda *_, d=difference: d)
        assert main(["export", str(run), "--to", "onnx"]) == 0
        wrote = f"wrote decoder.onnx, encoder.onnx to {run / 'export-onnx'}"
        assert capsys.readouterr().out == f"{wrote}\n{said}\n"
