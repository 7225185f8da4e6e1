from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tiny_runs import fails, tiny_flags, write_arrays

from fastjvae import JointVAE, load, load_published
from fastjvae.cli import main
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.settings.train import TrainConfig

FIGURES = [
    "categories-c0.png",
    "kl-growth.png",
    "overview.png",
    "reconstructions.png",
    "traversals.png",
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


@pytest.fixture
def run(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "run"
    assert main([*tiny_flags(data, folder), "--no-figures"]) == 0
    capsys.readouterr()
    return folder


# --- train --------------------------------------------------------------------------------------


def test_train_writes_the_run_folder_and_says_what_was_learned(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "run"
    assert main(tiny_flags(data, folder)) == 0
    out, err = capsys.readouterr()
    assert "arrays/squares0.npz/train (36 images of 1x16x16)" in out
    assert "accuracy" in out
    assert f"in {folder / 'figures'}" in out
    *_, types, style, pictures, last = out.splitlines()
    assert re.fullmatch(
        r"types: c0 sorts the images into \d of 4 categories; each named by its commonest label,"
        r" [\d.]+% of 4 images have that label",
        types,
    )
    assert style == "style: none yet, the pictures are no better than the mean image"
    assert re.fullmatch(
        r"pictures: the error of a reconstruction is [\d.]+ nats, that of the mean image [\d.]+",
        pictures,
    )
    assert last == f"all in one picture: {folder / 'figures' / 'overview.png'}"
    steps = re.findall(r"^step (\d+) of 13: reconstruction .* images/s.*\n", err, re.M)
    assert steps == ["4", "13"]  # a line at first and at last; no bar where stderr is no terminal
    assert err.count("\n") == 2
    assert sorted(p.name for p in (folder / "figures").iterdir()) == FIGURES
    names = {p.name for p in folder.iterdir() if not p.name.startswith(".")}
    assert names == {
        "config.json", "metrics.jsonl", "model.safetensors", "checkpoint.pt",
        "checkpoint.previous.pt", "evaluation.json", "figures",
    }  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    assert config["training"]["lr"] == 1e-3
    assert config["versions"]["torch"] == torch.__version__
    assert load(folder).latent_spec == {"cont": 2, "disc": [4]}


def test_the_same_command_again_changes_nothing(
    run: Path, data: Path, capsys: pytest.CaptureFixture[str]
):
    before = (run / "checkpoint.pt").read_bytes()
    finished = (
        f"{run} is finished already, at step 13; to go further:"
        f" fastjvae train --resume {run} --steps STEPS"
    )
    for command in ([*tiny_flags(data, run), "--no-figures"], ["train", "--resume", str(run)]):
        assert main(command) == 0
        assert capsys.readouterr().out.splitlines() == [finished]
    assert (run / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("content", [None, b"{", b"{}"])
def test_a_finished_run_without_its_evaluation_is_evaluated(
    content: bytes | None, run: Path, capsys: pytest.CaptureFixture[str]
):
    file = run / "evaluation.json"
    whole = json.loads(file.read_text())
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    assert main(["train", "--resume", str(run)]) == 0
    assert "from step 13 to step 13" in capsys.readouterr().out
    assert json.loads(file.read_text()) == whole


def test_another_configuration_in_the_same_folder_is_refused(
    run: Path, data: Path, capsys: pytest.CaptureFixture[str]
):
    before = (run / "checkpoint.pt").read_bytes()
    message = fails([*tiny_flags(data, run, lr=0.1), "--no-figures"], 1, capsys)
    assert "lr is 0.001 there, 0.1 here" in message
    message = fails([*tiny_flags(data, run, objective="beta"), "--no-figures"], 1, capsys)
    assert "(objective is 'joint' there, 'beta' here);" in message
    flags = tiny_flags(data, run, **{"cont-capacity.hi": 3.0})
    message = fails([*flags, "--no-figures"], 1, capsys)
    assert "(cont_capacity.hi is 2.0 there, 3.0 here);" in message
    assert (run / "checkpoint.pt").read_bytes() == before


def test_resume_trains_on(run: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["train", "--resume", str(run), "--steps", "20"]) == 0
    assert "from step 13 to step 20" in capsys.readouterr().out
    assert [r["step"] for r in read_metrics(RunFolder(run))] == [4, 8, 12, 13, 16, 20]
    assert json.loads((run / "config.json").read_text())["training"]["steps"] == 20


def test_a_run_started_from_a_model_goes_on_from_another_folder(
    run: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(run.parent)
    flags = tiny_flags(data, tmp_path / "further", start_from=run.name)
    assert main([*flags, "--no-figures"]) == 0
    config = RunFolder(tmp_path / "further").read_config()
    assert isinstance(config, TrainConfig)
    assert config.start_from == str(run)


def test_resume_below_the_steps_taken_changes_nothing(
    run: Path, capsys: pytest.CaptureFixture[str]
):
    config = (run / "config.json").read_bytes()
    message = fails(["train", "--resume", str(run), "--steps", "5"], 2, capsys)
    assert "13 steps already" in message
    assert (run / "config.json").read_bytes() == config


def test_a_run_goes_on_from_another_folder_and_after_its_data_moved(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(data.parent)
    assert main([*tiny_flags(Path(data.name), tmp_path / "run"), "--no-figures"]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["train", "--resume", "../run", "--steps", "15"]) == 0
    assert main(["evaluate", "../run"]) == 0
    moved = data.rename(tmp_path / "elsewhere" / "moved.npz")
    capsys.readouterr()
    assert "does not exist" in fails(["train", "--resume", "../run"], 1, capsys)
    argv = ["train", "--resume", "../run", "--steps", "17", "--data-root", moved.name]
    assert main(argv) == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["training"]["steps"] == 17


def test_a_run_from_before_a_setting_was_there_goes_on(run: Path):
    config = json.loads((run / "config.json").read_text())
    del config["training"]["grid"]
    (run / "config.json").write_text(json.dumps(config))
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    del state["config"]["grid"]
    torch.save(state, run / "checkpoint.pt")
    assert main(["train", "--resume", str(run), "--steps", "15"]) == 0


# --- recipes and data sets ------------------------------------------------------------------------


def test_a_part_of_the_sprites_trains_resumes_and_is_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    grid = ["--grid", "scale=5", "orientation=0..39/20", "x=0..31/16", "y=0..31/16"]
    argv = ["train", "sprites", "--recipe", "paper", "--steps", "2", "--out", str(run)]
    assert main([*argv, *grid, "--device", "cpu", "--no-figures"]) == 0
    assert "24 images of 1x64x64" in capsys.readouterr().out
    training = json.loads((run / "config.json").read_text())["training"]
    assert training["grid"] == grid[1:]
    assert "recipe" not in training
    assert main(["train", "--resume", str(run), "--steps", "3"]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(run), "--json"]) == 0
    evaluation = json.loads(capsys.readouterr().out)
    assert evaluation["images"] == 24
    assert evaluation["variables"][0]["accuracy_majority"] is not None  # of the shape
    assert main(["evaluate", str(run), "--grid", "scale=0", "x=3", "y=4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 3 * 40


@pytest.mark.parametrize("name", ["beta", "cc-beta", "factor", "beta-tc"])
def test_other_objectives_train(
    data: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
):
    small = {"factor.layers": 2, "factor.width": 16} if name == "factor" else {}
    assert main(tiny_flags(data, tmp_path / "run", objective=name, **small)) == 0


def test_only_continuous_and_only_discrete_models_train(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    argv = tiny_flags(data, tmp_path / "cont")
    at = argv.index("--disc")
    assert main([*argv[: at + 1], *argv[at + 2 :]]) == 0  # --disc with nothing after it
    assert load(tmp_path / "cont").latent_spec == {"cont": 2}
    assert main(tiny_flags(data, tmp_path / "disc", cont=0)) == 0
    assert load(tmp_path / "disc").latent_spec == {"disc": [4]}


def test_a_signal_stops_with_a_checkpoint_and_says_how_to_go_on(data: Path, tmp_path: Path):
    folder = tmp_path / "run"
    argv = tiny_flags(data, folder, steps=100_000)
    with subprocess.Popen(
        [sys.executable, "-m", "fastjvae", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("training on arrays/squares0.npz")
        while not (folder / "checkpoint.pt").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert f"go on with: fastjvae train --resume {folder}" in out
    assert re.fullmatch(r"step 4 of 100,000: .* left\n", err)


# --- failures -----------------------------------------------------------------------------------


def test_interrupted_outside_the_loop(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fastjvae.cli.training_runs.evaluated", interrupt)
    assert main(tiny_flags(data, tmp_path / "run")) == 130
    assert capsys.readouterr().err.endswith("images/s\nfastjvae: interrupted\n")


def test_training_goes_on_without_stderr(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "stderr", None)
    assert main([*tiny_flags(data, tmp_path / "run"), "--no-figures"]) == 0
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert sys.stderr is None


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_letters_that_a_stream_does_not_have(
    encoding: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = os.fsdecode(bytes(tmp_path) + "/run \N{GREEK SMALL LETTER BETA}".encode() + b"\xe9")
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, errors="strict") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert main([*tiny_flags(data, Path(folder)), "--no-figures"]) == 0
    assert main(["evaluate", folder]) == 0
    assert main(["evaluate", f"{folder}-nothing"]) == 1
    beta = "\N{GREEK SMALL LETTER BETA}" if encoding == "utf-8" else "\\u03b2"
    assert f"model: {tmp_path}/run {beta}\\udce9\n" in out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    with pytest.raises(SystemExit):
        main(["train", "mnist", "--help"])
    last = err.buffer.getvalue().decode(encoding).splitlines()[-1]  # type: ignore[attr-defined]
    assert last.startswith("fastjvae: ")
    assert f"run {beta}" in last


def test_a_reader_that_has_seen_enough(run: Path):
    script = f"{sys.executable} -m fastjvae evaluate {run} --json | true; echo ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert result.stdout in ("0\n", "141\n")


def test_a_run_that_does_not_say_where_its_data_lie_is_named(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    config = json.loads((copy / "config.json").read_text())
    del config["training"]["data_root"]
    (copy / "config.json").write_text(json.dumps(config))
    error = fails(["evaluate", str(copy)], 2, capsys)
    assert f"{copy / 'config.json'}: arrays needs --data-root" in error
    assert main(["evaluate", str(copy), "--data-root", str(data), "--json"]) == 0


def test_a_missing_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    absent = str(tmp_path / "absent")
    assert "config.json is missing" in fails(["train", "--resume", absent], 1, capsys)
    for argv in (["evaluate", absent], ["figures", absent], ["export", absent, "--to", "torch"]):
        assert "no such file or folder" in fails(argv, 1, capsys)


def test_a_folder_of_something_else_is_refused_before_data_are_made(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "thesis.tex").touch()
    monkeypatch.delattr("fastjvae.cli.training_runs.load_data")
    message = fails(tiny_flags(data, tmp_path), 1, capsys)
    assert "exists and is no run folder" in message


def test_a_truncated_checkpoint_stays_as_it_is(run: Path, capsys: pytest.CaptureFixture[str]):
    path = run / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    message = fails(["train", "--resume", str(run)], 1, capsys)
    assert "truncated" in message
    assert "checkpoint.previous.pt" in message
    assert path.stat().st_size == 1000


def test_a_foreign_checkpoint_is_refused(run: Path, capsys: pytest.CaptureFixture[str]):
    torch.save({"weights": torch.zeros(3)}, run / "checkpoint.pt")
    message = fails(["train", "--resume", str(run)], 1, capsys)
    assert "not a training checkpoint of fastjvae" in message


def test_missing_data_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    argv = tiny_flags(tmp_path / "absent.npz", tmp_path / "run")
    assert "absent.npz" in fails(argv, 1, capsys)
    assert not (tmp_path / "run").exists()


def test_an_unwritable_run_folder(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_text("")
    message = fails(tiny_flags(data, tmp_path / "file" / "run"), 1, capsys)
    assert "cannot write" in message


def test_no_space_left_keeps_the_last_checkpoint(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    before = (run / "checkpoint.pt").read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    config = (run / "config.json").read_bytes()
    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["train", "--resume", str(run)]) == 1
    err = capsys.readouterr().err
    assert err == f"fastjvae: cannot write {run / 'metrics.jsonl'}: No space left on device\n"
    for form in ("published", "safetensors", "torch"):
        assert "No space left" in fails(["export", str(run), "--to", form], 1, capsys)
    assert (run / "checkpoint.pt").read_bytes() == before
    assert (run / "config.json").read_bytes() == config


# --- evaluate, figures, export ------------------------------------------------------------------


def test_evaluate_as_table_and_as_json(run: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate", str(run)]) == 0
    table = capsys.readouterr().out
    assert "unused categories" in table
    assert "majority" in table
    assert main(["evaluate", str(run), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values == json.loads((run / "evaluation.json").read_text())
    variable = values["variables"][0]
    assert variable["kl"] == pytest.approx(variable["information"] + variable["imbalance"])


def test_evaluate_on_other_data(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    other = write_arrays(tmp_path, seed=1, images=12)
    assert main(["evaluate", str(run), "--data-root", str(other), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 12
    assert main(["evaluate", str(run), "digits", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert (values["data"], values["images"]) == ("digits/test", 300)


def test_pictures_in_colour_are_told_from_grey_ones(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    colour = tmp_path / "colour"
    colour.mkdir()
    Image.new("RGB", (16, 16), (200, 10, 10)).save(colour / "a.png")
    assert main(["evaluate", str(run), "images", "--data-root", str(colour)]) == 0
    assert capsys.readouterr().err == (
        f"fastjvae: {run} takes grey images, the pictures of {colour} are in colour: they are made"
        f" grey\n"
    )
    Image.new("L", (16, 16), 200).save(colour / "a.png")
    assert main(["evaluate", str(run), "images", "--data-root", str(colour)]) == 0
    assert capsys.readouterr().err == ""
    model = tmp_path / "model"
    JointVAE((3, 32, 32), {"cont": 2}).save_pretrained(model)
    message = fails(["evaluate", str(model), "digits"], 2, capsys)
    assert f"{model} takes RGB images of 32x32, digits/test has grey ones" in message


def test_figures_of_a_run_and_of_a_published_model(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["figures", str(run)]) == 0
    assert sorted(p.name for p in (run / "figures").iterdir()) == FIGURES
    published = tmp_path / "published"
    assert main(["export", str(run), "--to", "published", "--out", str(published)]) == 0
    capsys.readouterr()
    assert "name a data set" in fails(["figures", str(published)], 2, capsys)
    out = tmp_path / "drawn"
    assert main(["figures", str(published), "digits", "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == [f for f in FIGURES if f != "kl-growth.png"]


def test_export_in_every_form(run: Path, capsys: pytest.CaptureFixture[str]):
    model = load(run)
    x = torch.rand(3, 1, 16, 16)
    for form in ("published", "safetensors", "torch"):
        assert main(["export", str(run), "--to", form]) == 0
    published = load_published(run / "export-published")
    assert torch.equal(published(x)[0], model(x)[0])
    specs = json.loads((run / "export-published" / "specs.json").read_text())
    assert specs["cont_capacity"] == [0.0, 2.0, 10, 30.0]
    pretrained = JointVAE.from_pretrained(run / "export-safetensors")
    assert torch.equal(pretrained.eval()(x)[0], model(x)[0])
    encoder = torch.export.load(str(run / "export-torch" / "encoder.pt2")).module()
    torch.testing.assert_close(encoder(x), model.encode_params(x))
