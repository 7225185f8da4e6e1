"""The head of the discrete variables, fitted anew to the encoder's features."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import assert_same_state, tiny_config, write_arrays
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from fastjvae.data import load
from fastjvae.errors import ArgumentError
from fastjvae.training.refit import Head, best_head, refit_categories, spread_categories
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.step import TrainingStep
from fastjvae.training.trainer import Trainer

GROUP = 3
SHARED: dict[str, Any] = {
    "disc_measure": "shared",
    "group": 2,
    "neighbours": 3,
    "augment": 0.2,
    "initialisation": "he",
}


def clusters(types: int = 4, groups: int = 60) -> tuple[Tensor, Tensor]:
    """Features (N, 8) of groups whose images are of one type, and the types (N,)."""
    generator = torch.Generator().manual_seed(0)
    centres = 3 * torch.eye(8)[:types] + 1
    types_of = torch.arange(groups).remainder(types).repeat_interleave(GROUP)
    return centres[types_of] + 0.3 * torch.randn(len(types_of), 8, generator=generator), types_of


def found_by(head: Head, features: Tensor) -> Tensor:
    return (features @ head.weight.T + head.bias).argmax(dim=1)


def same_partition(one: Tensor, other: Tensor) -> bool:
    pairs = {(int(a), int(b)) for a, b in zip(one, other, strict=True)}
    return len(pairs) == len(one.unique()) == len(other.unique())


def merging() -> Head:
    """Types 0 and 1 have one category, and type 2 has two, by the noise of a feature."""
    weight = torch.zeros(4, 8)
    weight[0, :2] = 20.0
    weight[1, 3] = 20.0
    weight[2, 2], weight[2, 7] = 20.0, 100.0
    weight[3, 2], weight[3, 7] = 20.0, -100.0
    return Head(weight, torch.tensor([-20.0, 0.0, -100.0, 100.0]))


def test_a_head_that_confuses_types_is_replaced_by_one_that_does_not():
    features, types = clusters()
    own = merging()
    assert not same_partition(found_by(own, features), types)
    best, score = best_head(features, own, GROUP, torch.Generator().manual_seed(1))
    assert same_partition(found_by(best, features), types)
    assert score.after > score.before + 0.3
    again, _ = best_head(features, own, GROUP, torch.Generator().manual_seed(1))
    assert torch.equal(best.weight, again.weight)


def test_a_head_that_is_best_stays():
    features, types = clusters()
    own = Head(1e3 * torch.eye(4, 8), torch.zeros(4))  # as sure as can be
    assert same_partition(found_by(own, features), types)
    best, score = best_head(features, own, GROUP, torch.Generator().manual_seed(1))
    assert best is own
    assert score.before == score.after == pytest.approx(math.log(4), abs=1e-3)


def test_features_of_any_size_and_place_give_the_same_head():
    features, types = clusters()
    empty = Head(torch.zeros(4, 8), torch.zeros(4))
    for moved in (features, 100 * features + 50):
        best, score = best_head(moved, empty, GROUP, torch.Generator().manual_seed(1))
        assert same_partition(found_by(best, moved), types)
        assert score.before == pytest.approx(0, abs=1e-5)


# --- in training ----------------------------------------------------------------------------------


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    config = tiny_config(write_arrays(tmp_path), disc=(4, 2), **SHARED)
    return Trainer(config, load(config.source()), RunFolder(tmp_path / "run"))


def test_only_the_categories_of_the_head_change(trainer: Trainer):
    trainer.train_step()
    before = copy.deepcopy(trainer.model.state_dict())
    scores = refit_categories(
        trainer.model, trainer.optimizer, trainer.take, group=2, first=1, seed=0
    )
    assert len(scores) == 2
    assert all(score.after > score.before for score in scores)
    after = trainer.model.state_dict()
    units = slice(0, 4)
    for name, value in after.items():
        if name.startswith("encoder.head"):
            assert torch.equal(value[units], before[name][units])
            assert not torch.equal(value[4:], before[name][4:])
        else:
            assert torch.equal(value, before[name]), name
    moments = trainer.optimizer.state[trainer.model.encoder.head.weight]  # type: ignore[union-attr, index]
    assert not moments["exp_avg"][4:].any()
    assert moments["exp_avg"][units].any()


def test_training_says_what_it_has_fitted_and_how_long_it_took(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data = write_arrays(tmp_path)
    runs = []
    for name, refits in (("with", (6, 9)), ("without", ())):
        config = tiny_config(data, **SHARED, refits=refits)
        runs.append(RunFolder(tmp_path / name))
        assert Trainer(config, load(config.source()), runs[-1]).train()
    said = [line for line in capsys.readouterr().err.splitlines() if "anew" in line]
    assert [line[: line.index(",")] for line in said] == [
        "fastjvae: categories fitted anew after step 6",
        "fastjvae: categories fitted anew after step 9",
    ]
    fitted, plain = (read_metrics(run) for run in runs)
    assert [record["step"] for record in fitted if record.get("beside_steps_s", 0) > 0] == [8, 12]
    assert not any("beside_steps_s" in record for record in plain)
    assert fitted[0]["loss"] == plain[0]["loss"]
    assert fitted[1]["loss"] != plain[1]["loss"]


@pytest.mark.parametrize(
    "changes",
    [{"disc": ()}, {"objective": "beta"}, {"disc_measure": "information"}],
    ids=["no categories", "beta", "information"],
)
def test_other_objectives_fit_nothing_anew(tmp_path: Path, changes: dict[str, Any]):
    data, records = write_arrays(tmp_path), []
    for refits in ((), (3,)):
        config = tiny_config(data, **{**SHARED, **changes, "refits": refits})
        run = RunFolder(tmp_path / f"run{len(refits)}")
        assert Trainer(config, load(config.source()), run).train()
        records.append(read_metrics(run)[-1]["loss"])
    assert records[0] == records[1]


def test_images_of_a_loader_cannot_be_asked_for_twice(tmp_path: Path):
    config = tiny_config(write_arrays(tmp_path), **SHARED, refits=(3,))
    loader: DataLoader[Any] = DataLoader(TensorDataset(torch.rand(8, 1, 16, 16)), batch_size=4)
    with pytest.raises(ArgumentError, match="--refits take images"):
        Trainer(config, loader, RunFolder(tmp_path / "run"))


# --- heads that begin apart, and overclusters that are merged -------------------------------------


def test_heads_are_scaled_to_the_features_that_they_read(tmp_path: Path) -> None:
    config = tiny_config(write_arrays(tmp_path), **SHARED, overclusters=6)
    trainer = Trainer(config, load(config.source()), RunFolder(tmp_path / "run"))
    model, further = trainer.model, trainer.objective.head
    units = slice(0, 4)
    before = copy.deepcopy(model.state_dict())
    assert isinstance(trainer.take, TrainingStep)
    spread_categories(model, trainer.take, 2.0, further)
    assert torch.equal(model.encoder.head.weight[units], before["encoder.head.weight"][units])
    with torch.no_grad():
        batches = [
            trainer.batches.gather(trainer.batches.select(step))
            for step in range(trainer.batches.steps_per_epoch)
        ]
        features = model.encode_hidden(torch.cat(batches).float() / 255)
        for logits in (model.encoder.head(features)[:, 4:8], further(features)):
            assert 1 < float(logits.std()) < 3  # of images that are transformed otherwise
            assert float(logits.mean(dim=0).abs().max()) < 1.5


def test_overclusters_that_tell_more_become_the_categories() -> None:
    """Two types that are rings of arcs, which the further head tells apart and no other does."""
    arcs = torch.arange(400) % 8
    groups = arcs.repeat_interleave(2)  # pairs of images of one arc
    groups[1::4] = (groups[1::4] // 4) * 4 + (groups[1::4] + 1) % 4  # or of the next of its ring
    features = 10 * torch.nn.functional.one_hot(groups, 8).float()
    many = torch.nn.functional.one_hot(groups, 8).float()
    generator = torch.Generator().manual_seed(0)
    own = Head(torch.zeros(2, 8), torch.zeros(2))
    head, score = best_head(features, own, 2, generator, many)
    found = (features @ head.weight.T + head.bias).argmax(dim=1)
    assert len(set(zip((groups // 4).tolist(), found.tolist(), strict=True))) == 2
    assert score.after > 0.6


def test_a_run_whose_overclusters_are_merged_resumes_as_if_it_had_not_stopped(
    tmp_path: Path,
) -> None:
    data = write_arrays(tmp_path)
    config = tiny_config(data, **SHARED, overclusters=6, merge=True, spread=2.0, refits=(7,))
    images = load(config.source())
    whole = Trainer(config, images, RunFolder(tmp_path / "whole"))
    assert whole.train()
    parts = RunFolder(tmp_path / "parts")
    assert Trainer(dataclasses.replace(config, steps=5), images, parts).train()
    again = Trainer(config, images, parts, resuming=True)
    assert again.train()
    assert_same_state(whole.model.state_dict(), again.model.state_dict())
