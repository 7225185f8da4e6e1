"""A run of phases: what each has of its own, and that a stop anywhere changes nothing."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from cuda_stand_ins import Streams
from programs import finish, start
from runs import assert_resume_changes_nothing, comparable, losses, trainer_of
from tiny_runs import SHARED, assert_same_state, tiny_config, write_arrays

from benchmarks.environment import has_compiler
from fastjvae.cli import main
from fastjvae.cli.training_runs import train_seeds
from fastjvae.data import load as load_data
from fastjvae.errors import ArgumentError, RunError
from fastjvae.model.checkpoint import read_checkpoint
from fastjvae.objectives import JointObjective, SharedObjective
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.settings.phases import Phase
from fastjvae.training.settings.train import TrainConfig
from fastjvae.training.trainer import Trainer

TYPES, STYLE = 6, 7  # steps; checkpoints of their own lie at 5 and 10, log lines at 4, 8, 12


def phased(data: Path, refits: tuple[int, ...] = (), **changes: Any) -> TrainConfig:
    types = Phase("types", TYPES, lr=2e-3, refits=refits, **SHARED)  # type: ignore[arg-type]
    settings: dict[str, Any] = {"batch_size": 4, "warmup": 2, **changes}
    return tiny_config(data, **settings, phases=(types, Phase("style", STYLE)))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


@pytest.mark.parametrize(
    ("stop", "changes"),
    [
        (2, {"refits": (3,)}),
        *((stop, {}) for stop in (4, TYPES, TYPES + 1, 10, 12)),
        *((stop, {"accumulate": 2}) for stop in (4, TYPES, TYPES + 1)),
    ],
)
def test_resume_is_bitwise_in_and_between_phases(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: int,
    changes: dict[str, Any],
):
    config = phased(data, **changes)
    assert_resume_changes_nothing(config, tmp_path, stop, monkeypatch)


def test_a_run_killed_between_the_checkpoint_and_the_next_phase_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = phased(data)
    assert trainer_of(config, tmp_path / "whole").train()

    def killed(self: Trainer) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_next_phase", killed)
        with pytest.raises(KeyboardInterrupt):
            trainer_of(config, tmp_path / "parts").train()
    assert read_checkpoint(tmp_path / "parts" / "checkpoint.pt")["step"] == TYPES
    assert trainer_of(config, tmp_path / "parts").train()
    assert_same_state(comparable(tmp_path / "whole"), comparable(tmp_path / "parts"))


def test_each_phase_trains_as_a_run_of_its_settings(data: Path, tmp_path: Path):
    """Its own batches, objective, learning rates and schedules, from the weights before it."""
    config = phased(data, refits=(3,))
    ours = trainer_of(config, tmp_path / "run")
    types, style = (phase.config for phase in config.phase_configs)
    alone = trainer_of(types, tmp_path / "types")
    assert (types.steps, types.batch_size, types.lr, types.group) == (TYPES, 4, 2e-3, 2)
    assert (style.steps, style.batch_size, style.lr, style.group) == (STYLE, 4, 1e-3, 1)
    assert isinstance(ours.objective, SharedObjective)
    assert ours.train()
    assert alone.train()
    assert isinstance(ours.objective, JointObjective)
    assert_same_state(records_of(tmp_path / "run", "types"), records_of(tmp_path / "types"))
    steps = {int(state["step"]) for state in ours.optimizer.state.values()}
    assert steps == {STYLE}
    assert int(ours.device_step) == STYLE
    record = records_of(tmp_path / "run", "style")[0]
    assert record["step"] == 8  # the second step of the phase, whose capacity begins again
    assert record["capacity_cont"] == pytest.approx(2.0 * (1 + 2) / 2 / 10)
    assert record["epoch"] == pytest.approx(2 / 10)


def records_of(folder: Path, phase: str | None = None) -> list[dict[str, Any]]:
    records = comparable(folder)[1]
    return [record for record in records if record.pop("phase", None) == phase]


def test_the_folder_says_what_the_phases_are(data: Path, tmp_path: Path):
    config = phased(data, refits=(3,))
    run = RunFolder(tmp_path / "run")
    assert trainer_of(config, run.path).train()
    records = read_metrics(run)
    assert [(r["step"], r["phase"]) for r in records] == [
        (4, "types"),
        (TYPES, "types"),  # a phase ends with a line of its own
        (8, "style"),
        (12, "style"),
        (13, "style"),
    ]
    whole = json.loads(run.config_file.read_text())
    assert "phases" not in whole["training"]
    assert whole["training"]["lr"] == 1e-3
    assert whole["training"]["steps"] == TYPES + STYLE
    types, style = whole["phases"]
    assert types == {"name": "types", "steps": TYPES, "lr": 2e-3, "refits": [3], **SHARED}
    assert style == {"name": "style", "steps": STYLE}
    assert run.read_config() == config


def test_a_longer_run_lengthens_its_last_phase(data: Path, tmp_path: Path):
    run = tmp_path / "run"
    longer = phased(data).ending_at(20)
    assert [phase.steps for phase in longer.phases] == [TYPES, 14]
    assert trainer_of(longer, tmp_path / "whole").train()
    assert trainer_of(phased(data), run).train()
    assert main(["train", "--resume", str(run), "--steps", "20"]) == 0
    assert RunFolder(run).read_config() == longer
    state, records = comparable(run)
    right_state, right_records = comparable(tmp_path / "whole")
    ends_before = {13}  # a line of the end that this run had first
    assert [r for r in records if r["step"] not in {*ends_before, 16}] == [
        r for r in right_records if r["step"] != 16
    ]
    for name in ("model", "optimizer"):
        assert_same_state(state[name], right_state[name])


def test_a_shorter_run_does_not_lose_its_last_phase(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = tmp_path / "run"
    assert trainer_of(phased(data), run).train()
    before = (run / "config.json").read_text()
    capsys.readouterr()
    assert main(["train", "--resume", str(run), "--steps", str(TYPES)]) == 2
    assert capsys.readouterr().err == (
        "fastjvae: --steps 6 ends before the phase style, which begins after step 6 and is the one"
        " that changes its length; give more\n"
    )
    assert (run / "config.json").read_text() == before


def test_another_run_is_told_by_the_setting_of_its_phase(data: Path, tmp_path: Path):
    config = phased(data)
    trainer_of(config, tmp_path / "run").train()
    types, style = config.phases
    other = dataclasses.replace(config, phases=(dataclasses.replace(types, lr=3e-3), style))
    with pytest.raises(RunError, match=r"types\.lr is 0\.002 there, 0\.003 here"):
        trainer_of(other, tmp_path / "run")
    with pytest.raises(RunError, match=r"types\.steps is 6 there, None here"):
        trainer_of(dataclasses.replace(config, phases=()), tmp_path / "run")


def test_an_objective_of_ones_own_is_for_a_run_in_one_piece(data: Path, tmp_path: Path):
    config = phased(data)
    images = load_data(config.source())
    with pytest.raises(ArgumentError, match="has the phases types, style: give dataclasses"):
        Trainer(config, images, RunFolder(tmp_path / "run"), objective=JointObjective())
    assert not (tmp_path / "run").exists()


def test_several_processes_train_phases_as_one(data: Path, tmp_path: Path):
    """The parameters are handed from one exchange of gradients to the next."""
    runs = [str(tmp_path / name) for name in ("alone", "run")]
    for run in runs:
        trainer_of(phased(data, figures=False), Path(run))  # makes the folder
    assert main(["train", "--resume", runs[0]]) == 0
    results = finish(start(["train", "--resume", runs[1]], 2))
    assert [code for code, _, _ in results] == [0, 0], results
    alone, run = (losses(Path(each)) for each in runs)
    assert [record["phase"] for record in run] == [record["phase"] for record in alone]
    for one, other in zip(run, alone, strict=True):
        for name in set(one) - {"phase"}:
            assert one[name] == pytest.approx(other[name], rel=1e-3, abs=1e-3), name


def test_seeds_train_phases(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config = phased(data, out=str(tmp_path / "alone"), figures=False)
    assert trainer_of(dataclasses.replace(config, seed=1), tmp_path / "alone").train()
    assert train_seeds(dataclasses.replace(config, out=str(tmp_path / "seeds")), (0, 1)) == 0
    assumed = "assumed: neighbouring and moved images show the same type"
    assert assumed in capsys.readouterr().out.splitlines()
    assert main(["evaluate", str(tmp_path / "seeds" / "seed1")]) == 0
    assert capsys.readouterr().out.endswith(f"\n  {assumed}\n")
    alone, seed = (comparable(tmp_path / name) for name in ("alone", "seeds/seed1"))
    for each in (alone, seed):
        each[0]["rng"].pop("cpu")
    assert_same_state(alone, seed)


@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(not has_compiler(), reason="torch.compile needs a C++ compiler")
def test_compiled_phases_agree(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for name, compiled in (("run", True), ("plain", False)):
        assert trainer_of(phased(data, compile=compiled), tmp_path / name).train()
    assert "goes on without" not in capsys.readouterr().err
    for phase in ("types", "style"):
        ours, plain = (records_of(tmp_path / name, phase) for name in ("run", "plain"))
        assert [r["loss"] for r in ours] == pytest.approx([r["loss"] for r in plain], rel=1e-3)


def test_each_phase_is_captured_in_a_graph_of_its_own(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    streams = Streams()
    streams.patch(monkeypatch)
    trainer = trainer_of(phased(data), tmp_path / "run")
    for phase in ("types", "style"):
        assert trainer.phase.name == phase
        take: Any = trainer.take
        take.take(trainer.batches.select(0), 0)
        streams.synchronize()
        with torch.no_grad(), streams:
            selected = trainer.batches.select(1)
            with torch.enable_grad():
                take._capture(selected, 1).replay(selected)
        streams.synchronize()
        if phase == "types":
            trainer._next_phase()
    assert streams.unordered == []


@pytest.mark.parametrize("name", ["types", "style"])
def test_a_phase_says_which_of_its_settings_is_wrong(data: Path, name: str):
    phases = tuple(Phase(n, 3, group=3 if n == name else None) for n in ("types", "style"))
    with pytest.raises(ArgumentError, match=f"in the phase {name}: --batch-size must be a mult"):
        tiny_config(data, phases=phases)
