"""``fastjvae figures FIGURE`` and ``fastjvae edit`` on a tiny run and on published models."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from figure_checks import model_of
from matplotlib.figure import Figure
from PIL import Image
from tiny_runs import fails, tiny_flags, write_arrays

from fastjvae import JointVAE, figures, load
from fastjvae.cli import main
from fastjvae.cli.command import ModelCommand
from fastjvae.cli.figures.azimuth import Azimuth
from fastjvae.cli.figures.grid import Grid
from fastjvae.cli.figures.samples import Samples
from fastjvae.cli.figures.traversals import Traversals
from fastjvae.data import ImageData
from fastjvae.errors import ArgumentError
from fastjvae.model import edit, read_picture
from fastjvae.model.latent_moves import encode_row

Command = TypeVar("Command", bound=ModelCommand)
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    data = write_arrays(folder)
    assert main([*tiny_flags(data, folder / "run", animate_every=6), "--no-figures"]) == 0
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path, capsys: Capture) -> Path:
    shutil.copytree(trained / "run", tmp_path / "run")
    capsys.readouterr()
    return tmp_path / "run"


@pytest.fixture
def picture(trained: Path, tmp_path: Path) -> Path:
    pixels = np.load(trained / "squares0.npz")["images"][0, 0]
    path = tmp_path / "corner.png"
    Image.fromarray(pixels).resize((48, 32)).convert("RGB").save(path)
    return path


def opened(command: Command, model: JointVAE, data: ImageData) -> Command:
    """A command about this model and these data instead of those of its path."""
    vars(command).update(model=model, data=data)
    return command


def is_picture(path: Path) -> bool:
    with Image.open(path) as picture:
        return min(picture.size) > 20


# --- figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("reconstructions --max-images 4", "reconstructions"),
        ("traversal --unit 1", "traversal-z1"),
        ("traversal --variable 0 --samples 3 --seed 1 --steps 4", "traversal-c0"),
        ("traversal --unit 0 --range -2.5 2.5 --base category:2 --dpi 300", "traversal-z0"),
        ("traversals", "traversals"),
        ("traversals --by-kl --range=-2,2 --base image:1 --max-units 1", "traversals"),
        ("ranked --range 2 -2 --base category:1", "ranked"),
        ("grid --rows z0 --columns z1 --steps 3", "grid-z0-z1"),
        ("samples --shares --names --samples 3", "samples-c0"),
        ("ranked --max-units 2", "ranked"),
        ("ranked --least --max-units 1", "ranked-least"),
        ("kl-growth", "kl-growth"),
    ],
)
def test_a_figure_of_a_run(words: str, name: str, run: Path, capsys: Capture) -> None:
    figure, *flags = words.split()
    assert main(["figures", figure, str(run), *flags]) == 0
    path = run / "figures" / f"{name}.png"
    assert capsys.readouterr().out == f"figure: {path}\n"
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    assert is_picture(path)


def test_out_is_a_file_or_a_folder(run: Path, tmp_path: Path, capsys: Capture) -> None:
    argv = ["figures", "traversal", str(run), "--unit", "0", "--out"]
    assert main([*argv, str(tmp_path / "new" / "one.png")]) == 0
    assert main([*argv, str(tmp_path / "folder")]) == 0
    assert is_picture(tmp_path / "new" / "one.png")
    assert is_picture(tmp_path / "folder" / "traversal-z0.png")


@pytest.mark.parametrize(("suffix", "begin"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_format_is_the_suffix_of_out(
    suffix: str, begin: bytes, run: Path, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / f"x.{suffix}"
    assert main(["figures", "ranked", str(run), "--out", str(path)]) == 0
    assert path.read_bytes().startswith(begin)
    assert capsys.readouterr().out == f"figure: {path}\n"


def test_out_with_another_ending_is_a_folder_if_it_is_there(
    run: Path, tmp_path: Path, picture: Path, capsys: Capture
) -> None:
    argv = ["figures", "traversal", str(run), "--unit", "0", "--out"]
    message = fails([*argv, str(tmp_path / "x.jpg")], 2, capsys)
    assert re.search(r"ends in \.png or \.pdf or \.svg, or a folder.*got .*x\.jpg", message)
    edited = ["edit", str(run), str(picture), "--unit", "0", "--plain", "--out", "x.pdf"]
    assert "ends in .png, or a folder" in fails(edited, 2, capsys)
    animated = ["figures", "animation", str(run), "--out", "x.png"]
    assert "ends in .gif, or a folder" in fails(animated, 2, capsys)
    every = ["figures", str(run), "--out", "x.svg"]
    assert "as in: fastjvae figures ranked" in fails(every, 2, capsys)
    (tmp_path / "v1.2").mkdir()
    for folder in (tmp_path / "v1.2", f"{tmp_path / 'v1.3'}/"):
        assert main([*argv, str(folder)]) == 0
        assert is_picture(Path(folder) / "traversal-z0.png")


def pages_of(path: Path) -> int:
    return len(re.findall(rb"/Type /Page\b", path.read_bytes()))


def test_several_figures_are_the_pages_of_a_pdf_or_files_of_a_folder(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "all.pdf"
    assert main(["figures", "traversal", str(run), "--steps", "2", "--out", str(out)]) == 0
    names = "traversal-z0, traversal-z1, traversal-c0"
    assert capsys.readouterr().out == f"figures: {names} in {out}\n"
    assert pages_of(out) == 3
    folder = tmp_path / "folder"
    assert main(["figures", "traversal", str(run), "--steps", "2", "--out", str(folder)]) == 0
    assert sorted(path.stem for path in folder.iterdir()) == sorted(names.split(", "))
    capsys.readouterr()
    assert main(["figures", str(run), "--out", str(out)]) == 0
    drawn = "overview, reconstructions, traversals, categories-c0, kl-growth"
    assert capsys.readouterr().out == f"figures: {drawn} in {out}\n"
    assert pages_of(out) == 5


def test_one_figure_is_that_of_all_figures(run: Path) -> None:
    """Which draws it last decides nothing: units are in one order."""
    picture = run / "figures" / "traversals.png"
    assert main(["figures", str(run)]) == 0
    of_all = picture.read_bytes()
    assert main(["figures", "traversals", str(run)]) == 0
    assert picture.read_bytes() == of_all


def test_samples_are_of_every_variable(tmp_path: Path, capsys: Capture) -> None:
    data = ImageData("none", torch.zeros(3, 1, 16, 16, dtype=torch.uint8))
    command = opened(Samples("run", out=str(tmp_path)), model_of(3, 2), data)
    assert command.run() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["samples-c0.png", "samples-c1.png"]


def test_a_traversal_starts_from_a_picture_an_image_or_a_category(
    run: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: dict[str, Any] = {}

    def noted(_: JointVAE, *__: Any, base: torch.Tensor, title: str, **___: Any) -> Figure:
        started.update(base=base, title=title)
        return figures.kl_growth([{"step": 1, "kl_cont": [1.0]}])

    monkeypatch.setattr("fastjvae.cli.figures.traversals.traversals", noted)
    model = load(run)
    images = Traversals(str(run)).data.images
    for base, expected, title in (
        (str(picture), encode_row(model, read_picture(picture, model.img_size))[0], "corner.png"),
        ("image:2", encode_row(model, images[2:3])[0], "image 2"),
        ("category:1", torch.tensor([0.0, 0, 0, 1, 0, 0]), "c0 = 1"),
    ):
        assert main(["figures", "traversals", str(run), "--base", base]) == 0
        torch.testing.assert_close(started["base"], expected)
        assert started["title"] == f"from {title}"


def test_models_side_by_side_start_from_the_same_picture(
    run: Path, picture: Path, tmp_path: Path, capsys: Capture
) -> None:
    shutil.copytree(run, tmp_path / "other")
    argv = ["figures", "side-by-side", str(run), str(tmp_path / "other"), "--range", "-2", "2"]
    for base in (str(picture), "image:0", "category:3"):
        out = tmp_path / "two.svg"
        assert main([*argv, "--base", base, "--steps", "2", "--out", str(out)]) == 0
    capsys.readouterr()
    assert "got image:999" in fails([*argv, "--base", "image:999"], 2, capsys)


def test_a_picture_alone_has_no_dpi(run: Path, picture: Path, capsys: Capture) -> None:
    argv = ["edit", str(run), str(picture), "--unit", "0", "--plain", "--dpi", "300"]
    assert "which have no --dpi" in fails(argv, 2, capsys)


def test_a_file_of_a_run_names_the_run(run: Path, capsys: Capture) -> None:
    assert main(["evaluate", str(run)]) == 0
    expected = capsys.readouterr().out
    for name in ("model.safetensors", "config.json", "checkpoint.pt"):
        assert main(["evaluate", str(run / name)]) == 0
        assert capsys.readouterr().out == expected
    assert main(["figures", "ranked", str(run / "model.safetensors")]) == 0
    assert is_picture(run / "figures" / "ranked.png")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("tarversal RUN", "no figure and no run folder 'tarversal' (did you mean traversal?)"),
        ("ranke", "did you mean ranked?"),
        ("picture RUN", "no run folder 'picture'; figures are overview, reconstructions, traver"),
    ],
)
def test_a_figure_that_is_none(words: str, message: str, run: Path, capsys: Capture) -> None:
    argv = ["figures", *(str(run) if word == "RUN" else word for word in words.split())]
    assert message in fails(argv, 2, capsys)


def test_names_that_are_not_utf8(run: Path, tmp_path: Path, capsys: Capture) -> None:
    odd = os.fsdecode(bytes(tmp_path) + b"/caf\xe9")
    shutil.copytree(run, odd)
    out = tmp_path / "two.svg"
    assert main(["figures", "side-by-side", str(run), odd, "--out", str(out)]) == 0
    assert main(["figures", "ranked", odd]) == 0
    assert capsys.readouterr().out.endswith("caf\\udce9/figures/ranked.png\n")
    assert "caf\\udce9" in fails(["evaluate", f"{odd}-nothing"], 1, capsys)


def test_the_animation_of_a_run(run: Path, capsys: Capture) -> None:
    assert main(["figures", "animation", str(run)]) == 0
    with Image.open(run / "figures" / "animation.gif") as gif:
        assert gif.n_frames == 4  # type: ignore[attr-defined]  # steps 0, 6, 12, 13
    (run / "figures" / "animation.gif").unlink()
    capsys.readouterr()
    assert main(["figures", str(run)]) == 0
    assert "kl-growth.png, animation.gif in" in capsys.readouterr().out
    assert (run / "figures" / "animation.gif").is_file()
    shutil.rmtree(run / "frames")
    assert "--animate-every" in fails(["figures", "animation", str(run)], 1, capsys)


def test_training_ends_with_the_animation(trained: Path, tmp_path: Path, capsys: Capture) -> None:
    argv = tiny_flags(trained / "squares0.npz", tmp_path / "run", animate_every=6)
    assert main(argv) == 0
    assert (tmp_path / "run" / "figures" / "animation.gif").is_file()
    capsys.readouterr()
    assert "--animate-every must be at least 1" in fails(
        tiny_flags(trained / "squares0.npz", tmp_path / "other", animate_every=0), 2, capsys
    )


def test_a_grid_is_of_the_categories_and_the_most_informative_unit(
    run: Path, capsys: Capture
) -> None:
    assert main(["evaluate", str(run), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["ranked_units"]
    for flags, name in (
        ([], f"grid-c0-z{first}"),
        (["--rows", f"z{first}"], f"grid-z{first}-z{second}"),
        (["--columns", "c0"], f"grid-z{first}-c0"),
    ):
        assert main(["figures", "grid", str(run), *flags]) == 0
        assert capsys.readouterr().out.endswith(f"{name}.png\n")


def test_a_grid_of_a_model_with_one_latent_variable(run: Path) -> None:
    data = ImageData("none", torch.zeros(3, 1, 16, 16, dtype=torch.uint8))
    grid = opened(Grid("run"), model_of(3), data)
    with pytest.raises(ArgumentError, match="two latent variables, and the model has only one"):
        grid.draw()


def test_categories_are_named_after_the_label_most_of_their_images_have(tmp_path: Path) -> None:
    model = model_of(3)
    images = torch.randint(0, 256, (60, 1, 16, 16), dtype=torch.uint8)
    with torch.no_grad():
        categories = model.encode(images)["disc"][0].argmax(dim=1)
    labels = torch.where(categories == categories[0], 1, 0)
    labels[categories.argsort()[0]] = 1 - labels[categories.argsort()[0]]  # not of the majority
    data = ImageData("some", images, labels, label_names=("cat", "dog"))
    names = opened(Samples("run"), model, data).category_names()
    used = categories.unique().tolist()
    for k in range(3):
        expected = "dog" if k == int(categories[0]) else "cat"
        assert names[k] == (expected if k in used else "no image")


# --- several models -------------------------------------------------------------------------------


def test_models_side_by_side(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    shutil.copytree(run, tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    assert main(["figures", "side-by-side", "run", "other"]) == 0
    assert is_picture(tmp_path / "side-by-side.png")
    argv = ["figures", "side-by-side", "run", "other", "--by-kl", "--out", "ranked.png"]
    assert main(argv) == 0
    assert is_picture(tmp_path / "ranked.png")
    capsys.readouterr()
    (tmp_path / "beta").mkdir()
    (tmp_path / "other").rename(tmp_path / "beta" / "run")
    drawn: list[list[str]] = []
    side_by_side = figures.side_by_side

    def noted(models: dict[str, JointVAE], **given: Any) -> Figure:
        drawn.append([*models])
        return side_by_side(models, **given)

    monkeypatch.setattr("fastjvae.cli.figures.side_by_side.side_by_side", noted)
    for runs in (["run"], ["run", "beta/run"]):
        assert main(["figures", "side-by-side", *runs]) == 0
    assert drawn == [["run"], ["run", "beta/run"]]
    capsys.readouterr()
    assert "given twice" in fails(["figures", "side-by-side", "run", "run"], 2, capsys)
    assert "at least one model" in fails(["figures", "side-by-side"], 2, capsys)


def test_a_metric_of_several_methods(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    data = trained / "squares0.npz"
    seeds = tiny_flags(data, tmp_path / "joint-seeds", seeds="0..1")
    assert main([*seeds, "--no-figures"]) == 0
    assert main(["evaluate", str(trained / "run"), "--json"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "own.json").write_text(text[text.index("\n{") :])
    monkeypatch.chdir(tmp_path)
    argv = ["figures", "metrics", "joint-seeds", f"other={trained / 'run'}", "other=own.json"]
    assert main([*argv, "--metric", "accuracy_majority"]) == 0
    assert is_picture(tmp_path / "accuracy_majority.png")
    capsys.readouterr()
    assert "has no number named nonsense" in fails([*argv, "--metric", "nonsense"], 1, capsys)
    empty = tmp_path / "empty"
    empty.mkdir()
    message = fails(["figures", "metrics", str(empty), "--metric", "x"], 1, capsys)
    assert "holds no evaluation.json" in message
    assert "at least one method" in fails(["figures", "metrics", "--metric", "x"], 2, capsys)


# --- what is missing ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("traversal RUN --unit 0 --variable 0", 2, "got unit 0 and variable 0"),
        (
            "traversal RUN --out x.svg",
            2,
            "3 figures are the pages of a .pdf, and x.svg holds one: ",
        ),
        (
            "traversal RUN --samples 2 --base image:0",
            2,
            "--samples 2, or from --base image:0: pass",
        ),
        ("traversal RUN --range 1 1", 2, "two different numbers, .* got 1 and 1"),
        ("traversal RUN --range 1", 2, "--range takes two values in standard deviations"),
        ("traversals RUN --base category:4", 2, "0 to 3, got 4"),
        ("traversals RUN --base category:0,1", 2, "2 categories, and the model has 1 discrete"),
        ("traversals RUN --base category:", 2, "or category:K such as category:2, got category:"),
        ("traversals RUN --base image:-1", 2, "image:N such as image:3, .* got image:-1"),
        ("traversals RUN --base image:1000", 2, "counts the images of .* got image:1000"),
        ("traversals RUN --base absent.png", 2, "a picture file that is there, .* got absent.png"),
        ("traversals RUN --dpi 5", 2, "dpi must be from 10 to 2400, got 5"),
        ("traversal RUN --unit 2", 2, "2 continuous units, got 2"),
        ("grid RUN --rows c7 --columns z0", 2, "1 discrete variables, got 7"),
        ("samples RUN --variable 3", 2, "1 discrete variables, got 3"),
        ("azimuth RUN", 2, "needs the factor 'azimuth' .* it has no named factors"),
        ("traversal", 2, "see fastjvae figures traversal --help"),
        ("traversal RUN --unit one", 2, "see fastjvae figures traversal --help"),
    ],
)
def test_what_a_figure_cannot_show(
    words: str, code: int, message: str, run: Path, capsys: Capture
) -> None:
    argv = ["figures", *(str(run) if word == "RUN" else word for word in words.split())]
    assert re.search(message, fails(argv, code, capsys))


def test_a_model_without_a_run_needs_data_for_some_figures_only(
    run: Path, tmp_path: Path, capsys: Capture
) -> None:
    published = tmp_path / "published"
    assert main(["export", str(run), "--to", "published", "--out", str(published)]) == 0
    for figure in (["traversal", "--unit", "0"], ["grid", "--rows", "c0", "--columns", "z0"]):
        assert main(["figures", figure[0], str(published), *figure[1:]]) == 0
    assert main(["figures", "samples", str(published)]) == 0
    assert main(["figures", "side-by-side", str(published), "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    for figure in ("grid", "ranked", "reconstructions", "azimuth"):
        assert "name a data set" in fails(["figures", figure, str(published)], 2, capsys)
    assert "metrics" in fails(["figures", "kl-growth", str(published)], 2, capsys)
    data = str(run.parent / "squares.npz")
    np.savez(data, images=np.zeros((3, 16, 16), np.uint8))
    argv = ["figures", "samples", str(published), "arrays", "--data-root", data, "--names"]
    assert "--names needs labels" in fails(argv, 2, capsys)
    assert main(["figures", "ranked", str(published), "arrays", "--data-root", data]) == 0


def test_an_angle_among_the_factors(trained: Path, tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "angles.npz"
    images = 255 - np.load(trained / "squares0.npz")["images"]  # none that the run has held out
    factors = np.stack([np.arange(40), 9 * np.arange(40)], axis=1)
    np.savez(data, images=images, factors=factors, factor_names=["number", "azimuth"])
    argv = ["figures", "azimuth", str(trained / "run"), "arrays", "--data-root", str(data)]
    assert main([*argv, "--out", str(tmp_path), "--unit", "0"]) == 0
    assert is_picture(tmp_path / "azimuth.png")
    capsys.readouterr()
    assert main([*argv, "--factor", "elevation"]) == 2
    whole, message = capsys.readouterr().err.splitlines()
    assert whole.endswith("which held some of its own out: all of them are taken")
    assert "its factors are number, azimuth" in message


@pytest.mark.parametrize("radians", [False, True])
def test_an_angle_is_what_the_numbers_of_its_factor_stand_for(
    radians: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    turn = 2 * np.pi if radians else 360
    data = ImageData(
        "sides",
        torch.zeros(4, 1, 16, 16, dtype=torch.uint8),
        factors=torch.tensor([[0, 2], [1, 0], [0, 3], [0, 1]]),
        factor_names=("chair", "side"),
        factor_values=((0.0, 1.0), tuple(turn * k / 4 for k in range(4))),
    )
    given: list[Any] = []

    def inferred_angles(_: JointVAE, images: torch.Tensor, angles: Any, **options: Any) -> Figure:
        given.extend([images, angles, options])
        return figures.kl_growth([{"step": 1, "kl_cont": [1.0]}])

    monkeypatch.setattr("fastjvae.cli.figures.azimuth.inferred_angles", inferred_angles)
    command = Azimuth("run", factor="side", radians=radians, out=str(tmp_path))
    assert opened(command, model_of(cont=1), data).run() == 0
    assert capsys.readouterr().out == f"figure: {tmp_path / 'side.png'}\n"
    assert given[0] is data.images
    assert given[1].tolist() == pytest.approx([180, 0, 270, 90])
    assert given[2] == {"unit": None, "name": "side"}


def test_help_explains(capsys: Capture) -> None:
    for argv, words in (
        (["figures", "--help"], ["figures FIGURE --help", "side-by-side", "azimuth"]),
        (["figures", "traversal", "--help"], ["--unit", "--samples", "RUN"]),
        (["figures", "metrics", "--help"], ["METHOD=PATH", "--metric"]),
        (["edit", "--help"], ["PICTURE", "--to", "--category", "standard deviations"]),
    ):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert not stop.value.code
        out = capsys.readouterr().out
        assert all(word in out for word in words)


# --- edit -----------------------------------------------------------------------------------------


def test_edit_writes_the_figure_or_the_picture_alone(
    run: Path, picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(run.parent)
    argv = ["edit", "run", "corner.png"]
    assert main([*argv, "--unit", "1", "--to", "1.5"]) == 0
    assert capsys.readouterr().out == "figure: corner-edited.png\n"
    assert is_picture(run.parent / "corner-edited.png")
    many = ["--unit", "0", "--to", "-2", "0", "1.5", "--variable", "0", "--category", "2", "1"]
    assert main([*argv, *many, "--plain", "--out", "plain.png"]) == 0
    model = load(run)
    change: dict[str, Any] = {"units": {0: 1.5}, "categories": {0: 1}}
    image = edit(model, read_picture(picture, model.img_size), **change)[0, 0]
    with Image.open("plain.png") as plain:
        pixels = np.asarray(plain)
    assert pixels.shape == (32, 48)
    np.testing.assert_allclose(pixels[16:, 32:], 255 * image.numpy(), atol=0.51)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("PICTURE", 2, "got neither"),
        ("PICTURE --unit 2 --to 1", 2, "2 continuous units, got 2"),
        ("PICTURE --variable 0 --category 4", 2, "0 to 3, got 4"),
        ("PICTURE --to 1", 2, "no unit"),
        ("PICTURE --unit 0 --to much", 2, "see fastjvae edit --help"),
        ("absent.png --unit 0", 1, "absent.png cannot be read as a picture"),
        ("config.json --unit 0", 1, "config.json cannot be read as a picture"),
    ],
)
def test_what_cannot_be_edited(
    words: str,
    code: int,
    message: str,
    run: Path,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.chdir(run)
    argv = [str(picture) if word == "PICTURE" else word for word in words.split()]
    assert message in fails(["edit", str(run), *argv], code, capsys)


# --- published models -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mnist", "chairs", "celeba"])
def test_every_figure_of_a_published_model(
    name: str, published_folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = published_folder / name
    data = ["arrays", "--data-root", str(folder / "expected.npz")]
    out = ["--out", str(tmp_path)]
    for words in (
        ["reconstructions", *data],
        ["traversal", "--unit", "3"],
        ["traversal", "--variable", "0", "--samples", "2"],
        ["grid", *data],
        ["samples", "--shares", *data],
        ["ranked", *data],
    ):
        assert main(["figures", words[0], str(folder), *words[1:], *out]) == 0
    model = load(folder)
    pixels = np.load(folder / "expected.npz")["x"][0]
    plain = pixels[0] if model.img_size[0] == 1 else pixels.transpose(1, 2, 0)
    Image.fromarray(plain).save(tmp_path / "one.png")
    argv = ["edit", str(folder), str(tmp_path / "one.png"), "--unit", "0", "--variable", "0"]
    assert main([*argv, *out]) == 0
    more = len(model.spec.disc) - 1  # figures of samples, one for each variable
    assert len(list(tmp_path.glob("*.png"))) == 8 + more
