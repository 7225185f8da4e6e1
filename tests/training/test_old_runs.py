"""Run folders and models that earlier code wrote load, evaluate and resume.

``old_runs/make.py`` made them: every weight and every moment of Adam is the same constant.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import Tensor

import fastjvae
from fastjvae.cli import main
from fastjvae.cli.training_runs import train_seeds
from fastjvae.data import load as load_data
from fastjvae.training import RunFolder, Trainer
from fastjvae.training.infogan.trainer import InfoGANTrainer

OLD_RUNS = ROOT / "tests" / "old_runs"
CONSTANT = 2.0**-8
STOPPED = ("joint", "shared", "factor", "infogan")  # by a signal, in step 3
MODELS = (*STOPPED, "finished", "seeds/seed1", "pretrained", "published")
# The first releases of Python 3.10 and 3.11 have no filter, later ones warn of none.
FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def unpacked(name: str, folder: Path) -> Path:
    """The folder of that name, from the archive of its first part."""
    with tarfile.open(OLD_RUNS / f"{name.split('/')[0]}.tar.gz") as tar:
        tar.extractall(folder, **FILTER)
    return folder / name


def assert_constant(tensors: Iterable[Tensor]) -> None:
    constant = [bool((tensor == CONSTANT).all()) for tensor in tensors]
    assert constant
    assert all(constant)


def assert_evaluation(found: dict[str, Any]) -> None:
    """The names that others read, and numbers or null."""
    assert found["data"] == "digits/test"
    assert found["images"] == 300
    assert isinstance(found["collapsed"], bool)
    (variable,) = found["variables"]
    numbers = [found["reconstruction"], *found["kl_cont"]]
    numbers += [variable[name] for name in ("kl", "accuracy_majority", "accuracy_one_to_one")]
    assert all(number is None or math.isfinite(number) for number in numbers)


# --- models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_a_model_loads_and_is_evaluated(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = unpacked(name, tmp_path)
    model = fastjvae.load(path)
    assert_constant(model.parameters())
    assert not model.training
    assert (model.img_size, model.temperature) == ((1, 32, 32), 0.67)
    # One of InfoGAN's units is noise that nobody reads.
    assert model.latent_spec == {"cont": 3 if name == "infogan" else 2, "disc": [10]}

    data = [] if (path / "metrics.jsonl").exists() else ["digits"]
    assert main(["evaluate", str(path), *data, "--json", "--device", "cpu"]) == 0
    out, err = capsys.readouterr()
    assert err == ""  # no setting is unknown
    found = json.loads(out)
    assert_evaluation(found)
    reconstruction = 711.5562 if name == "infogan" else 711.4916
    assert found["reconstruction"] == pytest.approx(reconstruction, rel=1e-5)
    assert found["kl_cont"] == pytest.approx([0.360939] * model.spec.cont, rel=1e-4)
    # By metrics.jsonl, whose last line is of step 2 where a signal came in the next one.
    steps = {"finished": 3, "seeds/seed1": 3, "pretrained": None, "published": None}
    assert found["steps"] == steps.get(name, 2)


def test_a_file_of_a_run_names_its_model(tmp_path: Path):
    run = unpacked("finished", tmp_path)
    for file in ("config.json", "model.safetensors", "checkpoint.pt"):
        assert_constant(fastjvae.load(run / file).parameters())
    assert_constant(fastjvae.JointVAE.from_pretrained(run).parameters())


def test_the_published_form_loads(tmp_path: Path):
    folder = unpacked("published", tmp_path)
    for path in (folder, folder / "model.pt"):
        model = fastjvae.load_published(path)
        assert_constant(model.parameters())
        assert model.latent_spec == {"cont": 2, "disc": [10]}


def test_the_checkpoint_before_the_last_loads(tmp_path: Path):
    run = unpacked("joint", tmp_path)
    assert_constant(fastjvae.load(run / "checkpoint.previous.pt").parameters())
    (run / "checkpoint.pt").unlink()
    assert trainer_of(run).step == 2


# --- resume ---------------------------------------------------------------------------------------


def trainer_of(run: Path) -> Any:
    config = RunFolder(run).read_config()
    kind: Any = InfoGANTrainer if run.name == "infogan" else Trainer
    return kind(config, load_data(config.source()), RunFolder(run), resuming=True)


@pytest.mark.parametrize("name", STOPPED)
def test_all_of_the_state_is_taken_up(name: str, tmp_path: Path):
    run = unpacked(name, tmp_path)
    state = torch.load(run / "checkpoint.pt", weights_only=True)
    trainer = trainer_of(run)
    assert torch.equal(torch.get_rng_state(), state["rng"]["cpu"])
    assert torch.equal(trainer.noise.get_state(), state["rng"]["noise"])
    assert trainer.step == int(trainer.device_step) == state["step"] == 3
    assert torch.equal(trainer.recorder.read(), state["metrics"])
    assert len(state["metrics"]) == 1

    assert_constant(trainer.model.parameters())
    adam = trainer.optimizer
    trained = [p for group in adam.param_groups for p in group["params"]]
    assert len(trained) == len(adam.state) == len(state["optimizer"]["state"])
    for parameter in trained:
        moments = adam.state[parameter]
        assert moments["step"] == 3
        assert_constant([moments["exp_avg"], moments["exp_avg_sq"]])
    betas = [group["betas"] for group in adam.param_groups]
    assert betas == [group["betas"] for group in state["optimizer"]["param_groups"]]

    assert ("objective" in state) == (name != "joint")
    if "objective" in state:
        assert trainer.objective.state_dict().keys() == state["objective"].keys()
        assert_constant(trainer.objective.parameters())


@pytest.mark.parametrize("name", STOPPED)
def test_a_stopped_run_goes_on_to_its_end(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = unpacked(name, tmp_path)
    before = json.loads((run / "config.json").read_text())
    metrics = (run / "metrics.jsonl").read_text()
    assert main(["train", "--resume", str(run), "--steps", "6"]) == 0
    out, err = capsys.readouterr()
    assert "on cpu: from step 3 to step 6" in out
    assert "does not know" not in err

    after = (run / "metrics.jsonl").read_text()
    assert after.startswith(metrics)
    records = [json.loads(line) for line in after.splitlines()]
    assert [record["step"] for record in records] == [2, 4, 6]
    assert [record.keys() for record in records] == [records[0].keys()] * 3

    config = json.loads((run / "config.json").read_text())
    assert config["model"] == before["model"]
    renamed = {"discrete_capacity": "disc_measure"}
    settings = {renamed.get(setting, setting): v for setting, v in before["training"].items()}
    assert {**config["training"], **settings, "steps": 6} == config["training"]
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert_evaluation(evaluation)
    assert evaluation["steps"] == 6
    weights = fastjvae.load(run / "model.safetensors").parameters()
    assert any(bool((weight != CONSTANT).any()) for weight in weights)


def test_a_finished_run_trains_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = unpacked("finished", tmp_path)
    assert main(["train", "--resume", str(run), "--steps", "4"]) == 0
    assert "from step 3 to step 4" in capsys.readouterr().out
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == [2, 3, 4]
    assert json.loads((run / "evaluation.json").read_text())["steps"] == 4


# --- several seeds --------------------------------------------------------------------------------


def test_finished_seeds_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = unpacked("seeds", tmp_path)
    before = json.loads((folder / "seeds.json").read_text())
    kept = {path: path.read_bytes() for path in folder.glob("seed?/*")}
    config = dataclasses.replace(RunFolder(folder / "seed0").read_config(), out=str(folder))
    assert train_seeds(config, (0, 1)) == 0
    out = capsys.readouterr().out
    for seed in (0, 1):
        assert f"seed {seed}: finished before, in {folder / f'seed{seed}'}" in out
    assert "2 seeds on digits/test, 300 images" in out
    for result in before["seeds"]:  # of evaluation.json, not what the constant weights give
        assert f"{result['reconstruction']:.2f}" in out
    assert {path: path.read_bytes() for path in folder.glob("seed?/*")} == kept
    after = json.loads((folder / "seeds.json").read_text())
    assert after.keys() == before.keys()
    of_weights = {"udr": None}
    assert [r | of_weights for r in after["seeds"]] == [r | of_weights for r in before["seeds"]]
