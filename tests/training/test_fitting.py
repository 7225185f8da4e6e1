"""Training from images in Python."""

from __future__ import annotations

import os
import signal
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import fastjvae
from fastjvae import Capacity
from fastjvae.data import DataSource, load
from fastjvae.errors import ArgumentError, CheckpointError, DataError, RunError
from fastjvae.files import parse_json
from fastjvae.training import RunFolder, fit, recipe
from fastjvae.training.run_folder import read_metrics
from fastjvae.training.settings.for_images import Images
from fastjvae.training.settings.from_python import settings_for

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 16, 16), dtype=np.uint8)
LABELS = np.arange(40) % 4
TINY: dict[str, Any] = {"cont": 2, "disc": [4], "steps": 3, "device": "cpu", "log_every": 2}


class StopAt:
    def __init__(self, step: int) -> None:
        self.step = step

    def should_stop(self, record: dict[str, Any]) -> bool:
        return bool(record["step"] >= self.step)


class InterruptAt:
    """Ctrl-C after the record of a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_log(self, record: dict[str, Any]) -> None:
        if record["step"] == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_fit_has_model_history_and_evaluation_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fitted = fastjvae.fit(IMAGES, labels=LABELS, **TINY)
    assert not fitted.model.training
    assert fitted.model.spec.to_dict() == {"cont": 2, "disc": [4]}
    assert [record["step"] for record in fitted.history] == [2, 3]
    assert fitted.evaluation["images"] == 4  # a tenth
    assert 0 <= fitted.evaluation["variables"][0]["accuracy_majority"] <= 1
    assert fitted.evaluation["reconstruction_train"] > 0
    assert fitted.run is None
    assert list(tmp_path.iterdir()) == []
    assert repr(fitted).startswith("Fit(3 steps, reconstruction ")


@pytest.mark.parametrize("form", [IMAGES[:, None], IMAGES[..., None], torch.from_numpy(IMAGES)])
def test_every_form_of_the_images_trains_the_same(form: Any) -> None:
    expected = fit(IMAGES, **TINY).model.state_dict()
    found = fit(form, **TINY).model.state_dict()
    assert all(found[name].equal(expected[name]) for name in expected)


def test_a_seed_decides() -> None:
    one, same, other = (fit(IMAGES, seed=seed, **TINY).history[-1]["loss"] for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_a_run_folder_is_taken_by_whatever_takes_one(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    fitted = fit(IMAGES, labels=LABELS, out=run.path, **TINY)
    assert fitted.run == run.path
    assert parse_json(run.evaluation_file.read_bytes()) == fitted.evaluation
    assert read_metrics(run) == fitted.history
    assert run.own_data() == "array/train"
    loaded = fastjvae.load(run.path)
    for name, tensor in fitted.model.state_dict().items():
        assert loaded.state_dict()[name].equal(tensor)
    again = fit(IMAGES, labels=LABELS, out=run.path, **TINY)  # has ended before
    assert again.history == fitted.history
    assert again.evaluation == fitted.evaluation
    with pytest.raises(RunError, match="holds a run with another configuration"):
        fit(IMAGES, out=run.path, lr=0.1, **TINY)


def test_a_fit_that_was_stopped_goes_on_from_its_folder(tmp_path: Path) -> None:
    whole = fit(IMAGES, **TINY)
    first = fit(IMAGES, out=tmp_path / "run", callbacks=[StopAt(2)], **TINY)
    assert first.history[-1]["step"] == 2
    second = fit(IMAGES, out=tmp_path / "run", **TINY)
    for name, tensor in whole.model.state_dict().items():
        assert second.model.state_dict()[name].equal(tensor)


def test_more_steps_go_on_from_the_folder_as_those_of_a_command_do(tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (200, 16, 16), dtype=np.uint8)
    phases = {**TINY, "held_out": 0}
    first = fit(images, out=tmp_path / "run", **{**phases, "steps": 12})
    began = RunFolder(tmp_path / "run").read_config()
    for steps in (20, 30):  # a second time, too
        longer = fit(images, out=tmp_path / "run", **{**phases, "steps": steps})
        config = RunFolder(tmp_path / "run").read_config()
        assert config == began.ending_at(steps)  # what phases and schedules are shares of stays
        assert longer.history[: len(first.history)] == first.history
        assert longer.history[-1]["step"] == longer.evaluation["steps"] == steps
    again = fit(images, out=tmp_path / "run", **{**phases, "steps": 30})
    assert again.history == longer.history
    with pytest.raises(ArgumentError, match="has taken 30 steps already, so it cannot end at step"):
        fit(images, out=tmp_path / "run", **{**phases, "steps": 20})
    with pytest.raises(ArgumentError, match=r"^steps 1 ends before the phase style"):
        fit(images, out=tmp_path / "run", **{**phases, "steps": 1})
    fit(images, out=tmp_path / "other", **{**phases, "steps": 2})
    with pytest.raises(RunError, match=r"\(lr is .*; choose another folder with out$"):
        fit(images, out=tmp_path / "other", lr=0.1, **{**phases, "steps": 4})
    with pytest.raises(RunError, match=r"\(lr is .*; choose another folder with out$"):
        fit(images, out=tmp_path / "run", lr=0.1, **{**phases, "steps": 30})
    with pytest.raises(CheckpointError, match="trained on other images"):
        fit(images[::-1].copy(), out=tmp_path / "run", **{**phases, "steps": 40})


def test_a_run_by_epochs_goes_on_to_steps(tmp_path: Path) -> None:
    given: dict[str, Any] = {"recipe": "paper", "device": "cpu", "batch_size": 12, "held_out": 0}
    fit(IMAGES, out=tmp_path / "run", epochs=1, **given)
    longer = fit(IMAGES, out=tmp_path / "run", epochs=1, steps=5, **given)
    assert longer.evaluation["steps"] == 5


def test_what_training_says_of_settings_has_their_names_in_python(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fit(IMAGES, recipe="paper", **TINY)
    assert (
        "fastjvae: cont_capacity ends at step 25,000 and this run at 3" in capsys.readouterr().err
    )


def test_an_interrupt_returns_what_there_is() -> None:
    fitted = fit(IMAGES, callbacks=[InterruptAt(2)], **{**TINY, "steps": 1_000})
    assert fitted.history[-1]["step"] == 2
    assert fitted.evaluation["steps"] == 2


@pytest.mark.parametrize("labelled", [True, False])
def test_validation_images_are_evaluated_and_none_are_held_out(labelled: bool) -> None:
    validation = (IMAGES[:7], LABELS[:7]) if labelled else IMAGES[:7]
    fitted = fit(IMAGES, validation=validation, **TINY)
    assert fitted.evaluation["images"] == 7
    accuracy = fitted.evaluation["variables"][0]["accuracy_majority"]
    assert (accuracy is not None) == labelled


def test_nothing_is_held_out_where_none_is_wanted() -> None:
    fitted = fit(IMAGES, held_out=0, **TINY)
    assert fitted.evaluation["images"] == 40
    assert fitted.evaluation["reconstruction_train"] is None


def test_a_loader_trains_in_one_phase() -> None:
    loader = DataLoader(TensorDataset(torch.from_numpy(IMAGES)[:, None] / 255.0), batch_size=8)
    fitted = fit(loader, **TINY)
    assert "phase" not in fitted.history[-1]
    assert fitted.evaluation["images"] == 40
    with pytest.raises(ArgumentError, match="labels belong to images in an array"):
        fit(loader, labels=LABELS, **TINY)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"image_size": (32, 32)}, "^image_size is for images in an array, .* in its dataset"),
        ({"batch_size": 4}, "^batch_size is for .* give DataLoader the batch_size"),
        ({"held_out": 0.2}, "^held_out is for .* give validation images"),
        ({"neighbours": 5}, "^neighbours is for images in an array"),
        ({"epochs": 2}, "this recipe is counted in steps: give steps instead of epochs"),
    ],
)
def test_what_a_loader_does_not_heed_is_refused(settings: dict[str, Any], sentence: str) -> None:
    loader = DataLoader(TensorDataset(torch.from_numpy(IMAGES)[:, None]), batch_size=8)
    with pytest.raises(ArgumentError, match=sentence):
        fit(loader, **TINY, **settings)


def test_what_has_an_effect_beside_a_loader_is_heeded() -> None:
    loader = DataLoader(TensorDataset(torch.from_numpy(IMAGES)[:, None]), batch_size=8)
    plain, moved = (fit(loader, augment=a, **TINY).history[-1]["loss"] for a in (0.0, 2.0))
    assert plain != moved
    large = IMAGES.repeat(2, 1).repeat(2, 2)
    fitted = fit(loader, validation=large, image_size=(16, 16), held_out=0, **TINY)
    assert fitted.evaluation["images"] == 40


def test_epochs_of_a_recipe_that_counts_them() -> None:
    fitted = fit(IMAGES, recipe="paper", epochs=2, device="cpu", batch_size=12, held_out=0)
    assert fitted.evaluation["steps"] == 8


def test_a_setting_that_the_source_of_images_decides_is_not_ignored() -> None:
    data = load(DataSource("digits", image_size=(16, 16)))
    with pytest.raises(
        ArgumentError, match=r"held_out must be that of the images' DataSource, 0.0"
    ):
        fit(data, held_out=0.2, **TINY)


def test_a_device_is_a_name_or_torch_s_own() -> None:
    fitted = fit(IMAGES, **{**TINY, "device": torch.device("cpu")})
    assert fitted.model.device == torch.device("cpu")


def test_a_data_set_by_name_is_evaluated_on_its_test_images(tmp_path: Path) -> None:
    data = load(DataSource("digits", image_size=(16, 16)))
    fitted = fit(data, out=tmp_path / "run", **TINY)
    assert fitted.evaluation["data"] == "digits/test"
    config = RunFolder(tmp_path / "run").read_config()
    assert (config.dataset, config.image_size) == ("digits", (16, 16))
    assert RunFolder(tmp_path / "run").own_data() is None  # a command can load it again


def test_test_images_that_cannot_be_read_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = load(DataSource("digits", image_size=(16, 16)))

    def missing(source: DataSource) -> None:
        raise DataError(f"no {source.split} images are there")

    monkeypatch.setattr("fastjvae.training.held_out.load", missing)
    assert fit(data, **TINY).evaluation["data"] == "digits/train"
    said = "no test images are there; the evaluation will use the training images\n"
    assert f"fastjvae: {said}" in capsys.readouterr().err


def test_settings_are_made_for_the_images_or_come_from_a_recipe() -> None:
    many = Images(900, 32 * 32)
    made = settings_for(many, None, None, {"disc": (3,), "cont": None})
    assert (made.steps, made.disc, made.cont) == (1200, (3,), 10)
    assert [phase.name for phase in made.phases] == ["types", "style"]
    assert settings_for(many, None, None, {}, compared=False).phases == ()
    paper = settings_for(many, None, "paper", {"seed": 4})
    assert (paper.lr, paper.seed) == (5e-4, 4)
    fast = settings_for(many, None, recipe("mnist", "fast"), {})
    assert fast.dataset == "arrays"
    assert fast.phases == recipe("mnist", "fast").phases


def test_parts_of_settings_and_settings_of_phases() -> None:
    given = {"types": {"lr": 1e-4}, "style": {"cont_capacity": {"hi": 7.0}}}
    made = settings_for(Images(900, 32 * 32), None, None, given)
    types, style = (phase.config for phase in made.phase_configs)
    assert types.lr == 1e-4
    assert style.lr == 1e-3
    assert style.cont_capacity.hi == 7.0
    capacity = Capacity(1.0, 2.0, 3, 4.0)
    paper = settings_for(Images(900, 256), None, "paper", {"cont_capacity": capacity})
    assert paper.cont_capacity.build() == capacity


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"step": 3}, r"there is no setting step \(did you mean steps\?\)"),
        ({"cont_capacity": {"high": 3}}, r"cont_capacity.high \(did you mean cont_capacity.hi\?\)"),
        ({"types": {"lrr": 3}}, r"no setting types.lrr \(did you mean types.lr\?\)"),
        ({"types": {"seed": 3}}, "no setting types.seed"),
        ({"data_root": "x"}, "data_root is a setting of the command line"),
        ({"recipe": "fast"}, "arrays has no recipe 'fast'"),
        ({"lr": -1.0}, "must be a finite number above 0, got -1"),
        ({"animate_every": 5}, "give out, too"),
        ({"epochs": 2}, "phases of this recipe are counted in steps: give steps instead of epochs"),
        ({"steps": "20"}, "^steps must be a whole number, got '20'"),
        ({"disc": 5}, r"^disc must be a list such as \[5\], got 5"),
        ({"image_size": 32}, r"^image_size must be a list such as \[32, 32\], got 32"),
        ({"held_out": "some"}, "^held_out must be a finite number of at least 0, got 'some'"),
        ({"held_out": 0.2, "validation": IMAGES}, "give validation or held_out, got held_out 0.2"),
        ({"cont_capacity": {"max": 3}}, r"cont_capacity.max \(did you mean cont_capacity.hi\?\)"),
        ({"cont_capacity": {"colour": 3}}, r"\(cont_capacity has gamma, hi, iters, lo and start\)"),
        ({"learning_rate": 1e-3}, r"learning_rate \(did you mean lr\?\)"),
        ({"--learning-rate": 1e-3}, r"learning_rate \(did you mean lr\?\)"),
        ({"num_workers": 4}, "there is no setting num_workers$"),
        ({"device": "gpu"}, r"the device must be cpu, cuda, cuda:1, \.\.\. or auto, got 'gpu'$"),
        ({"types": {"steps": 5}}, "^steps is for the whole run and types.steps for one phase"),
        ({"scale": 0.5}, "scale is for likelihood gaussian, this run has likelihood bernoulli"),
    ],
)
def test_wrong_settings_are_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    images = np.zeros((200, 16, 16), np.uint8)  # enough for phases
    with pytest.raises(ArgumentError, match=sentence) as error:
        fit(images, **{**TINY, "steps": 30, **settings})
    assert "\n" not in str(error.value)


def test_images_of_another_form_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="values from 0 to 1"):
        fit(IMAGES * 1.0, out=tmp_path / "run", **TINY)
    with pytest.raises(ArgumentError, match="image_size is for arrays"):
        fit(load(DataSource("digits")), image_size=(16, 16), out=tmp_path / "run", **TINY)
    assert not (tmp_path / "run").exists()


def test_codes_of_any_number_of_images() -> None:
    model = fit(IMAGES, **TINY).model
    images = torch.from_numpy(IMAGES)[:, None]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("error")
        rows = model.encode_params(images)
    assert model.encode_mean(IMAGES[:, None]).allclose(rows[:, model.spec.mean], atol=1e-5)
    categories = model.encode_categories(images)
    assert categories.dtype == torch.int64
    assert categories[:, 0].equal(rows[:, model.spec.logits[0]].argmax(1))
