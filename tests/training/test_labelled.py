"""Training with some labels: which images a step takes, and what no label changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from programs import finish, start
from runs import assert_resume_changes_nothing, assert_same_losses, losses, trainer_of
from tiny_runs import IMAGES, SHARED, assert_same_state, tiny_config, tiny_flags, write_arrays
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.environment import has_compiler
from fastjvae.cli import main
from fastjvae.data import ImageData
from fastjvae.data import load as load_data
from fastjvae.data.batches import images as image_batches
from fastjvae.errors import ArgumentError, CheckpointError, DataError, RunError
from fastjvae.training import RunFolder, Trainer, fit
from fastjvae.training.labelled import AT_ONCE, LabelledImages, labels_of_run
from fastjvae.training.settings.phases import Phase
from fastjvae.training.settings.train import TrainConfig

LABELLED = 12
FLAGS: dict[str, Any] = {"labelled": LABELLED, "held_out": 0}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


def in_phases(data: Path, **changes: Any) -> TrainConfig:
    """Types with refits and moved images, then style."""
    types = Phase("types", 6, refits=(3,), **SHARED)  # type: ignore[arg-type]
    settings: dict[str, Any] = {"batch_size": 4, "labelled": LABELLED, **changes}
    return tiny_config(data, **settings, phases=(types, Phase("style", 7)))


def labelled_images(number: int) -> LabelledImages:
    images = torch.arange(number, dtype=torch.uint8).reshape(number, 1, 1, 1)
    categories = torch.arange(number) % 3
    device = torch.device("cpu")
    return LabelledImages(images, categories, variable=0, weight=1.0, seed=0, device=device)


@pytest.mark.parametrize("number", [1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE + 5])
def test_every_step_has_as_many_and_none_comes_twice_in_an_order(number: int) -> None:
    ours, size = labelled_images(number), min(AT_ONCE, number)
    whole = number // size
    address = ours._chosen.data_ptr()
    for order in range(3):
        seen: list[int] = []
        for step in range(order * whole, (order + 1) * whole):
            ours.begin(step)
            images, categories = ours.batch()
            rows = images.flatten()
            assert len(rows) == size
            assert categories.equal(rows.long() % 3)
            seen += rows.tolist()
        assert len(set(seen)) == whole * size
    assert ours._chosen.data_ptr() == address


def test_a_step_has_the_same_images_whichever_came_before() -> None:
    one, other = labelled_images(100), labelled_images(100)
    for step in (5, 0, 7):
        one.begin(step)
    other.begin(7)
    assert one.batch()[0].equal(other.batch()[0])


def test_categories_become_the_classes(data: Path, tmp_path: Path) -> None:
    config = tiny_config(data, labelled=LABELLED, steps=60, log_every=20, label_weight=1000.0)
    trainer = trainer_of(config, tmp_path / "run")
    assert trainer.train()
    entropy = [record["label_cross_entropy"] for record in trainer.history]
    assert entropy[-1] < 0.1 < entropy[0]
    images = load_data(config.source())
    assert images.labels is not None
    found = trainer.model.encode_categories(images.images)[:, 0]
    assert (found == images.labels).float().mean() > 0.8


@pytest.mark.parametrize("stop", [4, 6, 9])
def test_resume_is_bitwise_with_labels(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    assert_resume_changes_nothing(in_phases(data), tmp_path, stop, monkeypatch)


def test_labels_take_the_place_of_refits(data: Path, tmp_path: Path, capsys: Any) -> None:
    trainer_of(in_phases(data, labelled=0), tmp_path / "none").train()
    assert "fitted anew" in capsys.readouterr().err
    trainer_of(in_phases(data), tmp_path / "some").train()
    assert "fitted anew" not in capsys.readouterr().err


def test_a_weight_of_none_is_training_without_labels(data: Path, tmp_path: Path) -> None:
    plain = trainer_of(tiny_config(data), tmp_path / "plain")
    weightless = trainer_of(
        tiny_config(data, labelled=LABELLED, label_weight=0.0), tmp_path / "weightless"
    )
    assert plain.train()
    assert weightless.train()
    assert losses(tmp_path / "plain") == losses(tmp_path / "weightless")


def test_streamed_images_train_as_resident_ones(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config(data, labelled=LABELLED)
    assert trainer_of(config, tmp_path / "resident").train()
    monkeypatch.setattr(image_batches.memory, "fits", lambda *_: False)
    mapped = replace(load_data(config.source()), mapped=True)
    assert Trainer(config, mapped, RunFolder(tmp_path / "streamed")).train()
    assert losses(tmp_path / "resident") == losses(tmp_path / "streamed")


@pytest.mark.parametrize("world", [1, 2])
def test_parts_of_a_batch_train_as_one(data: Path, tmp_path: Path, world: int) -> None:
    own = {**FLAGS, **SHARED, "batch_size": 6}  # moved images: the numbers of all are shared out
    own = {name.replace("_", "-"): value for name, value in own.items()}
    flags = {
        folder: [*tiny_flags(data, tmp_path / folder, **own), "--no-figures"]
        for folder in ("alone", "run")
    }
    assert main(flags["alone"]) == 0
    parts = [*flags["run"], "--accumulate", "2"]
    if world == 1:
        assert main(parts) == 0
    else:
        results = finish(start(parts, world))
        assert [code for code, _, _ in results] == [0, 0], results
    assert "label_cross_entropy" in losses(tmp_path / "run")[0]
    assert_same_losses(tmp_path / "run", tmp_path / "alone")


@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(not has_compiler(), reason="torch.compile needs a C++ compiler")
def test_a_compiled_step_agrees(data: Path, tmp_path: Path, capsys: Any) -> None:
    for folder, compiled in (("plain", False), ("compiled", True)):
        config = tiny_config(data, labelled=LABELLED, compile=compiled, steps=5)
        assert trainer_of(config, tmp_path / folder).train()
    assert "goes on without" not in capsys.readouterr().err
    assert_same_losses(tmp_path / "compiled", tmp_path / "plain", 1e-4)


def test_a_checkpoint_of_other_labels_is_refused(data: Path, tmp_path: Path) -> None:
    config = tiny_config(data)
    images = load_data(config.source())

    def known(label: int) -> ImageData:
        labels = torch.full((len(images),), -1)
        labels[:3] = label
        return images.with_known_labels(labels, None)

    run = RunFolder(tmp_path / "run")
    assert Trainer(config, known(0), run).train()
    with pytest.raises(CheckpointError, match="was trained with other labels"):
        Trainer(config, known(1), run)
    Trainer(config, known(0), run)


# --- what is evaluated ----------------------------------------------------------------------------


def evaluation_of(argv: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["evaluate", *argv, "--json"]) == 0
    values: dict[str, Any] = json.loads(capsys.readouterr().out)
    return values


def test_a_run_folder_alone_says_which_images_not_to_evaluate(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "run")
    own = {name.replace("_", "-"): value for name, value in FLAGS.items()}
    assert main([*tiny_flags(data, run.path, **own), "--no-figures"]) == 0
    capsys.readouterr()
    config = json.loads(run.config_file.read_text())
    assert config["training"]["labelled"] == LABELLED
    told = config["data"]["labelled"]
    assert (told["images"], told["variable"], told["names"]) == (LABELLED, 0, list("0123"))
    evaluation = json.loads(run.evaluation_file.read_text())
    assert evaluation["images"] == IMAGES - LABELLED
    assert evaluation["labelled"] == {"images": LABELLED, "variable": 0, "names": list("0123")}
    (variable,) = evaluation["variables"]
    assert variable["names"] == list("0123")  # and not the commonest labels
    assert 0 <= variable["accuracy_labelled"] <= variable["accuracy_majority"]
    assert evaluation_of([str(run)], capsys) == evaluation
    assert main(["evaluate", str(run)]) == 0
    assert f"training saw those of {LABELLED} other images" in capsys.readouterr().out
    other = write_arrays(tmp_path, seed=1)
    found = evaluation_of([str(run), "arrays", "--data-root", str(other)], capsys)
    assert found["images"] == IMAGES  # none of them took part


@pytest.mark.parametrize("rows", ["", "..", "7..40", "5, x", 3, None])
def test_a_damaged_list_of_images_is_one_sentence(tmp_path: Path, rows: Any) -> None:
    run = RunFolder(tmp_path)
    entry = {"images": 2, "variable": 0, "names": ["a", "b"], "rows": rows}
    about = {"data": {"images": IMAGES, "labelled": entry}}
    run.config_file.write_text(json.dumps(about))
    with pytest.raises(RunError, match="damaged where it says which labels training saw"):
        labels_of_run(run)


def test_held_out_images_are_evaluated_whole(data: Path, tmp_path: Path, capsys: Any) -> None:
    run = tmp_path / "run"
    assert main([*tiny_flags(data, run, labelled=LABELLED), "--no-figures"]) == 0
    assert evaluation_of([str(run)], capsys)["images"] == IMAGES // 10
    train = evaluation_of([str(run), "--split", "train"], capsys)
    assert train["images"] == IMAGES - IMAGES // 10 - LABELLED


PIXELS = np.random.default_rng(0).integers(0, 256, (60, 16, 16), dtype=np.uint8)
NAMES = np.array(["cat", "dog", "emu"])[np.arange(60) % 3]
TINY: dict[str, Any] = {"cont": 2, "disc": [4], "steps": 3, "device": "cpu"}


def strings(known: int) -> list[str | None]:
    return [name if number < known else None for number, name in enumerate(NAMES.tolist())]


def test_fit_leaves_images_with_known_labels_out_of_its_evaluation(tmp_path: Path) -> None:
    fitted = fit(PIXELS, labels=NAMES, known_labels=strings(15), out=tmp_path / "run", **TINY)
    again = fit(PIXELS, labels=NAMES, known_labels=strings(15), **TINY, held_out=0)
    assert again.evaluation["images"] == 45
    assert fitted.evaluation["images"] <= 6  # held out, without those that are known
    assert fitted.evaluation["labelled"]["images"] == 15
    assert fitted.evaluation["variables"][0]["names"][:3] == ["cat", "dog", "emu"]
    assert "label_cross_entropy" in fitted.history[0]
    labelled = labels_of_run(RunFolder(tmp_path / "run"))
    assert labelled is not None
    assert labelled.names == ["cat", "dog", "emu"]


def test_labels_are_never_trained_on_and_known_ones_are() -> None:
    def weights(**labels: Any) -> dict[str, torch.Tensor]:
        return fit(PIXELS, held_out=0, **labels, **TINY).model.state_dict()

    plain = weights()
    assert_same_state(plain, weights(labels=NAMES))
    known = weights(known_labels=strings(15))
    assert any(not known[name].equal(each) for name, each in plain.items())
    numbers = np.where(np.arange(60) < 15, np.arange(60) % 3, -1)
    assert_same_state(known, weights(known_labels=numbers))


def test_fit_chooses_labels_by_number() -> None:
    fitted = fit(PIXELS, labels=NAMES, labelled=9, held_out=0, **TINY)
    assert fitted.evaluation["images"] == 51
    assert fitted.evaluation["labelled"]["images"] == 9


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"labelled": 5}, "labelled 5 needs images with labels, array/train has none"),
        ({"labels": NAMES, "labelled": 61}, "at most the 60 labelled images .* got 61"),
        ({"labelled": 5, "known_labels": strings(5)}, "known_labels or labelled, got both"),
        ({"label_weight": 5.0}, "label_weight is for labels that training sees"),
        ({"known_labels": strings(5), "disc": [2]}, "3 classes need .* have 2: give disc 3"),
        ({"known_labels": strings(5), "disc": []}, "3 classes need .* none is: give disc 3"),
        ({"known_labels": NAMES}, "the label of each of the 60 images, so that none is left"),
        ({"labels": NAMES, "labelled": 60}, "the label of each of the 60 images"),
    ],
)
def test_what_cannot_be_is_one_sentence(settings: dict[str, Any], sentence: str) -> None:
    share = {} if "labelled" in settings and len(settings) == 1 else {"held_out": 0}
    with pytest.raises((ArgumentError, DataError), match=sentence) as error:
        fit(PIXELS, **{**TINY, **share, **settings})
    assert "\n" not in str(error.value)


def loader_of(**settings: Any) -> DataLoader[Any]:
    images = torch.from_numpy(PIXELS)[:, None] / 255.0
    return DataLoader(TensorDataset(images), batch_size=8, **settings)


def test_a_loader_trains_with_known_labels_and_resumes_bitwise(tmp_path: Path) -> None:
    settings = {**TINY, "known_labels": strings(15), "validation": PIXELS[40:], "log_every": 2}
    whole = fit(loader_of(shuffle=True), **settings)
    assert whole.evaluation["images"] == 20
    assert whole.evaluation["labelled"] == {
        "images": 15,
        "variable": 0,
        "names": ["cat", "dog", "emu"],
    }
    assert "label_cross_entropy" in whole.history[0]
    out = tmp_path / "run"
    fit(loader_of(shuffle=True), out=out, callbacks=[StopAt(2)], **settings)
    parts = fit(loader_of(shuffle=True), out=out, **settings)
    told = labels_of_run(RunFolder(out))
    assert told is not None
    assert (told.images, told.names) == (15, ["cat", "dog", "emu"])
    assert_same_state(whole.model.state_dict(), parts.model.state_dict())
    with pytest.raises(CheckpointError, match="trained with other labels"):
        fit(loader_of(), out=out, **{**settings, "known_labels": strings(14)})


class StopAt:
    def __init__(self, step: int) -> None:
        self.step = step

    def should_stop(self, record: dict[str, Any]) -> bool:
        return bool(record["step"] == self.step)


class NoNumbers(TensorDataset):
    def __getitem__(self, row: Any) -> Any:
        raise TypeError("in its order alone")


def test_what_a_loader_cannot_have_is_one_sentence() -> None:
    with pytest.raises(ArgumentError, match="known_labels of a DataLoader need validation"):
        fit(loader_of(), known_labels=strings(5), **TINY)
    with pytest.raises(ArgumentError, match=r"^labelled 5 needs images in an array"):
        fit(loader_of(), labelled=5, **TINY)
    blind = DataLoader(NoNumbers(torch.zeros(60, 1, 16, 16)))
    with pytest.raises(DataError, match="NoNumbers, gives no image by its number"):
        fit(blind, known_labels=strings(5), validation=PIXELS, **TINY)


@pytest.mark.parametrize(
    ("disc", "variable"), [([4], 0), ([5, 3], 1), ([2, 5], 1), ([3, 3], 0), ([2, 6, 3], 2)]
)
def test_the_variable_is_the_first_that_fits(disc: list[int], variable: int) -> None:
    settings = {**TINY, "disc": disc}
    fitted = fit(PIXELS, labels=NAMES, labelled=9, recipe="paper", **settings)
    assert fitted.evaluation["labelled"]["variable"] == variable
    told = [each["accuracy_labelled"] is not None for each in fitted.evaluation["variables"]]
    assert told == [number == variable for number in range(len(disc))]
