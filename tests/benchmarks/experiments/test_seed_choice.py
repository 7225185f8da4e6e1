"""Seeds are scored without labels, and ranked by label."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import tiny_config, write_arrays

from benchmarks.experiments import driver, seed_choice
from benchmarks.experiments.catalogue import EXPERIMENTS, Experiment
from benchmarks.experiments.seed_choice import chosen_seeds, median_seed, quality, ranked_by
from fastjvae.data import load
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.trainer import Trainer


def _result(seed: int, accuracy: float | None, score: float | None = None) -> dict[str, Any]:
    variable = {"accuracy_majority": accuracy, "accuracy_one_to_one": accuracy, "information": 1.0}
    scores = None if score is None else {"factor_vae": score}
    return {"seed": seed, "evaluation": {"variables": [variable], "scores": scores}}


def _compared(*rows: tuple[int, float | None, float], no_udr: str | None = None) -> dict[str, Any]:
    seeds = [{"seed": seed, "udr": udr, "objective": loss} for seed, udr, loss in rows]
    return {"seeds": seeds, "no_udr": no_udr}


# --- scores ---------------------------------------------------------------------------------------


def test_runs_are_scored_and_those_that_are_gone_are_named(tmp_path: Path):
    config = tiny_config(write_arrays(tmp_path), steps=40, lr=3e-3)
    data = load(config.source())
    runs = {}
    for seed in (3, 5):
        runs[seed] = RunFolder(tmp_path / f"run{seed}")
        Trainer(
            tiny_config(tmp_path / "squares0.npz", steps=40, seed=seed), data, runs[seed]
        ).train()
    scores = seed_choice.unlabelled_scores({**runs, 9: RunFolder(tmp_path / "gone")}, data.images)
    assert [row["seed"] for row in scores["seeds"]] == [3, 5]
    assert scores["without_run"] == [9]
    assert scores["no_udr"] is None
    first, second = scores["seeds"]
    assert 0 < first["udr"] == second["udr"] <= 1  # of one pair
    assert first["objective"] == read_metrics(runs[3])[-1]["loss"]
    alone = seed_choice.unlabelled_scores({3: runs[3]}, data.images)
    assert "at least 2 finished seeds" in alone["no_udr"]
    assert alone["seeds"][0]["udr"] is None


def test_what_an_earlier_comparison_knew_of_lost_runs_is_kept():
    earlier = _compared((0, 0.1, 90.0), (1, 0.2, 95.0), (2, 0.3, 99.0))
    fewer = {**_compared((3, None, 80.0), no_udr="one seed"), "without_run": [0, 1, 2]}
    assert seed_choice.with_earlier(fewer, earlier) == {
        **_compared((0, 0.1, 90.0), (1, 0.2, 95.0), (2, 0.3, 99.0), (3, None, 80.0)),
        "without_run": [0, 1, 2],
    }
    as_many = {**_compared((1, 0.5, 95.0), (3, 0.6, 80.0), (4, 0.7, 70.0)), "without_run": [0, 2]}
    assert seed_choice.with_earlier(as_many, earlier) == {
        **_compared(
            (0, None, 90.0), (1, 0.5, 95.0), (2, None, 99.0), (3, 0.6, 80.0), (4, 0.7, 70.0)
        ),
        "without_run": [0, 2],
    }


def test_the_objective_is_that_of_the_last_steps():
    records = [{"step": step, "loss": float(step)} for step in (500, 900, 950, 1_000)]
    assert seed_choice.final_objective(records) == 975


def test_the_driver_compares_the_seeds_that_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("FASTJVAE_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(driver, "RESULTS", tmp_path / "results")
    settings = {"steps": 4, "checkpoint_every": 4, "log_every": 1, "cont": 2, "batch_size": 4}
    monkeypatch.setitem(EXPERIMENTS, "small", Experiment("digits", settings))
    assert driver.main(["small", "--compare"]) == 0
    assert capsys.readouterr().out == "small: left out, no seed is done\n"
    driver.main(["small", "--seeds", "0,2"])
    capsys.readouterr()
    assert driver.main(["small", "digits-kmeans", "--compare"]) == 0  # k-means has no model
    assert len(capsys.readouterr().out.splitlines()) == 1
    compared = json.loads((tmp_path / "results" / "small" / "seeds.json").read_text())
    assert [row["seed"] for row in compared["seeds"]] == [0, 2]
    assert compared["about"]["torch"] == torch.__version__
    shutil.rmtree(tmp_path / "runs" / "small" / "seed-0")
    driver.main(["small", "--compare"])
    again = json.loads((tmp_path / "results" / "small" / "seeds.json").read_text())
    assert again["seeds"] == compared["seeds"]
    assert again["without_run"] == [0]
    assert not (tmp_path / "results" / "digits-kmeans").exists()


# --- by label -------------------------------------------------------------------------------------


def test_each_choice_has_its_rank_by_label():
    results = [_result(0, 0.5), _result(1, 0.7), _result(2, 0.6)]
    compared = _compared((0, 0.1, 90.0), (1, 0.2, 95.0), (2, 0.3, 99.0))
    assert chosen_seeds(results, compared) == {"udr": (2, 2, 3), "objective": (0, 3, 3)}
    assert ranked_by(results) == "majority accuracy"


def test_of_equal_udr_the_lower_objective_is_chosen():
    results = [_result(0, 0.5), _result(1, 0.7)]
    chosen = chosen_seeds(results, _compared((0, 0.2, 90.0), (1, 0.2, 80.0)))
    assert chosen["udr"] == (1, 1, 2)


def test_only_seeds_that_are_compared_are_ranked():
    results = [_result(0, 0.5), _result(1, 0.7), _result(2, 0.9)]
    compared = _compared((0, None, 2.0), (1, None, 3.0), no_udr="nothing to compare")
    assert chosen_seeds(results, compared) == {"objective": (0, 2, 2)}
    assert chosen_seeds(results, _compared((0, None, 2.0))) == {}


def test_a_score_that_fewer_seeds_have_ranks_those():
    results = [_result(0, 0.5), _result(1, 0.7), _result(2, 0.9)]
    compared = _compared((0, 0.1, 2.0), (1, 0.2, 3.0), (2, None, 4.0))
    assert chosen_seeds(results, compared) == {"udr": (1, 1, 2), "objective": (0, 3, 3)}


def test_where_there_are_factors_the_score_ranks():
    results = [_result(0, 0.9, 0.4), _result(1, 0.3, 0.8)]
    compared = _compared((0, 0.1, 1.0), (1, 0.4, 2.0))
    assert chosen_seeds(results, compared) == {"udr": (1, 1, 2), "objective": (0, 2, 2)}
    assert ranked_by(results) == "Kim & Mnih's score (disentanglement_lib)"


def test_the_median_seed_is_the_lower_of_two():
    results = [_result(0, 0.9), _result(1, 0.3), _result(2, 0.5), _result(3, 0.7)]
    assert median_seed(results)["seed"] == 2
    assert median_seed(results[:3])["seed"] == 2
    assert median_seed([_result(4, None)])["seed"] == 4
    assert quality(_result(4, None)["evaluation"]) is None
