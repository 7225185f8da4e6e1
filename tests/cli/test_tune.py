from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from programs import Program, finish
from tiny_runs import fails, flags_of, write_arrays

from fastjvae.cli import main, tune
from fastjvae.errors import NonFiniteLossError
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.trainer import Trainer
from fastjvae.training.tuning.goals import Goal

pytest.importorskip("optuna", reason="needs the tune extra")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


def _flags(data: Path, out: Path, *search: str, **changes: Any) -> list[str]:
    settings = {"recipe": "paper", "steps": 3, "seeds": "0..1", "jobs": 1, **changes}
    flags = flags_of("tune", data, out, **settings)
    return [*flags, "--search", *search] if search else flags


def _study(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "study.json").read_text())


def _runs(folder: Path) -> list[str]:
    """The run folders that are finished."""
    return sorted(
        str(p.parent.relative_to(folder)) for p in folder.glob("trial*/*/evaluation.json")
    )


_SEARCH = ("lr=1e-4..2e-3:log", "temperature=0.5,0.67")


def test_a_search_tries_settings_and_names_the_best(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "study"
    assert main([*_flags(data, folder, *_SEARCH), "--trials", "3"]) == 0
    out = capsys.readouterr().out
    study = _study(folder)
    assert _runs(folder) == [f"trial{t:04d}/seed{s}" for t in range(3) for s in range(2)]
    assert [trial["number"] for trial in study["trials"]] == [0, 1, 2]
    best = max(study["trials"], key=lambda trial: trial["score"])
    assert study["chosen"] == best["number"]
    assert f"best: trial {best['number']} of 3, udr {best['score']:.4f} ±" in out
    assert (folder / "study.png").read_bytes().startswith(b"\x89PNG")
    for trial in study["trials"]:
        seeds = json.loads((folder / trial["folder"] / "seeds.json").read_text())
        assert [row["udr"] or 0.0 for row in seeds["seeds"]] == trial["scores"]
        config = json.loads((folder / trial["folder"] / "seed1" / "config.json").read_text())
        assert config["training"]["lr"] == trial["settings"]["lr"]
        assert config["training"]["temperature"] == trial["settings"]["temperature"]
        assert 1e-4 <= trial["settings"]["lr"] <= 2e-3
    assert main(["evaluate", str(folder / "trial0001" / "seed0"), "--json"]) == 0
    capsys.readouterr()

    # The command that it prints trains what it has tried.
    command = next(line for line in out.splitlines() if line.startswith("fastjvae train"))
    assert command == study["command"]
    again = tmp_path / "again"
    assert main([*command.split()[1:], "--out", str(again), "--no-figures"]) == 0
    for name in ("model.safetensors", "evaluation.json"):
        ours = folder / best["folder"] / "seed0" / name
        assert (again / "seed0" / name).read_bytes() == ours.read_bytes()

    # The same command again has nothing to do; with more trials it goes on.
    capsys.readouterr()
    assert main([*_flags(data, folder, *_SEARCH), "--trials", "3"]) == 0
    assert "trial 3" not in capsys.readouterr().out
    assert main([*_flags(data, folder, *_SEARCH), "--trials", "4"]) == 0
    assert [trial["number"] for trial in _study(folder)["trials"]] == [0, 1, 2, 3]


def test_a_study_can_be_repeated(data: Path, tmp_path: Path):
    settings = []
    for name in ("one", "two"):
        folder = tmp_path / name
        flags = [*_flags(data, folder, *_SEARCH, by="objective", seeds=0), "--trials", "2"]
        assert main(flags) == 0
        settings.append([trial["settings"] for trial in _study(folder)["trials"]])
    assert settings[0] == settings[1]
    assert settings[0][0] != settings[0][1]


def test_three_processes_share_one_study(data: Path, tmp_path: Path):
    folder = tmp_path / "study"
    flags = [*_flags(data, folder, *_SEARCH, by="accuracy_majority", seeds=0), "--trials", "5"]
    results = finish([Program(flags) for _ in range(3)])
    assert [code for code, _, _ in results] == [0, 0, 0], results
    assert main(flags) == 0  # the last word: another process may have ended after the one before
    trials = _study(folder)["trials"]
    assert len(trials) == 5
    assert len({trial["settings"]["lr"] for trial in trials}) == 5
    assert _runs(folder) == sorted(f"{trial['folder']}/seed0" for trial in trials)
    begun = [re.findall(r"^trial (\d+): --", out, re.MULTILINE) for _, out, _ in results]
    assert sorted(int(number) for each in begun for number in each) == sorted(
        trial["number"] for trial in trials
    )


def test_a_stop_loses_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "study"
    flags = [*_flags(data, folder, *_SEARCH, by="reconstruction", seeds=0), "--trials", "2"]
    take = Trainer.train_step

    def train_step(trainer: Trainer) -> None:
        take(trainer)
        if (trainer.run.path.parent.name, trainer.step) == ("trial0001", 2):
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", train_step)
        assert main(flags) == 128 + signal.SIGTERM
    out = capsys.readouterr().out
    assert "best: trial 0 of 1" in out
    assert out.endswith("stopped; go on with the same command again\n")
    assert main(flags) == 0
    log = (folder / "trial0001" / "trial.log").read_text()
    assert "from step 2 to step 3" in log
    assert _runs(folder) == ["trial0000/seed0", "trial0001/seed0"]
    first, second = _study(folder)["trials"]
    assert second["folder"] == "trial0001"
    assert second["settings"]["lr"] != first["settings"]["lr"]


def test_a_trial_whose_process_was_killed_goes_on_in_its_folder(data: Path, tmp_path: Path):
    folder = tmp_path / "study"

    def flags(steps: int) -> list[str]:
        return [
            *_flags(data, folder, "lr=1e-4..2e-3", by="reconstruction", seeds=0, steps=steps),
            *("--trials", "1"),
        ]

    begun = Program(flags(200_000))
    begun.wait_for(folder / "trial0000" / "seed0" / "checkpoint.pt")
    begun.kill()
    finish([begun])
    checkpoint = folder / "trial0000" / "seed0" / "checkpoint.pt"
    before = checkpoint.stat().st_mtime_ns
    again = Program(flags(200_000))
    deadline = time.monotonic() + 60
    while checkpoint.stat().st_mtime_ns == before:  # it trains, and so a signal is answered
        assert time.monotonic() < deadline
        time.sleep(0.05)
    log = (folder / "trial0000" / "trial.log").read_text()
    assert re.search(r"from step [\d,]+ to step 200,000", log)
    again.send_signal(signal.SIGTERM)
    ((code, out, _),) = finish([again])
    assert code == 128 + signal.SIGTERM
    assert "no setting is finished" in out
    assert [path.name for path in folder.glob("trial*")] == ["trial0000"]


def test_seeds_that_are_not_worth_it_are_left_out(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Below the median of the trials before, once there are five of them."""
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.05, 0.9]

    def of_seeds(_: Any, __: Any, runs: list[RunFolder]) -> list[float]:
        number = int(runs[0].path.parent.name.removeprefix("trial"))
        return [scores[number]] * len(runs)

    monkeypatch.setattr(Goal, "of_seeds", of_seeds)
    folder = tmp_path / "study"
    flags = _flags(data, folder, "lr=1e-4..2e-3", by="accuracy_majority", steps=1)
    assert main([*flags, "--trials", "7"]) == 0
    assert "trial 5: left after 1 seeds, accuracy_majority 0.0500" in capsys.readouterr().out
    pruned = [trial["number"] for trial in _study(folder)["trials"] if trial["pruned"]]
    assert pruned == [5]
    assert [p.name for p in (folder / "trial0005").glob("seed?")] == ["seed0"]
    assert _study(folder)["chosen"] == 6


def test_settings_that_cannot_be_trained_are_said_and_left(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    train = Trainer.train

    def fail(trainer: Trainer) -> bool:
        if trainer.config.temperature == 0.67:
            raise NonFiniteLossError("the loss is not finite at step 3: loss")
        return train(trainer)

    monkeypatch.setattr(Trainer, "train", fail)
    folder = tmp_path / "study"
    flags = _flags(data, folder, "temperature=0.5,0.67", by="reconstruction", seeds=0)
    assert main([*flags, "--trials", "4"]) == 0
    out, err = capsys.readouterr()
    trials = _study(folder)["trials"]
    assert len(trials) == 4
    failed = [trial for trial in trials if trial["error"]]
    assert {trial["settings"]["temperature"] for trial in failed} == {0.67}
    assert failed[0]["error"].startswith("a seed failed, see ")
    assert f"trial {failed[0]['number']}: failed: a seed failed" in out
    assert "seed 0 failed: the loss is not finite" in err


def test_a_database_is_shared_by_machines_without_a_common_folder(data: Path, tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    for machine, trials in (("a", 1), ("b", 2)):
        flags = _flags(data, tmp_path / machine / "s", *_SEARCH, by="objective", seeds=0)
        assert main([*flags, "--storage", url, "--trials", str(trials)]) == 0
    assert _runs(tmp_path / "a" / "s") == ["trial0000/seed0"]
    assert _runs(tmp_path / "b" / "s") == ["trial0001/seed0"]
    assert len(_study(tmp_path / "b" / "s")["trials"]) == 2


# --- the ladder -----------------------------------------------------------------------------------


def test_without_a_search_the_capacity_is_chosen(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "ladder"
    assert main(_flags(data, folder, steps=5)) == 0
    out = capsys.readouterr().out
    study = _study(folder)
    nats = [trial["settings"]["cont_capacity.hi"] for trial in study["trials"]]
    assert nats == [2.5, 5.0, 10.0, 20.0, 40.0, 80.0]
    assert len(_runs(folder)) == 12
    config = json.loads((folder / "trial0003" / "seed0" / "config.json").read_text())["training"]
    assert config["cont_capacity"] == {"lo": 0.0, "hi": 20.0, "iters": 4, "gamma": 30.0, "start": 0}
    assert config["disc_capacity"]["iters"] == 4
    chosen = nats[study["chosen"]]
    assert re.search(rf"^ +{chosen:g}  [\d.]+ ± [\d.]+  chosen$", out, re.MULTILINE)
    assert "the paper's C_z: 5 nats" in out  # of its setting for MNIST, which the recipe is
    assert f"--cont-capacity.hi {chosen:g} --seeds 0..1" in study["command"]
    assert "iters" not in study["command"]  # those of a run of full length
    before = (folder / "study.json").read_bytes()
    assert main(_flags(data, folder, steps=5)) == 0
    assert (folder / "study.json").read_bytes() == before


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--search lear=1..2", "there is no setting 'lear'"),
        ("--search lr=1e-4..1e-3 --lr 1e-3", "--lr is given and searched: leave one of the two"),
        ("--search lr=1e-4..1e-3 --trials 0", "--trials must be at least 1, got 0"),
        ("--trials 5", "--trials is for --search, got 5 without it: the ladder has 6 values"),
        ("--seed 3", "give --seeds instead of --seed"),
        ("--seeds 3", "--by udr compares models of at least 2 seeds, got --seeds 3"),
        ("--by acuracy_majority", "(did you mean accuracy_majority?)"),
        ("--search epochs=1..5", "are counted in steps: search steps"),
        ("--cont 0", "--cont 0 leaves no units for it"),
        ("--style.cont-capacity.hi 5", "chooses --style.cont-capacity.hi: leave it out"),
        ("--jobs 0", "--jobs must be at least 1"),
        ("--trails 3", "did you mean --trials?"),
        ("--by factor_vae", "--by factor_vae needs ground-truth factors, digits/test has none"),
    ],
)
def test_wrong_usage_is_one_sentence(
    flags: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.chdir(tmp_path)
    assert sentence in fails(["tune", "digits", *flags.split()], 2, capsys)
    assert not (tmp_path / "runs").exists()


def test_folders_and_storages_that_cannot_be_used(data: Path, tmp_path: Path, capsys: Any):
    folder = tmp_path / "study"
    search = _flags(data, folder, "lr=1e-4..1e-3", by="objective", seeds=0, steps=1)
    assert main([*search, "--trials", "1"]) == 0
    capsys.readouterr()
    other = _flags(data, folder, "lr=1e-4..1e-2", by="objective", seeds=0, steps=1)
    assert "holds another study (search is ['lr=0.0001..0.001'] there" in fails(other, 1, capsys)
    other = _flags(data, folder, "lr=1e-4..1e-3", by="objective", seeds=0, steps=2)
    assert "holds another study (steps is 1 there, 2 here)" in fails(other, 1, capsys)
    inside = _flags(data, folder / "trial0000" / "seed0", "lr=1e-4..1e-3", by="objective", seeds=0)
    assert "is a run folder" in fails(inside, 1, capsys)
    for url in ("nonsense://x", "nonsense", f"sqlite:///{tmp_path}/none/x.db"):
        sentence = fails([*search, "--out", str(tmp_path / "n"), "--storage", url], 2, capsys)
        assert f"--storage {url} cannot be used: " in sentence


def test_without_optuna_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setattr(tune, "find_spec", lambda name: None)
    assert "tune needs the extra: pip install 'fastjvae[tune]'" in fails(
        ["tune", "digits"], 2, capsys
    )


def test_torchrun_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "tune is one process without torchrun" in fails(["tune", "digits"], 2, capsys)


def test_the_command_line_does_not_import_optuna():
    code = "import sys, fastjvae.cli.parser; print('optuna' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "kernels")])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout == "False\n"
