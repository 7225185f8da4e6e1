from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import seeds_flags, seeds_results, tiny_config, tiny_flags, write_arrays

from fastjvae import load
from fastjvae.cli import main
from fastjvae.cli.train import TrainFlags
from fastjvae.data import load as load_data
from fastjvae.errors import ArgumentError, NonFiniteLossError, RunError
from fastjvae.metrics import udr, udr_of_models
from fastjvae.metrics.udr_of_models import comparable_units
from fastjvae.training import seeds
from fastjvae.training import seeds_table as comparison
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.seeds import parse_seeds
from fastjvae.training.seeds_table import SeedResult, SeedsSummary, summarise
from fastjvae.training.settings.recipes import RECIPES, recipe
from fastjvae.training.trainer import Trainer


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


# --- which seeds ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", (7,)),
        ("0..3", (0, 1, 2, 3)),
        ("4..4", (4,)),
        ("9,0..2, 5", (9, 0, 1, 2, 5)),
        (" 1 .. 2 ", (1, 2)),
        ("2147483647", (2**31 - 1,)),
    ],
)
def test_seeds_and_ranges(text: str, expected: tuple[int, ...]):
    assert parse_seeds(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got '' in ''"),
        ("1,,2", "got '' in '1,,2'"),
        ("-1", "whole numbers from 0 .* got '-1'"),
        ("0..-3", "got '0..-3'"),
        ("one", "got 'one'"),
        ("1.5", "got '1.5'"),
        ("1-3", "such as 0..9 .* got '1-3'"),
        ("0...3", "got '0...3'"),
        ("٣", "whole numbers"),
        ("5..2", r"as 2\.\.5 does, got '5\.\.2'"),
        ("0..4,3", "each seed once, got 3 twice in '0..4,3'"),
        ("2147483648", "between 0 and 2147483647, got 2147483648"),
        ("0..2000000000", "at most 10,000 seeds, got '0..2000000000'"),
        ("0..9999,10000", "at most 10,000"),
    ],
)
def test_seeds_that_cannot_be(text: str, message: str):
    with pytest.raises(ArgumentError, match=message):
        parse_seeds(text)


def test_the_flag_changes_no_setting():
    for dataset in RECIPES:
        config = recipe(dataset)
        assert TrainFlags(**vars(config), seeds="0..3").config() == config


# --- from the command line ------------------------------------------------------------------------


def test_three_seeds_are_single_runs_and_a_table(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "seeds"
    assert main(seeds_flags(data, folder, "0..1,5")) == 0
    out, err = capsys.readouterr()
    assert re.findall(r"^step (\d+) of 13: reconstruction ", err, re.M) == ["4", "13"] * 3
    assert {p.name for p in folder.iterdir()} == {"seed0", "seed1", "seed5", "seeds.json"}
    results = seeds_results(folder)
    assert [row["seed"] for row in results["seeds"]] == [0, 1, 5]
    assert (results["data"], results["images"]) == ("arrays/squares0.npz/test", 4)
    assert results["unfinished"] == []
    assert results["no_udr"] is None

    assert main([*tiny_flags(data, tmp_path / "single", seed=5), "--no-figures"]) == 0
    single, run = tmp_path / "single", folder / "seed5"
    names = {p.name for p in single.iterdir()}
    assert {p.name for p in run.iterdir()} == names
    for name in ("config.json", "model.safetensors", "evaluation.json"):
        assert (run / name).read_bytes() == (single / name).read_bytes()

    for row in results["seeds"]:
        evaluation = json.loads((folder / row["folder"] / "evaluation.json").read_text())
        assert row["reconstruction"] == evaluation["reconstruction"]
        assert row["kl_cont"] == sum(evaluation["kl_cont"])
        assert row["kl_disc"] == evaluation["variables"][0]["kl"]
        assert row["accuracy_majority"] == evaluation["variables"][0]["accuracy_majority"]
        assert row["accuracy_one_to_one"] == evaluation["variables"][0]["accuracy_one_to_one"]
        assert re.search(
            rf"^ +{row['seed']} .*{row['reconstruction']:.2f}.*{row['udr']:.4f}$", out, re.M
        )
    images = load_data(tiny_config(data, held_out=0.1).source("test")).images
    units = [comparable_units(load(folder / f"seed{s}"), images) for s in (0, 1, 5)]
    scores = udr([codes for codes, _ in units], [kl for _, kl in units])
    assert [row["udr"] for row in results["seeds"]] == scores.tolist()
    assert results["chosen_by_udr"]["udr"] == max(scores)
    assert f"by UDR: seed {results['chosen_by_udr']['seed']}, accuracy" in out


def test_finished_seeds_are_skipped_and_more_can_be_added(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    argv = seeds_flags(data, tmp_path, "0")
    at = argv.index("--out")
    argv = [*argv[:at], *argv[at + 2 :]]  # the default folder
    folder = Path("runs/arrays-seeds")
    assert main(argv) == 0
    assert "UDR: n/a, which compares at least 2 finished seeds" in capsys.readouterr().out
    assert seeds_results(folder)["seeds"][0]["udr"] is None
    assert seeds_results(folder)["chosen_by_udr"] is None
    assert seeds_results(folder)["statistics"]["reconstruction"]["std"] is None
    before = (folder / "seed0" / "checkpoint.pt").stat().st_mtime_ns
    assert main([*argv[:-1], "1,0"]) == 0
    out = capsys.readouterr().out
    assert f"seed 0: finished before, in {folder / 'seed0'}" in out
    assert "seed 1, 1 of 1" in out
    assert (folder / "seed0" / "checkpoint.pt").stat().st_mtime_ns == before
    assert [row["seed"] for row in seeds_results(folder)["seeds"]] == [1, 0]
    json_before = (folder / "seeds.json").read_bytes()
    assert main([*argv[:-1], "1,0"]) == 0
    assert "training on" not in capsys.readouterr().out
    assert (folder / "seeds.json").read_bytes() == json_before


def test_a_stop_leaves_the_table_of_those_that_are_done_and_the_same_command_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder, whole = tmp_path / "seeds", tmp_path / "whole"
    take = Trainer.train_step

    def train_step(trainer: Trainer) -> None:
        take(trainer)
        if (trainer.config.seed, trainer.step) == (2, 7):
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", train_step)
        assert main(seeds_flags(data, folder, "0..3")) == 130
    out = capsys.readouterr().out
    assert "stopped after step 7 of 13\n" in out
    assert "not finished: 2, 3" in out
    assert out.endswith("stopped; go on with the same command again\n")
    assert "--resume" not in out
    assert [row["seed"] for row in seeds_results(folder)["seeds"]] == [0, 1]
    assert seeds_results(folder)["unfinished"] == [2, 3]
    assert main(seeds_flags(data, folder, "0..3")) == 0
    assert "from step 7 to step 13" in capsys.readouterr().out
    assert main(seeds_flags(data, whole, "0..3")) == 0
    assert seeds_results(folder) == seeds_results(whole)


def test_an_interrupt_outside_the_loop_is_a_stop_as_well(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fastjvae.cli.training_runs.evaluated", interrupt)
        assert main(seeds_flags(data, tmp_path / "seeds", "0,1")) == 130
    out = capsys.readouterr().out
    assert out.endswith("stopped; go on with the same command again\n")  # no seed is finished
    assert not (tmp_path / "seeds" / "seeds.json").exists()
    assert not (tmp_path / "seeds" / "seed1").exists()


def test_a_seed_that_fails_does_not_end_the_others(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    train = Trainer.train

    def fail(trainer: Trainer) -> bool:
        if trainer.config.seed == 0:
            raise NonFiniteLossError("the loss is not finite at step 3: loss")
        return train(trainer)

    monkeypatch.setattr(Trainer, "train", fail)
    assert main(seeds_flags(data, tmp_path / "seeds", "0..2")) == 1
    out, err = capsys.readouterr()
    first, *_, last = err.splitlines()
    assert first == "fastjvae: seed 0 failed: the loss is not finite at step 3: loss"
    assert last == "fastjvae: 1 of 3 seeds failed: 0"
    assert "not finished: 0" in out
    assert [row["seed"] for row in seeds_results(tmp_path / "seeds")["seeds"]] == [1, 2]


def test_another_run_in_the_way_shows_before_any_training(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "seeds"
    assert main([*tiny_flags(data, folder / "seed1", seed=1, lr=0.01), "--no-figures"]) == 0
    capsys.readouterr()
    assert main(seeds_flags(data, folder, "0,1")) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "seed1 holds a run with another configuration (lr is 0.01 there, 0.001 here)" in err
    assert not (folder / "seed0").exists()
    assert main(seeds_flags(data, folder / "seed1", "0,1")) == 1
    assert "is a run folder, several seeds need a folder around" in capsys.readouterr().err


def test_figures_are_part_of_a_finished_run(data: Path, tmp_path: Path):
    config = tiny_config(data, out=str(tmp_path / "run"), figures=False)
    run = RunFolder(tmp_path / "run")
    assert not seeds.is_finished(config)
    assert main([*tiny_flags(data, run.path), "--no-figures"]) == 0
    config = run.read_config()
    config = dataclasses.replace(config, out=str(run))
    assert seeds.is_finished(config)
    assert not seeds.is_finished(dataclasses.replace(config, steps=20))
    drawn = dataclasses.replace(config, figures=True)
    run.change_config(drawn)
    assert not seeds.is_finished(drawn)
    run.figures.mkdir()
    assert seeds.is_finished(drawn)


# --- the comparison -------------------------------------------------------------------------------


def _summary(*rows: tuple[float | None, float | None, float | None]) -> SeedsSummary:
    return SeedsSummary(
        data="digits/test",
        images=300,
        results=tuple(
            SeedResult(
                seed=10 * i, reconstruction=100.0 + i, kl_cont=5.0, kl_disc=2.0,
                accuracy_majority=majority, accuracy_one_to_one=one_to_one, udr=score,
            )
            for i, (majority, one_to_one, score) in enumerate(rows)
        ),
    )  # fmt: skip


def test_statistics_and_choices():
    summary = _summary((0.5, 0.4, 0.2), (0.8, 0.7, 0.3), (0.8, 0.75, 0.1))
    columns = summary.statistics()
    assert columns["accuracy_majority"] == {
        "mean": pytest.approx(0.7),
        "std": pytest.approx(statistics.stdev([0.5, 0.8, 0.8])),
        "best": 0.8,
    }
    assert columns["reconstruction"]["best"] == 100.0
    assert columns["kl_cont"] == {"mean": 5.0, "std": 0.0, "best": None}
    assert summary.chosen_by_udr == summary.results[1]
    assert summary.best_by_label == summary.results[2]
    assert summary.table().splitlines()[-2:] == [
        "chosen without labels, by UDR: seed 10, accuracy 0.8000 majority, 0.7000 one-to-one",
        "best by label, majority: seed 20, accuracy 0.8000 majority, 0.7500 one-to-one",
    ]
    assert len({len(line) for line in summary.table().splitlines()[1:-2]}) == 1


def test_of_two_that_are_equally_like_the_others_the_better_reconstruction_is_chosen():
    summary = _summary((0.5, 0.4, 0.2), (0.6, 0.5, 0.3), (0.8, 0.7, 0.3))
    assert summary.chosen_by_udr == summary.results[1]


def test_without_labels_there_is_only_the_choice_by_udr():
    summary = _summary((None, None, 0.2), (None, None, 0.3))
    assert summary.best_by_label is None
    table = summary.table()
    assert "majority" not in table
    assert table.endswith("chosen without labels, by UDR: seed 10")
    assert "accuracy_majority" not in summary.to_dict()["statistics"]


def test_the_variable_that_agrees_best_gives_the_accuracy():
    variables = [
        {"accuracy_majority": 0.3, "accuracy_one_to_one": 0.3, "kl": 1.0},
        {"accuracy_majority": 0.6, "accuracy_one_to_one": 0.5, "kl": 0.5},
    ]
    values = {"reconstruction": 9.0, "kl_cont_sum": 2.0, "kl_disc_sum": 1.5}
    result = comparison.seed_result(3, {**values, "variables": variables})
    assert result == SeedResult(3, 9.0, 2.0, 1.5, 0.6, 0.5)
    assert comparison.seed_result(3, {**values, "variables": []}).accuracy_majority is None


_UNITS = (np.arange(4.0)[:, None], np.ones(1))


def test_nothing_to_compare_is_said(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A discrete variable alone, which has learned nothing in one step."""
    argv = seeds_flags(data, tmp_path / "seeds", "0,1", cont=0, steps=1)
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "UDR: n/a, there is nothing to compare: no unit or category of any seed" in out
    assert "by UDR: seed" not in out
    assert [row["udr"] for row in seeds_results(tmp_path / "seeds")["seeds"]] == [None, None]
    assert "nothing to compare" in seeds_results(tmp_path / "seeds")["no_udr"]


def test_the_images_compared_are_spread_over_all(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert main(seeds_flags(data, tmp_path, "0,1")) == 0
    run = RunFolder(tmp_path / "seed0").read_config()
    seen = []
    monkeypatch.setattr(udr_of_models, "_MOST_IMAGES", 4)
    monkeypatch.setattr(
        udr_of_models, "comparable_units", lambda model, images: seen.append(images) or _UNITS
    )
    images = load_data(run.source()).images
    summary = summarise(run, [0, 1], tmp_path, images)
    assert torch.equal(seen[0], images[::9])
    assert summary is not None
    assert [result.udr for result in summary.results] == [1.0, 1.0]
    summary = summarise(run, [0, 1], tmp_path, images[:1])
    assert summary is not None
    assert "at least 2 images" in str(summary.no_udr)


def test_no_finished_seed_is_no_summary(data: Path, tmp_path: Path):
    images = load_data(tiny_config(data).source()).images
    assert summarise(tiny_config(data), [0, 1], tmp_path, images) is None


def test_numbers_of_a_model_that_has_diverged_are_none(tmp_path: Path):
    """null as it is written now, NaN as it was before."""
    values = {
        "reconstruction": None,
        "kl_cont_sum": float("nan"),
        "kl_disc_sum": 0.5,
        "variables": [{"accuracy_majority": 0.5, "accuracy_one_to_one": None}],
    }
    diverged = comparison.seed_result(0, values)
    assert (diverged.reconstruction, diverged.kl_cont, diverged.kl_disc) == (None, None, 0.5)
    fine = comparison.seed_result(1, {**values, "reconstruction": 50.0, "kl_cont_sum": 2.0})
    pair = [dataclasses.replace(result, udr=0.5) for result in (diverged, fine)]
    summary = comparison.SeedsSummary("data", 10, tuple(pair))
    assert summary.chosen_by_udr == pair[1]
    assert summary.statistics()["reconstruction"]["mean"] == 50.0
    assert "n/a" in summary.table()


@pytest.mark.parametrize(
    "content",
    [
        "[" * 10_000,
        "5",
        "{}",
        '{"variables": 5}',
        json.dumps(
            {
                "data": "x", "images": 3, "reconstruction": "x", "kl_cont_sum": 0.0,
                "kl_disc_sum": 0.0, "variables": [],
            }
        ),
    ],
)  # fmt: skip
def test_an_evaluation_that_is_none(tmp_path: Path, content: str, monkeypatch: Any):
    monkeypatch.setattr(comparison, "is_finished", lambda _: True)
    (tmp_path / "seed0").mkdir()
    (tmp_path / "seed0" / "evaluation.json").write_text(content)
    config = tiny_config(tmp_path / "squares.npz")
    with pytest.raises(RunError, match=r"seed0.evaluation.json is ") as error:
        comparison.summarise(config, [0], tmp_path, torch.zeros(2, 1, 16, 16))
    assert "\n" not in str(error.value)
