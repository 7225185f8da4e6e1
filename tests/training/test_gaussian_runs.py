"""Runs with a Gaussian likelihood: images of any range, what is recorded, resumed and refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from fastjvae import fit, load
from fastjvae.cli import main
from fastjvae.data import DataSource
from fastjvae.data import load as load_data
from fastjvae.errors import ArgumentError, DataError
from fastjvae.functional import Gaussian
from fastjvae.metrics.collapse import MeanImage, constant_of, mean_image_loss
from fastjvae.training import TrainConfig
from fastjvae.training.collapse_watch import CollapseWatch

BYTES = np.random.default_rng(0).integers(0, 256, (40, 16, 16), dtype=np.uint8)
FLOATS = (4 * (BYTES / 255) - 1).astype(np.float32)
TINY: dict[str, Any] = {"cont": 2, "disc": [4], "steps": 3, "device": "cpu", "log_every": 1}
GAUSSIAN: dict[str, Any] = {"likelihood": "gaussian", "value_range": (-1.0, 3.0)}


def losses(**given: Any) -> list[float]:
    images = given.pop("images")
    return [record["loss"] for record in fit(images, **TINY, **given).history]


def test_floats_and_the_bytes_that_stand_for_them_train_alike() -> None:
    of_floats = losses(images=FLOATS, **GAUSSIAN)
    assert of_floats == losses(images=BYTES, **GAUSSIAN)
    assert of_floats != losses(images=BYTES, likelihood="gaussian")  # another unit


@pytest.mark.parametrize("augment", [0.0, 0.5])
def test_a_loader_gives_floats_in_the_range_or_bytes(augment: float) -> None:
    def of(images: torch.Tensor) -> list[float]:
        loader = DataLoader(TensorDataset(images), batch_size=8)
        return losses(images=loader, augment=augment, **GAUSSIAN)

    bytes_ = torch.from_numpy(BYTES)[:, None]
    assert of(bytes_) == pytest.approx(of(4 * (bytes_ / 255) - 1), rel=1e-5)


def test_moved_images_keep_their_range() -> None:
    black = np.full((40, 16, 16), -1, np.float32)
    found = fit(black, **TINY, **GAUSSIAN, augment=1.0, group=2, scale=0.01)
    # All pixels are the lowest; a decoder begins near the middle, which is 2 away.
    away = math.sqrt(found.history[0]["reconstruction"] * 2 * 0.01**2 / 256)
    assert away == pytest.approx(2, abs=0.4)


def test_a_learned_scale_is_trained_saved_and_resumed(tmp_path: Path) -> None:
    given = {**TINY, **GAUSSIAN, "scale": "learned"}
    whole = fit(FLOATS, **{**given, "steps": 6})
    first = fit(FLOATS, **{**given, "steps": 6}, out=tmp_path / "run", callbacks=[StopAt(3)])
    assert first.history[-1]["step"] == 3
    again = fit(FLOATS, **{**given, "steps": 6}, out=tmp_path / "run")
    assert again.history[-1]["loss"] == whole.history[-1]["loss"]
    assert again.model.log_scale is not None
    assert torch.equal(again.model.log_scale, whole.model.log_scale)
    assert again.model.standard_deviation != pytest.approx(0.4, rel=1e-3)  # where it began
    assert load(tmp_path / "run").standard_deviation == again.model.standard_deviation
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    for settings in (config, config["model"]):
        found = settings.get("training", settings)
        assert (found["likelihood"], found["scale"]) == ("gaussian", "learned")
        assert found["value_range"] == [-1.0, 3.0]


class StopAt:
    def __init__(self, step: int) -> None:
        self.step = step

    def should_stop(self, record: dict[str, Any]) -> bool:
        return bool(record["step"] >= self.step)


def test_a_scale_moves_ten_times_as_fast_as_the_weights() -> None:
    model = fit(FLOATS, **TINY, **GAUSSIAN, scale="learned", lr=1e-3, warmup=0).model
    assert model.log_scale is not None
    moved = float(model.log_scale.detach()) - math.log(0.1 * 4)
    assert 0.01 < abs(moved) <= 3 * 0.0101  # three steps of at most 10 lr


def test_an_evaluation_says_the_density_and_its_scale() -> None:
    found = fit(FLOATS, **TINY, **GAUSSIAN, scale=0.5).evaluation
    assert (found["likelihood"], found["scale"]) == ("gaussian", pytest.approx(0.5))
    constant = 256 * (math.log(0.5) + 0.5 * math.log(2 * math.pi))
    assert found["constant"] == pytest.approx(constant)
    assert found["reconstruction"] > constant
    plain = fit(BYTES, **TINY).evaluation
    assert (plain["likelihood"], plain["scale"], plain["constant"]) == ("bernoulli", None, 0.0)


def test_a_density_may_be_below_0() -> None:
    grey = np.full((40, 16, 16), 0.5, np.float32)
    found = fit(grey, **{**TINY, "steps": 12}, likelihood="gaussian", scale=0.05)
    assert found.history[-1]["reconstruction"] < 0


def test_phases_and_categories_are_trained_under_it() -> None:
    images = np.concatenate([FLOATS] * 4)
    found = fit(images, **{**TINY, "steps": 40}, **GAUSSIAN, scale="learned")
    assert {record["phase"] for record in found.history} == {"types", "style"}
    assert found.model.standard_deviation > 0


@pytest.mark.parametrize(
    ("images", "given", "error", "message"),
    [
        (FLOATS, {}, DataError, r"from 0 to 1, got -1.0 to 3.0: a likelihood gaussian takes"),
        (3 * FLOATS, GAUSSIAN, DataError, r"in the value range, -1.0 to 3.0, got -3.0 to 9.0"),
        (BYTES, {"scale": "learned"}, ArgumentError, "scale is for likelihood gaussian"),
        (BYTES, {"value_range": (0, 2)}, ArgumentError, "value_range is for likelihood gauss"),
        (BYTES, {"likelihood": "normal"}, ArgumentError, "one of bernoulli, gaussian, got 'normal"),
        (BYTES, {**GAUSSIAN, "scale": -1}, ArgumentError, "learned or a finite number above 0"),
        (BYTES, {**GAUSSIAN, "scale": "big"}, ArgumentError, "learned or a finite number above 0"),
        (FLOATS, {**GAUSSIAN, "value_range": (3, -1)}, ArgumentError, "the lower end first"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    images: Any, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fit(images, **TINY, **given)


def test_a_loader_outside_the_range_is_refused_before_the_first_step() -> None:
    loader = DataLoader(TensorDataset(torch.from_numpy(5 * FLOATS)[:, None]), batch_size=8)
    with pytest.raises(DataError, match=r"value range, -1\.0 to 3\.0"):
        fit(loader, **TINY, **GAUSSIAN)


def test_settings_of_a_recipe_are_kept() -> None:
    settings = TrainConfig(dataset="arrays", **GAUSSIAN)
    small = {**TINY, "recipe": settings}
    assert fit(FLOATS, **small).model.value_range == (-1.0, 3.0)


def test_the_command_line_reads_arrays_of_any_range(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, run = str(tmp_path / "images.npy"), str(tmp_path / "run")
    np.save(file, FLOATS)
    flags = ["--steps", "2", "--disc", "3", "--cont", "2", "--no-figures", "--out", run]
    gaussian = ["--likelihood", "gaussian", "--scale", "learned", "--value-range", "-1", "3"]
    assert main(["train", "arrays", "--data-root", file, *flags, *gaussian]) == 0
    assert main(["evaluate", run]) == 0
    assert "likelihood        Gaussian of scale" in capsys.readouterr().out
    assert main(["figures", "reconstructions", run]) == 0
    assert main(["export", run, "--to", "published"]) != 0
    assert "Gaussian likelihood has no published form" in capsys.readouterr().err
    source = DataSource("arrays", root=file, value_range=(-1.0, 3.0))
    np.testing.assert_array_equal(load_data(source).images[:, 0], BYTES)


def test_a_range_is_of_arrays_alone() -> None:
    with pytest.raises(ArgumentError, match="value_range applies to arrays and not to digits"):
        DataSource("digits", value_range=(-1.0, 1.0))


def test_the_range_of_a_source_is_the_one_to_train_in(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", FLOATS)
    data = load_data(DataSource("arrays", root=str(tmp_path / "images.npy"), value_range=(-1, 3)))
    assert fit(data, **TINY, likelihood="gaussian").model.value_range == (-1.0, 3.0)
    with pytest.raises(ArgumentError, match=r"that of the images' DataSource, \(-1.0, 3.0\)"):
        fit(data, **TINY, likelihood="gaussian", value_range=(0.0, 2.0))


# --- the mean image -------------------------------------------------------------------------------


def test_the_mean_image_under_a_gaussian() -> None:
    bytes_ = torch.from_numpy(BYTES)[:, None]
    gaussian = TrainedModel().gaussian
    floats = 4 * (bytes_.double() / 255) - 1
    normal = torch.distributions.Normal(floats.mean(dim=0), 0.5)
    right = -normal.log_prob(floats).sum() / len(floats)
    assert mean_image_loss(bytes_, gaussian=gaussian) == pytest.approx(float(right))
    assert MeanImage.of(bytes_).loss("sum", gaussian) == pytest.approx(float(right))
    assert constant_of((1, 16, 16), "mean", gaussian) < float(right)


class TrainedModel:
    """As much of a model as the watch asks for."""

    def __init__(self) -> None:
        self.gaussian = Gaussian(torch.tensor(math.log(0.5), requires_grad=True), -1.0, 3.0)


def test_a_collapse_is_seen_under_a_gaussian() -> None:
    bytes_ = torch.from_numpy(BYTES)[:, None]
    model: Any = TrainedModel()
    mean_image = mean_image_loss(bytes_, gaussian=model.gaussian.on_host())
    constant = constant_of((1, 16, 16), "mean", model.gaussian)
    for share, collapsed in ((1.0, True), (0.5, False)):
        watch = CollapseWatch(bytes_, model=model)
        found = [
            watch(
                {
                    "step": step,
                    "kl_cont": [3.0],
                    "kl_disc": [],
                    "reconstruction": constant + share * (mean_image - constant),
                }
            )
            for step in (400, 700)
        ]
        assert [sentence is not None for sentence in found] == [False, collapsed]


@pytest.mark.parametrize("scale", ["learned", 0.5, None])
def test_training_begins_with_the_weights_of_another_likelihood(
    scale: str | float | None, tmp_path: Path
) -> None:
    fit(FLOATS, **TINY, **GAUSSIAN, scale="learned", out=tmp_path / "first")
    likelihood = {} if scale is None else {**GAUSSIAN, "scale": scale}
    images = BYTES if scale is None else FLOATS
    given = {**TINY, "steps": 1, "lr": 1e-9, "start_from": str(tmp_path / "first")}
    found, first = fit(images, **given, **likelihood).model, load(tmp_path / "first")
    assert (found.log_scale is None) == (scale != "learned")
    if scale == "learned":
        assert found.standard_deviation == pytest.approx(first.standard_deviation, rel=1e-4)
    torch.testing.assert_close(found.encode_mean(BYTES[:, None]), first.encode_mean(BYTES[:, None]))
