from __future__ import annotations

import dataclasses
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

import numpy as np
import pytest
import torch
from tiny import tiny_flags, write_arrays

import fastjvae
from fastjvae import JointVAE, load, load_published
from fastjvae.cli import main
from fastjvae.cli.parser import parse
from fastjvae.data import DATASETS
from fastjvae.training.recipes import RECIPES, recipe
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.settings import TrainConfig

FIGURES = ["categories-c0.png", "kl-growth.png", "reconstructions.png", "traversals.png"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


@pytest.fixture
def run(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "run"
    assert main([*tiny_flags(data, folder), "--no-figures"]) == 0
    capsys.readouterr()
    return folder


def _fails(argv: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail with one sentence on stderr; returns it."""
    assert main(argv) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fastjvae: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


# --- train --------------------------------------------------------------------------------------


def test_train_writes_the_run_folder_and_says_what_was_learned(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "run"
    assert main(tiny_flags(data, folder)) == 0
    out, err = capsys.readouterr()
    assert "40 images of 1x16x16" in out
    assert "accuracy" in out
    assert f"in {folder / 'figures'}" in out
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
    assert main([*tiny_flags(data, run), "--no-figures"]) == 0
    assert "from step 13 to step 13" in capsys.readouterr().out
    assert (run / "checkpoint.pt").read_bytes() == before


def test_another_configuration_in_the_same_folder_is_refused(
    run: Path, data: Path, capsys: pytest.CaptureFixture[str]
):
    before = (run / "checkpoint.pt").read_bytes()
    message = _fails([*tiny_flags(data, run, lr=0.1), "--no-figures"], 1, capsys)
    assert "lr is 0.001 there, 0.1 here" in message
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
    message = _fails(["train", "--resume", str(run), "--steps", "5"], 2, capsys)
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
    assert "does not exist" in _fails(["train", "--resume", "../run"], 1, capsys)
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


def _config(*argv: str) -> TrainConfig:
    """The settings that a command line of train asks for."""
    config: TrainConfig = parse(["train", *argv]).config.config()
    return config


def test_a_recipe_is_the_defaults_that_other_flags_override(monkeypatch: pytest.MonkeyPatch):
    paper = recipe("mnist")
    other = dataclasses.replace(paper, lr=0.25, disc=(3, 2), steps=7)
    monkeypatch.setitem(RECIPES["mnist"], "default", other)
    assert _config("mnist") == _config("mnist", "--recipe", "paper") == paper
    assert _config("mnist", "--recipe", "default") == other
    changed = dataclasses.replace(other, lr=0.5)
    assert _config("mnist", "--recipe=default", "--lr", "0.5") == changed
    assert _config("mnist", "--lr", "0.5", "--recipe", "default") == changed
    assert _config("digits", "--recipe", "default") == recipe("digits")


@pytest.mark.parametrize("name", ["digits", "images", "arrays"])
def test_data_sets_outside_the_paper_say_what_they_have(
    name: str, capsys: pytest.CaptureFixture[str]
):
    message = _fails(["train", name, "--recipe", "paper"], 2, capsys)
    assert f"{name} has no recipe 'paper', only default; see fastjvae train {name}" in message


def test_a_recipe_that_nothing_has(capsys: pytest.CaptureFixture[str]):
    for argv in (["--recipe", "slow"], ["--recipe=slow"]):
        assert "'slow'" in _fails(["train", "mnist", *argv], 2, capsys)
    assert "recipe" in _fails(["train", "mnist", "--recipe"], 2, capsys)


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


# --- usage --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train", "digits", "--foo", "3"], "Unrecognized options: --foo"),
        (["train", "digits", "--lr", "fast"], "--lr"),
        (["train", "digits", "--steps", "many"], "--steps takes INT, got many; see"),
        (["train", "faces"], "faces"),
        (["trian"], r"trian \(did you mean train"),
        (["train", "mnits"], r"mnits \(did you mean mnist"),
        (["train", "mnist", "--sedes", "0..3"], r"--sedes, 0..3 \(did you mean --seeds\?\); see"),
        (["evaluate", "run", "--jsn"], r"--jsn \(did you mean --json"),
        (["--versoin"], "--versoin; see fastjvae --help"),
        ([], "train"),
        (["train", "digits", "--disc", "1"], "discrete sizes must be integers of at least 2"),
        (["train", "digits", "--cont", "0", "--disc"], "got neither"),
        (["train", "digits", "--cont-capacity.hi", "-5"], "hi must .* got -5.0"),
        (["train", "digits", "--objective", "factor", "--factor.width", "0"], "width .* got 0"),
        (["infogan", "digits", "--noise-units", "-1"], "--noise-units must be at least 0, got -1"),
        (["infogan", "digits", "--beta", "2"], "options: --beta"),
        (["infogan", "digits", "--seed", "1", "--seeds=0..3"], "--seed is for one run"),
        (["train", "digits", "--batch-size", "0"], "--batch-size must be at least 1, got 0"),
        (["train", "digits", "--device", "abacus"], "--device abacus"),
        (["train", "digits", "--image-size", "30", "30"], "30x30 do not fit .* 28x28 and 32x32"),
        (["train", "images"], "--data-root"),
        (["evaluate"], "STR|RUN"),
        (["export", "run", "--to", "onnx"], "onnx"),
        (["train", "--resume"], "--resume"),
        (["train", "--resume", "x", "--lr", "1"], "--lr"),
        (["train", "--resume", "x", "--seeds", "1"], "Unrecognized options: --seeds"),
        (["train", "--resume", "x", "--step=9"], r"--step=9 \(did you mean --steps"),
        (["train", "digits", "--seeds"], "--seeds"),
        (["train", "digits", "--seeds", "3..1"], r"as 1\.\.3 does, got '3\.\.1'; see .* digits"),
        (["train", "digits", "--seeds=a"], "such as 0..9 or 0,3,7, got 'a'"),
        (["train", "digits", "--seed", "1", "--seeds=0..3"], "--seed is for one run"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(
    argv: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert re.search(message, _fails(argv, 2, capsys))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--help"], ["train", "evaluate", "figures", "export"]),
        (["train", "--help"], list(DATASETS)),
        (["train", "mnist", "--help"], ["--recipe", "appendix C of the paper"]),
        (["train", "sprites", "--help"], ["--grid", "x=0..31/4", "300000", "(default: 30)"]),
        (["train", "--help"], ["train --resume RUN", "train DATASET --seeds 0..9"]),
        (["train", "mnist", "--help"], ["--cont-capacity.iters", "25000", "nats", "--data-root"]),
        (["train", "mnist", "--help"], ["--seeds SEEDS", "runs/DATASET-seeds/seedN"]),
        (["train", "mnist", "--help"], ["--factor.gamma", "--factor.width", "beta-tc"]),
        (["infogan", "--help"], ["digits", "mnist", "train --resume RUN"]),
        (["infogan", "mnist", "--help"], ["--noise-units", "--generator-lr", "--seeds SEEDS"]),
        (["evaluate", "--help"], ["--json"]),
    ],
)
def test_help_explains(argv: list[str], words: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert not stop.value.code
    out = capsys.readouterr().out
    assert all(word in out for word in words)


# --- failures -----------------------------------------------------------------------------------


def test_interrupted_outside_the_loop(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fastjvae.cli.training_runs.evaluate", interrupt)
    assert main(tiny_flags(data, tmp_path / "run")) == 130
    assert capsys.readouterr().err.endswith("images/s\nfastjvae: interrupted\n")


def test_interrupted_while_torch_is_loaded():
    script = (
        "import sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch':\n            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupts())\n"
        "from fastjvae.cli import main\nsys.exit(main(['evaluate', 'run']))"
    )
    result = _run_python(script)
    assert (result.returncode, result.stdout) == (130, "")
    assert result.stderr == "fastjvae: interrupted\n"


def test_the_version(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"fastjvae {fastjvae.__version__}\n", "")


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_are_no_files_of_ours(closed: str, tmp_path: Path):
    script = (
        "import os, sys\nfrom fastjvae.cli import program\n"
        "def run():\n"
        "    print('to stdout')\n    print('to stderr', file=sys.stderr)\n"
        "    file = open('own', 'w')\n    assert file.fileno() > 2\n"
        "    os.write(2, b'of a library')\n    return 5\n"
        "sys.exit(program._exit_code(run))"
    )
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    assert (tmp_path / "own").read_text() == ""


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


def test_a_disk_that_is_full_is_said_of_what_is_printed():
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    script = "import sys\nfrom fastjvae.cli import main\nsys.exit(main(['--version']))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "fastjvae: No space left on device\n")


def test_warnings_of_ours_are_a_line():
    script = (
        "import warnings\nfrom fastjvae.cli import program\n"
        "def run():\n"
        "    warnings.warn_explicit('look here', UserWarning, program.__file__, 1)\n"
        "    warnings.warn_explicit('or there', UserWarning, 'elsewhere.py', 1)\n"
        "    return 0\n"
        "program._exit_code(run)"
    )
    assert _run_python(script).stderr == (
        "fastjvae: look here\nelsewhere.py:1: UserWarning: or there\n"
    )


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
    error = _fails(["evaluate", str(copy)], 2, capsys)
    assert f"{copy / 'config.json'}: arrays needs --data-root" in error
    assert main(["evaluate", str(copy), "--data-root", str(data), "--json"]) == 0


def test_a_missing_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    absent = str(tmp_path / "absent")
    assert "config.json is missing" in _fails(["train", "--resume", absent], 1, capsys)
    for argv in (["evaluate", absent], ["figures", absent], ["export", absent, "--to", "torch"]):
        assert "no such file or folder" in _fails(argv, 1, capsys)


def test_a_folder_of_something_else_is_refused_before_data_are_made(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "thesis.tex").touch()
    monkeypatch.delattr("fastjvae.cli.training_runs.load_data")
    message = _fails(tiny_flags(data, tmp_path), 1, capsys)
    assert "exists and is no run folder" in message


def test_a_truncated_checkpoint_stays_as_it_is(run: Path, capsys: pytest.CaptureFixture[str]):
    path = run / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    message = _fails(["train", "--resume", str(run)], 1, capsys)
    assert "truncated" in message
    assert "checkpoint.previous.pt" in message
    assert path.stat().st_size == 1000


def test_a_foreign_checkpoint_is_refused(run: Path, capsys: pytest.CaptureFixture[str]):
    torch.save({"weights": torch.zeros(3)}, run / "checkpoint.pt")
    message = _fails(["train", "--resume", str(run)], 1, capsys)
    assert "not a training checkpoint of fastjvae" in message


def test_missing_data_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    argv = tiny_flags(tmp_path / "absent.npz", tmp_path / "run")
    assert "absent.npz" in _fails(argv, 1, capsys)
    assert not (tmp_path / "run").exists()


def test_an_unwritable_run_folder(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_text("")
    message = _fails(tiny_flags(data, tmp_path / "file" / "run"), 1, capsys)
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
        assert "No space left" in _fails(["export", str(run), "--to", form], 1, capsys)
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


def test_figures_of_a_run_and_of_a_published_model(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["figures", str(run)]) == 0
    assert sorted(p.name for p in (run / "figures").iterdir()) == FIGURES
    published = tmp_path / "published"
    assert main(["export", str(run), "--to", "published", "--out", str(published)]) == 0
    capsys.readouterr()
    assert "name a data set" in _fails(["figures", str(published)], 2, capsys)
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


# --- import -------------------------------------------------------------------------------------


HEAVY = [
    "matplotlib", "sklearn", "scipy", "torchvision", "triton", "PIL", "pandas", "tensorboard",
    "safetensors", "filelock", "torch._dynamo", "torch._inductor", "torch.utils.tensorboard",
]  # fmt: skip


def test_what_help_does_not_import():
    script = (
        "import sys, torch\nbefore = set(sys.modules)\nfrom fastjvae.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print([m for m in {HEAVY} if m in sys.modules and m not in before])"
    )
    result = _run_python(script)
    assert result.stdout.endswith("\n[]\n"), result.stdout + result.stderr
    assert "train" in result.stdout


def test_import_loads_nothing_heavy_and_nothing_at_all_before_it_is_asked_for():
    script = (
        "import sys\nimport fastjvae, fastjvae.cli.program\nassert 'torch' not in sys.modules\n"
        "import torch\nbefore = set(sys.modules)\n"
        "for name in fastjvae.__all__:\n    getattr(fastjvae, name)\n"
        f"print([m for m in {[*HEAVY, 'tyro']} if m in sys.modules and m not in before])"
    )
    result = _run_python(script)
    assert result.stdout == "[]\n", result.stdout + result.stderr


def _run_python(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, check=False
    )


def test_import_works_without_triton():
    script = "import sys\nsys.modules['triton'] = None\nimport fastjvae\nfastjvae.JointVAE"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_public_name_is_there():
    assert all(hasattr(fastjvae, name) for name in fastjvae.__all__)
    assert set(fastjvae.__all__) <= set(dir(fastjvae))
    assert not hasattr(fastjvae, "JoinVAE")
    assert fastjvae.figures.kl_growth  # type: ignore[attr-defined]  # any module of the package
    assert issubclass(fastjvae.FastJVAEError, Exception)
    assert isinstance(np.asarray(fastjvae.metrics.cluster_accuracy([0], [0])).item(), float)
