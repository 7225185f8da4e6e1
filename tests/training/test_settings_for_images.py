"""Settings that are made for the images of a run, and the flags that replace single ones."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from fastjvae.cli import main
from fastjvae.cli.parser import parse
from fastjvae.cli.train import Train
from fastjvae.data import ImageData
from fastjvae.errors import ArgumentError
from fastjvae.functional.latents import LatentSpec
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.for_images import Images, for_images, steps_for
from fastjvae.training.settings.late_capacities import late_capacities
from fastjvae.training.settings.recipes import recipe
from fastjvae.training.settings.run import RunConfig
from fastjvae.training.settings.train import TrainConfig

THREE = LatentSpec(10, (3,))


def images(number: int, side: int = 32, channels: int = 1) -> ImageData:
    return ImageData("mine", torch.zeros(number, channels, side, side, dtype=torch.uint8))


def fitted(words: list[str], data: ImageData) -> TrainConfig:
    """The settings of a command line on these images."""
    command = parse(["train", "images", "--data-root", "pictures", *words])
    assert isinstance(command, Train)
    config: RunConfig = command.config.fitted(data)
    assert isinstance(config, TrainConfig)
    return config


def test_steps_follow_the_number_of_images_within_bounds() -> None:
    assert [steps_for(n) for n in (1, 625, 900, 10_000, 250_000, 10**9)] == [
        1_000, 1_000, 1_200, 4_000, 20_000, 20_000,
    ]  # fmt: skip


@pytest.mark.parametrize("number", [5, 99, 100, 900, 60_000, 60_001, 10**6])
@pytest.mark.parametrize("spec", [THREE, LatentSpec(0, (2, 40)), LatentSpec(4, ())])
@pytest.mark.parametrize("steps", [None, 1, 7, 300])
def test_every_schedule_ends_within_its_phase(
    number: int, spec: LatentSpec, steps: int | None
) -> None:
    config = for_images("images", Images(number, 32 * 32), spec, steps)
    assert config.steps == (steps or steps_for(number))
    assert config.steps is not None
    assert not late_capacities(config, config.steps)
    for _, _, phase in config.phase_configs:
        assert phase.steps is not None
        assert phase.warmup <= phase.steps // 4
        assert all(step < phase.steps for step in phase.refits)
        assert phase.neighbours < number
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_few_images_and_too_many_have_no_phase_that_compares_them() -> None:
    phases = {n: len(for_images("images", Images(n, 1024), THREE).phases) for n in (99, 100, 10**6)}
    assert phases == {99: 0, 100: 2, 10**6: 0}
    assert not for_images("images", Images(900, 1024), LatentSpec(10, ())).phases


def test_weights_and_capacities_follow_the_size_of_the_images() -> None:
    small, large = (for_images("images", Images(900, side**2), THREE) for side in (32, 64))
    assert (small.cont_capacity.hi, large.cont_capacity.hi) == (15.0, 30.0)
    assert (small.cont_capacity.gamma, large.cont_capacity.gamma) == (30.0, 120.0)
    assert math.log(3) < small.disc_capacity.hi == large.disc_capacity.hi < 1.11
    two = for_images("images", Images(900, 1024), LatentSpec(2, (3,)))
    assert two.cont_capacity.hi == 6.0  # as much as two units hold


def test_the_command_line_makes_them_for_its_images() -> None:
    found = fitted(["--disc", "3"], images(900))
    theirs = for_images("images", Images(900, 1024), THREE)
    assert found == TrainConfig(**{**vars(theirs), "data_root": "pictures"})
    assert fitted(["--disc", "3"], images(10_000)).steps == 4_000
    assert fitted(["--disc", "3", "--steps", "600"], images(900)).phases[0].steps == 100


def test_a_flag_replaces_one_setting_even_by_the_value_of_the_example() -> None:
    hi = str(recipe("images").cont_capacity.hi)
    found = fitted(["--cont-capacity.hi", hi, "--lr", "2e-3"], images(900, side=64))
    assert found.cont_capacity.hi == float(hi)
    assert found.cont_capacity.gamma == 120.0
    assert [phase.config.lr for phase in found.phase_configs] == [2e-3, 2e-3]
    assert fitted(["--types.group", "2"], images(900)).phase_configs[0].config.group == 2


def test_a_flag_of_a_phase_that_there_is_not_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"--types.lr is for the phase types, which .* 50 ima"):
        fitted(["--types.lr", "1e-4"], images(50))


def test_the_papers_settings_stay_by_name() -> None:
    config = fitted(["--recipe", "paper"], images(900))
    assert (config.cont, config.disc, config.epochs, config.steps) == (32, (10,), 100, None)
    assert config.cont_capacity.iters == 100_000
    assert config.phases == ()
    paper = recipe("arrays", "paper")
    assert paper == TrainConfig(dataset="arrays", held_out=0.1)


def test_help_says_what_the_defaults_depend_on(capsys: pytest.CaptureFixture[str]) -> None:
    for dataset in ("images", "arrays"):
        with pytest.raises(SystemExit):
            parse(["train", dataset, "--help"])
        text = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert "by the number and the size of the images" in text
        assert "2,000 images of 32x32" in text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(120):
        path = tmp_path / "p" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (16, 16), 2 * number).save(path)
    return tmp_path / "p"


def test_config_has_the_numbers_of_the_run_and_resume_keeps_them(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["train", "images", "--data-root", str(folder), "--disc", "3", "--steps", "12"]
    run = RunFolder(tmp_path / "run")
    assert main([*flags, "--out", str(run), "--no-figures", "--device", "cpu"]) == 0
    assert "settings for 108 images of 16x16: 12 steps\n" in capsys.readouterr().out
    found: dict[str, Any] = json.loads(run.config_file.read_text())["training"]
    made = for_images("images", Images(108, 256), THREE, 12)
    assert (found["steps"], found["neighbours"]) == (12, made.neighbours) == (12, 3)
    assert found["cont_capacity"] == made.to_dict()["cont_capacity"]
    phases = json.loads(run.config_file.read_text())["phases"]
    assert [phase["name"] for phase in phases] == ["types", "style"]
    assert [phase["steps"] for phase in phases] == [2, 10]
    assert main([*flags, "--out", str(run), "--no-figures", "--device", "cpu"]) == 0  # the same run
    assert main(["train", "--resume", str(run), "--steps", "14"]) == 0
    again = json.loads(run.config_file.read_text())["training"]
    assert again["cont_capacity"] == found["cont_capacity"]
    assert again["steps"] == 14


# --- capacities that do not reach their ends ------------------------------------------------------


def test_a_capacity_that_does_not_reach_its_end_is_named() -> None:
    config = TrainConfig(dataset="mnist")
    said = late_capacities(config, 1_000)
    assert said == [
        "--cont-capacity ends at step 25,000 and this run at 1,000: it will have reached 0.20 of"
        " 5.00 nats; --cont-capacity.iters sets another number of steps",
        "--disc-capacity ends at step 11,513 and this run at 1,000: it will have reached 0.20 of"
        " 2.30 nats; --disc-capacity.iters sets another number of steps",
    ]
    assert late_capacities(config, 93_800) == []
    assert len(late_capacities(config, 12_000)) == 1  # c cannot hold more than log 10


@pytest.mark.parametrize(
    "changes",
    [{"objective": "beta"}, {"objective": "factor"}, {"cont": 0, "disc": (2,), "steps": 5_000}],
    ids=str,
)
def test_what_has_no_capacity_is_not_spoken_of(changes: dict[str, Any]) -> None:
    assert late_capacities(TrainConfig(dataset="mnist", **changes), 5_000) == []


def test_the_start_of_a_run_says_it(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--recipe", "paper", "--steps", "2", "--no-figures", "--device", "cpu"]
    flags += ["--data-root", str(folder), "--out", str(tmp_path / "run")]
    assert main(["train", "images", *flags]) == 0
    err = capsys.readouterr().err
    assert "fastjvae: --cont-capacity ends at step 100,000 and this run at 2" in err
