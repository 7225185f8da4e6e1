"""Frames recorded in training, and the animation made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from figure_checks import QUANTILES, decoded, model_of
from PIL import Image
from tiny_runs import tiny_config, write_arrays

from fastjvae import figures
from fastjvae.data import load
from fastjvae.errors import ArgumentError, DataError, RunError
from fastjvae.figures.frames import FrameRecorder, frame_files
from fastjvae.model.latent_moves import Latent
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.trainer import Trainer


def train(folder: Path, until: int | None = None, **changes: Any) -> Trainer:
    """Train a tiny run, or up to the step ``until``, as a run that was killed there."""
    data = folder.parent / "squares0.npz"
    config = tiny_config(data if data.exists() else write_arrays(folder.parent), **changes)
    run = RunFolder(folder)
    resuming = run.is_run()
    trainer = Trainer(config, load(config.source()), run, resuming=resuming)
    if until is not None:
        step = trainer.train_step

        def one_step() -> None:
            step()
            if trainer.step == until:
                raise KeyboardInterrupt

        trainer.train_step = one_step  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
    else:
        trainer.train()
    return trainer


def steps_of(folder: Path) -> list[int]:
    return [step for _, step in frame_files(folder / "frames")]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path, _ in frame_files(folder / "frames")}


# --- frames ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 16, 16), (3, 16, 24)])
def test_a_frame_holds_the_traversal_of_every_latent_variable(
    size: tuple[int, int, int], tmp_path: Path
) -> None:
    model = model_of(3, 12, cont=2, size=size).train()
    FrameRecorder(tmp_path / "frames", model, 5).record(20)
    assert model.training
    (frame,) = figures.read_frames(tmp_path / "frames", size, model.spec)
    assert frame.step == 20
    assert list(map(str, frame.rows)) == ["z0", "z1", "c0", "c1"]
    rows = torch.zeros(10, 17)
    rows[:, [2, 5]] = 1
    rows[:, 1] = torch.tensor(QUANTILES)
    half_a_grey = 0.5 / 255 + 1e-6
    np.testing.assert_allclose(
        frame.rows[Latent("z", 1)], decoded(model.eval(), rows), atol=half_a_grey
    )
    rows = torch.zeros(3, 17)
    rows[:, 5] = 1
    rows[:, 2:5] = torch.eye(3)
    np.testing.assert_allclose(frame.rows[Latent("c", 0)], decoded(model, rows), atol=half_a_grey)
    assert len(frame.rows[Latent("c", 1)]) == 10  # the first categories of 12


def test_of_many_units_and_of_many_frames_some_are_kept(tmp_path: Path) -> None:
    model = model_of(3, cont=40)
    recorder = FrameRecorder(tmp_path, model, 1)
    for step in range(12):
        recorder.record(step)
    frames = figures.read_frames(tmp_path, model.img_size, model.spec, max_frames=4)
    assert [frame.step for frame in frames] == [0, 4, 7, 11]
    assert len(frames[0].rows) == 33
    assert str(list(frames[0].rows)[-1]) == "c0"


def test_a_frame_of_a_model_that_has_diverged_is_written(tmp_path: Path) -> None:
    model = model_of(cont=1)
    with torch.no_grad():
        next(model.decoder.parameters()).fill_(float("nan"))
    FrameRecorder(tmp_path, model, 1).record(0)
    assert len(figures.read_frames(tmp_path, model.img_size, model.spec)) == 1


# --- training -------------------------------------------------------------------------------------


def test_training_records_the_start_every_so_many_steps_and_the_end(tmp_path: Path) -> None:
    trainer = train(tmp_path / "run", animate_every=5)
    assert steps_of(tmp_path / "run") == [0, 5, 10, 13]
    frames = figures.read_frames(
        tmp_path / "run" / "frames", trainer.model.img_size, trainer.model.spec
    )
    last = frames[-1].rows[Latent("c", 0)]
    rows = torch.cat([torch.zeros(4, 2), torch.eye(4)], dim=1)
    np.testing.assert_allclose(last, decoded(trainer.model.eval(), rows), atol=0.51 / 255)
    assert (frames[0].rows[Latent("c", 0)] != last).any()


def test_recording_changes_nothing_in_training(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    plain = train(tmp_path / "a" / "run")
    assert not (tmp_path / "a" / "run" / "frames").exists()
    recorded = train(tmp_path / "a" / "other", animate_every=1)
    for ours, theirs in zip(plain.model.parameters(), recorded.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_run_that_was_killed_ends_with_the_frames_of_one_that_was_not(tmp_path: Path) -> None:
    train(tmp_path / "whole", animate_every=3)
    folder = tmp_path / "killed"
    train(folder, until=9, animate_every=3)  # the checkpoint is of step 5
    assert steps_of(folder) == [0, 3, 6]
    train(folder, animate_every=3)
    assert steps_of(folder) == [0, 3, 6, 9, 12, 13]
    assert contents(folder) == contents(tmp_path / "whole")


def test_frames_behind_the_checkpoint_or_of_another_spacing_go(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(folder, animate_every=2)
    assert steps_of(folder) == [0, 2, 4, 6, 8, 10, 12, 13]
    train(folder, animate_every=4, steps=17)
    assert steps_of(folder) == [0, 4, 8, 12, 16, 17]
    train(folder, animate_every=4, steps=17)  # the same again
    assert steps_of(folder) == [0, 4, 8, 12, 16, 17]


def test_a_run_that_ends_earlier_than_it_was_killed_keeps_no_later_frame(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(folder, until=10, animate_every=3)  # the checkpoint is of step 5
    assert steps_of(folder) == [0, 3, 6, 9]
    train(folder, animate_every=3, steps=8)
    assert steps_of(folder) == [0, 3, 6, 8]


def test_frames_that_cannot_be_written_stop_training_with_one_sentence(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(folder)
    (folder / "frames").write_text("a file")
    with pytest.raises(RunError, match=r"cannot write .*frames"):
        train(folder, steps=20, animate_every=2)


# --- the animation --------------------------------------------------------------------------------


def recorded(folder: Path, steps: list[int], cont: int = 3) -> list[figures.Frame]:
    frames = []
    for step in steps:
        model = model_of(3, cont=cont)
        with torch.no_grad():
            for parameter in model.decoder.parameters():
                parameter.mul_(1 + step / 1000)
        FrameRecorder(folder, model, 1).record(step)
    frames = figures.read_frames(folder, (1, 16, 16), model.spec)
    assert [frame.step for frame in frames] == steps
    return frames


def test_an_animation_shows_the_most_informative_units_of_every_frame(tmp_path: Path) -> None:
    frames = recorded(tmp_path, [0, 90, 1200])
    pages = figures.training_animation(frames, kl_cont=[0.1, 0.0, 0.9], max_units=2, title="Run")
    assert len(pages) == 3
    assert len({page.size for page in pages}) == 1
    assert {page.mode for page in pages} == {"RGB"}
    page = np.asarray(pages[1]).astype(float)
    # Scale 4 and a gap of one image pixel; the picture ends 8 pixels before the page does.
    side, gap = 4 * 16, 4
    for row, latent in enumerate([Latent("z", 2), Latent("z", 0), Latent("c", 0)]):
        bottom = page.shape[0] - 8 - (2 - row) * (side + gap)
        images = frames[1].rows[latent]
        for column, image in enumerate(images):
            right = page.shape[1] - 8 - (9 - column) * (side + gap)
            shown = page[bottom - side : bottom, right - side : right, 0][2::4, 2::4]
            assert np.abs(shown - 255 * image[0]).max() <= 2, (row, column)


def test_a_gif_repeats_and_rests_on_its_last_page(tmp_path: Path) -> None:
    frames = recorded(tmp_path / "frames", list(range(0, 200, 20)))
    pages = figures.training_animation(frames)
    path = tmp_path / "new" / "animation.gif"
    figures.save_animation(pages, path)
    with Image.open(path) as gif:
        durations = []
        for i in range(gif.n_frames):  # type: ignore[attr-defined]
            gif.seek(i)
            durations.append(gif.info["duration"])
        assert gif.info["loop"] == 0
        assert gif.size == pages[0].size
    assert durations == [500] * 9 + [2000]
    before = path.read_bytes()
    with pytest.raises(ArgumentError, match="at least one page"):
        figures.save_animation([], path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_gif_keeps_colours_that_few_pixels_have(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    pixels[..., 2] //= 8  # all but blue
    pixels[:3, :3] = (60, 90, 255)
    pages = [Image.fromarray(pixels), Image.fromarray(pixels.transpose(1, 0, 2).copy())]
    figures.save_animation(pages, tmp_path / "colours.gif")
    with Image.open(tmp_path / "colours.gif") as gif:
        shown = np.asarray(gif.convert("RGB")).astype(int)
    assert np.abs(shown[:3, :3] - (60, 90, 255)).max() <= 24


# --- wrong input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: None, "holds no frames: train with --animate-every"),
        (lambda folder: (folder / "000000005.png").write_bytes(b"x"), "cannot be read as a frame"),
        (
            lambda folder: Image.new("L", (8, 8)).save(folder / "000000005.png"),
            r"of another model: a picture of 8 x 8 instead of 160 x 48",
        ),
    ],
)
def test_frames_that_are_not_there_or_damaged(
    damage: Callable[[Path], Any], message: str, tmp_path: Path
) -> None:
    damage(tmp_path)
    model = model_of(3, cont=2)
    with pytest.raises(DataError, match=message) as error:
        figures.read_frames(tmp_path, model.img_size, model.spec)
    assert str(tmp_path) in str(error.value)


def test_wrong_input_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="at least one frame"):
        figures.training_animation([])
    frames = recorded(tmp_path, [0])
    with pytest.raises(ArgumentError, match=r"at least 3, got shape \(2,\)"):
        figures.training_animation(frames, kl_cont=[1, 2])
    with pytest.raises(ArgumentError, match="max_units must be at least 1"):
        figures.training_animation(frames, max_units=0)
    with pytest.raises(ArgumentError, match="these have 2"):
        FrameRecorder(tmp_path, model_of(cont=1, size=(2, 16, 16)), 5)
    FrameRecorder(tmp_path, model_of(cont=1, size=(2, 16, 16)), None)  # records nothing
