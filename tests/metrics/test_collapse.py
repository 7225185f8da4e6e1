"""A model that shows the mean image is told from one that has learned something."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny import tiny_config, write_arrays
from torch.nn.functional import binary_cross_entropy

from fastjvae.data import load
from fastjvae.metrics import collapse
from fastjvae.metrics.collapse import CollapseWatch, mean_image_loss
from fastjvae.metrics.evaluation import evaluate
from fastjvae.model import JointVAE
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.seeds_table import SeedResult, SeedsSummary
from fastjvae.training.trainer import Trainer


@pytest.mark.parametrize("images", [1, 7, 600])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_the_cross_entropy_of_the_mean_image(images: int, channels: int):
    generator = torch.Generator().manual_seed(images)
    x = torch.randint(0, 256, (images, channels, 4, 5), dtype=torch.uint8, generator=generator)
    pixels = x.double() / 255
    mean = pixels.mean(dim=0, keepdim=True).expand_as(pixels)
    summed = binary_cross_entropy(mean, pixels, reduction="sum").item() / images
    assert mean_image_loss(x, "sum") == pytest.approx(summed)
    assert mean_image_loss(x) == pytest.approx(summed / channels)
    assert mean_image_loss(pixels, "sum") == pytest.approx(summed)


def test_the_mean_of_transformed_images_tells_less():
    x = torch.zeros(200, 1, 16, 16, dtype=torch.uint8)
    x[:, :, 4:12, 6:10] = 255  # a bar, the same everywhere
    assert mean_image_loss(x) == 0
    losses = [mean_image_loss(x, augment=strength) for strength in (0.3, 1.0)]
    assert 5 < losses[0] < losses[1]
    watch = CollapseWatch(x, augment=1.0)
    assert watch(_record(0.5 * losses[1], 1.5)) is None
    assert watch(_record(losses[1], 1.5)) is None
    warning = watch(_record(losses[1], 1.5, step=550))
    assert warning is not None
    assert f"the mean image's {losses[1]:.1f}" in warning


def test_pixels_that_never_change_cost_nothing():
    black_and_white = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 1, 2)
    assert mean_image_loss(black_and_white.expand(3, -1, -1, -1)) == 0


def _record(reconstruction: float, kl: float, step: int = 350) -> dict[str, object]:
    return {"step": step, "reconstruction": reconstruction, "kl_cont": [kl], "kl_disc": [0.0]}


def test_training_is_warned_once(monkeypatch: pytest.MonkeyPatch):
    watch = CollapseWatch(torch.zeros(1, 1, 1, 1), "mean")
    monkeypatch.setattr(collapse, "mean_image_loss", lambda *_: 200.0)
    assert watch(_record(199.0, 1.5, step=250)) is None
    assert watch(_record(199.0, 0.5)) is None  # so far the capacities allow no more
    assert watch(_record(199.0, 1.5)) is None  # a slow start is in doubt at first
    assert watch(_record(199.0, 1.5, step=500)) is None
    assert watch(_record(150.0, 3.0, step=550)) is None
    assert watch(_record(199.0, 1.5, step=600)) is None
    warning = watch(_record(199.0, 1.5, step=800))
    assert warning is not None
    assert "reconstruction 199.0 nats, the mean image's 200.0, at a KL of 1.5 nats" in warning
    assert watch(_record(199.0, 1.5, step=850)) is None


def _collapse(model: JointVAE) -> None:
    """The same code, with much KL, for every image; and the mean grey."""
    with torch.no_grad():
        model.encoder.head.weight.zero_()  # type: ignore[union-attr, operator]
        model.encoder.head.bias.fill_(2.0)  # type: ignore[union-attr, operator]
        last = model.decoder.features_to_image[-1]  # type: ignore[index]
        last.weight.zero_()
        last.bias.zero_()


def test_a_collapsed_run_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(collapse, "_FIRST_STEP", 2)
    monkeypatch.setattr(collapse, "_STEPS_IN_DOUBT", 2)
    config = tiny_config(write_arrays(tmp_path), lr=1e-9, steps=4, log_every=2)
    data = load(config.source())
    trainer = Trainer(config, data, RunFolder(tmp_path / "run"))
    _collapse(trainer.model)
    trainer.train()
    assert capsys.readouterr().err.count("whatever its latent variables say (step 4:") == 1

    evaluation = evaluate(trainer.model, data)
    assert evaluation.collapsed
    assert evaluation.to_dict()["collapsed"]
    assert f"no better than the mean image, {evaluation.mean_image:.2f}" in evaluation.table()


def test_a_model_that_reconstructs_has_not_collapsed(tmp_path: Path):
    config = tiny_config(write_arrays(tmp_path))
    data = load(config.source())
    evaluation = evaluate(JointVAE(data.img_size, config.spec), data)
    assert evaluation.collapsed  # nothing is learned yet
    learned = type(evaluation)(**{**vars(evaluation), "reconstruction": 1.0})
    assert not learned.collapsed
    assert "collapsed" not in learned.table()


def test_the_table_of_seeds_names_them():
    results = tuple(
        SeedResult(seed, 100.0, 1.0, 1.0, None, None, collapsed=seed in (1, 3)) for seed in range(4)
    )
    summary = SeedsSummary("some data", 10, results)
    assert "collapsed, no better than the mean image: 1, 3" in summary.table()
    assert [row["collapsed"] for row in summary.to_dict()["seeds"]] == [False, True, False, True]
    assert "collapsed" not in SeedsSummary("some data", 10, results[:1]).table()
