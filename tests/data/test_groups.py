"""Batches of groups of neighbouring images, transformed at random, and training with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import assert_same_state, tiny_config, write_arrays
from torch import Tensor

from fastjvae.data import load
from fastjvae.data.batches import ResidentBatches, StreamedBatches
from fastjvae.data.batches.augment import NUMBERS, RandomAffine
from fastjvae.data.batches.groups import Groups, nearest_neighbours
from fastjvae.errors import ArgumentError
from fastjvae.model import Encoder
from fastjvae.model.checkpoint import read_checkpoint
from fastjvae.model.networks import initialise_he
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.settings.train import TrainConfig, build_model
from fastjvae.training.trainer import Trainer

CPU = torch.device("cpu")
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (11, 1, 4, 6), np.uint8))
NEIGHBOURS = torch.stack([(torch.arange(11) + shift) % 11 for shift in (1, 2, 3)], dim=1)


# --- neighbours -----------------------------------------------------------------------------------


@given(count=st.integers(2, 40), side=st.sampled_from([3, 16, 32]), seed=st.integers(0, 999))
def test_neighbours_are_those_of_the_distances(count: int, side: int, seed: int):
    generator = np.random.default_rng(seed)
    images = torch.from_numpy(generator.integers(0, 256, (count, 2, side, side), np.uint8))
    rows = images.double()
    if side == 32:
        rows = rows.view(count, 2, 16, 2, 16, 2).mean(dim=(3, 5))
    distances = torch.cdist(rows.flatten(1), rows.flatten(1))
    distances.fill_diagonal_(torch.inf)
    number = min(5, count - 1)
    found = nearest_neighbours(images, number)
    assert found.shape == (count, number)
    torch.testing.assert_close(
        distances.gather(1, found), distances.sort(dim=1).values[:, :number], rtol=1e-4, atol=1.0
    )
    assert (found != torch.arange(count)[:, None]).all()


def test_distances_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch):
    whole = nearest_neighbours(IMAGES, 4)
    monkeypatch.setattr("fastjvae.data.batches.groups._DISTANCES", 25)  # 2 images at once
    assert torch.equal(nearest_neighbours(IMAGES, 4), whole)


def test_too_few_images_for_the_neighbours_are_an_error():
    with pytest.raises(ArgumentError, match=r"11 nearest .* at least 12 images, there are 11"):
        nearest_neighbours(IMAGES, 11)
    assert nearest_neighbours(IMAGES, 0).shape == (11, 0)


# --- batches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ResidentBatches, StreamedBatches])
def test_every_image_leads_a_group_of_its_neighbours_once_an_epoch(
    kind: type[ResidentBatches] | type[StreamedBatches],
):
    with kind(IMAGES, 6, 5, CPU, groups=Groups(3, NEIGHBOURS)) as batches:
        assert batches.steps_per_epoch == 6
        leaders = []
        for step in range(6):
            images = batches.gather(batches.select(step))
            assert len(images) == batches.whole(step) == (6 if step < 5 else 3)
            index = [_index(image) for image in images]
            for first in range(0, len(index), 3):
                leader, *others = index[first : first + 3]
                leaders.append(leader)
                assert len(set(others)) == 2
                assert set(others) <= set(NEIGHBOURS[leader].tolist())
        assert sorted(leaders) == list(range(11))


def _index(image: torch.Tensor) -> int:
    (index,) = (image == IMAGES).flatten(1).all(dim=1).nonzero().flatten().tolist()
    return int(index)


def test_groups_depend_on_the_seed_and_the_step_alone():
    groups = Groups(2, NEIGHBOURS)
    batches = ResidentBatches(IMAGES, 4, 1, CPU, groups=groups)
    steps = [batches.select(step) for step in range(30)]
    again = ResidentBatches(IMAGES, 4, 1, CPU, groups=groups)
    assert torch.equal(again.select(17), steps[17])
    ranks = {int((s[1] - s[0]) % 11) for s in steps}
    assert ranks == {1, 2, 3}  # every neighbour has its turn
    parts = [
        ResidentBatches(IMAGES, 4, 1, CPU, rank=r, world=3, groups=groups).select(17)
        for r in range(3)
    ]
    assert torch.equal(torch.cat(parts), steps[17])


def test_a_group_without_neighbours_is_one_image():
    batches = ResidentBatches(IMAGES, 6, 0, CPU, groups=Groups(3, nearest_neighbours(IMAGES, 0)))
    first = batches.select(0)
    assert torch.equal(first, first[[0, 3]].repeat_interleave(3))


def test_a_batch_that_is_no_number_of_groups_is_an_error():
    with pytest.raises(ArgumentError, match=r"groups of 3 images .* got a batch size of 4"):
        ResidentBatches(IMAGES, 4, 0, CPU, groups=Groups(3, NEIGHBOURS))


# --- transformations ------------------------------------------------------------------------------


def affine(images: Tensor, uniform: Tensor, strength: float) -> Tensor:
    return RandomAffine(strength, images.device, images.dtype)(images, uniform)


def test_no_strength_and_middle_numbers_change_nothing():
    images = torch.rand(3, 2, 12, 16)
    middle = torch.full((3, NUMBERS), 0.5)
    same = {"rtol": 0, "atol": 1e-5}
    torch.testing.assert_close(affine(images, middle, 1.0), images, **same)
    torch.testing.assert_close(affine(images, torch.rand(3, NUMBERS), 0.0), images, **same)


@pytest.mark.parametrize(
    ("number", "shape"),
    [
        (0, [(-0.35, 0.0)]),  # a turn: the end of a horizontal bar goes up or down
        (4, [(0.0, 0.2)]),  # moves by a tenth of the width
        (5, [(0.2, 0.0)]),
    ],
    ids=["turn", "right", "down"],
)
def test_each_number_moves_a_spot_its_own_way(number: int, shape: list[tuple[float, float]]):
    """A spot half a side right of the middle, in units of half a side, (down, right)."""
    side = 129
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
    spot = (-((y - 0) ** 2 + (x - 0.5) ** 2) / 0.005).exp()[None, None]
    numbers = torch.full((1, NUMBERS), 0.5)
    numbers[0, number] = 0.0  # the largest, backwards, of where a pixel takes its value from
    moved = affine(spot, numbers, 1.0)[0, 0]
    weight = moved / moved.sum()
    found = (float((weight * y).sum()), float((weight * (x - 0.5)).sum()))
    ((down, right),) = shape
    expected = {
        0: (0.5 * np.sin(0.35), 0.5 * (np.cos(0.35) - 1)),
        4: (down, right),
        5: (down, right),
    }[number]
    assert found == pytest.approx(expected, abs=0.02)


def test_images_keep_their_range_and_each_its_own_transformation():
    images = torch.rand(1, 1, 16, 16).repeat(5, 1, 1, 1)
    moved = affine(images, torch.rand(5, NUMBERS), 1.0)
    assert (moved.min(), moved.max()) >= (0, 0)
    assert float(moved.max()) <= 1 + 1e-6
    assert not torch.allclose(moved[0], moved[1], atol=0.05)
    white = torch.ones(2, 3, 16, 16)
    torch.testing.assert_close(affine(white, torch.rand(2, NUMBERS), 1.0), white)


# --- initialisation -------------------------------------------------------------------------------


def test_he_weights_keep_the_size_of_activations_and_the_head_of_the_units():
    settings = {"dataset": "digits", "seed": 3}
    torch_model, he_model = (
        build_model(TrainConfig(**settings, initialisation=name), (1, 32, 32))  # type: ignore[arg-type]
        for name in ("torch", "he")
    )
    spec = he_model.spec
    units = slice(0, 2 * spec.cont)
    assert torch.equal(he_model.encoder.head.weight[units], torch_model.encoder.head.weight[units])
    hidden = he_model.encoder.hidden.weight.detach()
    assert float(hidden.square().mean() * hidden.shape[1]) == pytest.approx(2.0, rel=0.05)
    assert not he_model.encoder.hidden.bias.detach().any()
    decoders = [model.decoder.state_dict() for model in (torch_model, he_model)]
    assert_same_state(*decoders)
    images = torch.rand(64, 1, 32, 32)
    spread = [
        float(m.encode_params(images).detach()[:, spec.logits[0]].std(dim=0).mean())
        for m in (torch_model, he_model)
    ]
    assert spread[1] > 10 * spread[0]


def test_he_weights_of_an_encoder_without_units():
    torch.manual_seed(0)
    model = build_model(TrainConfig("digits", cont=0, initialisation="he"), (1, 16, 16))
    assert isinstance(model.encoder, Encoder)
    initialise_he(model.encoder, model.spec)
    assert model.encoder.head.weight.detach().std() > 0


# --- training -------------------------------------------------------------------------------------

SHARED = {
    "disc_measure": "shared",
    "overclusters": 6,
    "refits": (5,),
    "group": 2,
    "neighbours": 3,
    "augment": 0.5,
    "initialisation": "he",
    "batch_size": 6,
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


def trained(config: TrainConfig, folder: Path) -> RunFolder:
    run = RunFolder(folder)
    assert Trainer(config, load(config.source()), run).train()
    return run


def test_the_log_has_the_shared_information(data: Path, tmp_path: Path):
    record = read_metrics(trained(tiny_config(data, **SHARED), tmp_path / "run"))[-1]
    assert record["epoch"] == pytest.approx(13 / 14)
    assert 0 <= record["shared_information"] <= np.log(4)
    assert record["imbalance"] >= -1e-6


def test_transformations_differ_from_step_to_step(data: Path, tmp_path: Path):
    config = tiny_config(data, augment=1.0)
    trainer = Trainer(config, load(config.source()), RunFolder(tmp_path / "run"))
    images = trainer.batches.gather(trainer.batches.select(0))
    one, other = (trainer.take.augmented(images, 8) for _ in range(2))
    assert one.shape == images.shape
    assert not torch.equal(one, other)


@pytest.mark.parametrize("stop", [1, 5, 9])  # SHARED fits a head anew after step 5
def test_resume_with_groups_is_bitwise(data: Path, tmp_path: Path, stop: int):
    whole = trained(tiny_config(data, **SHARED), tmp_path / "whole")
    config = tiny_config(data, **SHARED)
    first = Trainer(config, load(config.source()), RunFolder(tmp_path / "parts"))
    for _ in range(stop):
        first.train_step()
    first.save()
    parts = trained(config, tmp_path / "parts")
    states = [read_checkpoint(run.path / "checkpoint.pt") for run in (whole, parts)]
    assert_same_state(states[0]["model"], states[1]["model"])


def test_groups_may_lie_in_several_parts(data: Path, tmp_path: Path):
    records = [
        read_metrics(trained(tiny_config(data, **SHARED, accumulate=parts), tmp_path / str(parts)))
        for parts in (1, 4)
    ]
    for one, other in zip(*records, strict=True):
        for name in (
            "loss",
            "shared_information",
            "overclustered_information",
            "imbalance",
            "reconstruction",
        ):
            assert one[name] == pytest.approx(other[name], rel=1e-4, abs=1e-5), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group": 3}, "--batch-size must be a multiple of --group 3, got 8"),
        ({"group": 4, "neighbours": 2}, "--neighbours must be 0 or at least 3"),
        ({"neighbours": -1}, "--neighbours must be 0 or at least 1"),
        ({"disc_measure": "shared"}, "--disc-measure shared needs a --group of at least"),
        ({"group": 2}, "needs --neighbours or --augment"),
        ({**SHARED, "overclusters": 1}, "--overclusters must be 0 or at least 2 categories, got 1"),
        ({**SHARED, "refits": (3, 0)}, "--refits must be training steps of at least 1, got 0"),
        ({"group": 0}, "--group must be at least 1"),
        ({"augment": -1.0}, "--augment must be a finite number of at least 0, got -1.0"),
    ],
)
def test_settings_that_cannot_be_are_an_error(data: Path, changes: dict[str, object], message: str):
    with pytest.raises(ArgumentError, match=message):
        tiny_config(data, **changes)
