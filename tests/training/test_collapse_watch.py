from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import tiny_config, write_arrays

from fastjvae.data import load
from fastjvae.metrics.collapse import MeanImage, mean_image_loss
from fastjvae.metrics.evaluation import evaluate
from fastjvae.model import JointVAE
from fastjvae.training import collapse_watch
from fastjvae.training.collapse_watch import CollapseWatch
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.trainer import Trainer


def _record(reconstruction: float, kl: float, step: int = 350) -> dict[str, object]:
    return {"step": step, "reconstruction": reconstruction, "kl_cont": [kl], "kl_disc": [0.0]}


def test_a_model_of_transformed_images_is_held_against_their_mean():
    x = torch.zeros(200, 1, 16, 16, dtype=torch.uint8)
    x[:, :, 4:12, 6:10] = 255  # a bar, the same everywhere
    mean_image = mean_image_loss(x, augment=1.0)
    watch = CollapseWatch(x, augment=1.0)
    assert watch(_record(0.5 * mean_image, 1.5)) is None
    assert watch(_record(mean_image, 1.5)) is None
    warning = watch(_record(mean_image, 1.5, step=550))
    assert warning is not None
    assert f"the mean image's {mean_image:.1f}" in warning


def test_training_is_warned_once(monkeypatch: pytest.MonkeyPatch):
    watch = CollapseWatch(torch.zeros(1, 1, 1, 1), "mean")
    monkeypatch.setattr(MeanImage, "loss", lambda *_: 200.0)
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


def test_categories_that_come_before_the_units_are_no_collapse(monkeypatch: pytest.MonkeyPatch):
    watch = CollapseWatch(torch.zeros(1, 1, 1, 1), "mean")
    monkeypatch.setattr(MeanImage, "loss", lambda *_: 200.0)
    for step in (300, 600, 900):
        before = {"step": step, "reconstruction": 250.0, "kl_disc": [2.3]}
        assert watch({**before, "kl_cont": [0.1, 0.1]}) is None
    assert watch({**before, "kl_cont": []}) is None
    assert watch({**before, "step": 1_200, "kl_cont": []}) is not None


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
    monkeypatch.setattr(collapse_watch, "FIRST_STEP", 2)
    monkeypatch.setattr(collapse_watch, "STEPS_IN_DOUBT", 2)
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
