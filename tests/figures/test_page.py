"""Pages of figures and their files: nothing leaves the page, and images are exact."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from figure_checks import (
    assert_texts_apart,
    growth,
    model_of,
    record,
)
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from fastjvae import JointVAE, figures
from fastjvae.errors import ArgumentError, RunError
from fastjvae.figures.image_grid import mosaic

PAGES: dict[str, Callable[[], Figure]] = {
    "reconstructions": lambda: figures.reconstructions(
        model_of(cont=1), torch.zeros(3, 1, 16, 16), title="A title wider than three small images"
    ),
    "traversals": lambda: figures.traversals(
        model_of(2, 30, cont=120), range(120), kl_disc=[0.6, 3.0], title="Traversals"
    ),
    "wide": lambda: figures.traversals(model_of(300, cont=2, size=(3, 16, 48)), [1, 2], steps=15),
    "samples": lambda: figures.samples_by_category(
        model_of(12), shares=[1 / 12] * 12, names=["a long name of a class"] * 12
    ),
    "growth": lambda: figures.kl_growth(growth(10, 1, information=True), title="Growth"),
    "growth of many": lambda: figures.kl_growth(growth(128, 12, information=True), max_units=40),
    "one record": lambda: figures.kl_growth(growth(4, 2, n=1)),
    "all zero": lambda: figures.kl_growth([record(0, [0.0] * 9, [0.0])]),
}

MORE_PAGES: dict[str, Callable[[], Figure]] = {
    "traversal": lambda: figures.traversal(model_of(3, cont=1), unit=0, title="A long title" * 5),
    "grid": lambda: figures.traversal_grid(model_of(12, cont=100), "c0", "z99"),
    "side by side": lambda: figures.side_by_side(
        {"a rather long name of a model": model_of(3, cont=2), "b": model_of(cont=2)},
        kl={"a rather long name of a model": [10.0, 2, 3], "b": [100.0, 2]},
        steps=2,
        title="Models",
    ),
    "ranked": lambda: figures.ranked_units(model_of(3, cont=12), [5.0] * 12, [0.0], title="Run"),
    "ranked with effects": lambda: figures.ranked_units(
        model_of(3, cont=12), [55.0] * 12, [0.0], effects=[1.0] * 13
    ),
    "ranked without information": lambda: figures.ranked_units(model_of(3), [], [0.0]),
}


@pytest.mark.parametrize("name", [*PAGES, *MORE_PAGES])
def test_texts_lie_on_the_page_and_apart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_texts_apart({**PAGES, **MORE_PAGES}[name](), monkeypatch)


@pytest.mark.parametrize("name", PAGES)
def test_saved_pages_have_a_white_border(name: str, tmp_path: Path) -> None:
    figures.save(PAGES[name](), tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as png:
        pixels = np.asarray(png.convert("L"))
        assert png.info["dpi"] == pytest.approx((150, 150), abs=0.1)
    for edge in (pixels[:6], pixels[-6:], pixels[:, :6], pixels[:, -6:]):
        assert (edge == 255).all()
    inner = pixels[6:-6, 6:-6]
    assert all((edge < 255).any() for edge in (inner[:6], inner[-6:], inner[:, :6], inner[:, -6:]))


@pytest.mark.parametrize("size", [(1, 16, 16), (3, 16, 24), (1, 64, 64), (1, 48, 96)])
def test_saved_images_are_exact(size: tuple[int, int, int], tmp_path: Path) -> None:
    model = model_of(cont=1, size=size)
    images = torch.randint(0, 256, (5, *size), dtype=torch.uint8)
    figure = figures.reconstructions(model, images)
    figures.save(figure, tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as png:
        pixels = np.asarray(png.convert("RGB"), dtype=np.int64)
    picture = np.asarray(figure.axes[0].images[0].get_array())
    picture = np.broadcast_to(picture.reshape(*picture.shape[:2], -1), (*picture.shape[:2], 3))
    scale = max(math.ceil(42 / size[1]), math.ceil(54 / size[2]))
    height, width = scale * picture.shape[0], scale * picture.shape[1]
    # The picture is the lowest and rightmost thing on the page. Versions of matplotlib differ by a
    # pixel in its margin and at the edges of its squares, so their centres are compared.
    shown = [
        pixels[-height - below : -below, -width - right : -right]
        for below in (7, 8, 9)
        for right in (7, 8, 9)
    ]
    centres = [crop[scale // 2 :: scale, scale // 2 :: scale] for crop in shown]
    apart = min(np.abs(centre - 255 * picture).max() for centre in centres)
    assert apart <= 2  # of 255: the colour map has 256 greys


def test_saving_replaces_the_file_or_leaves_it(tmp_path: Path) -> None:
    figure = figures.kl_growth(growth(2, 0))
    path = tmp_path / "new folder" / "growth.png"
    figures.save(figure, path)
    before = path.read_bytes()
    assert before.startswith(b"\x89PNG")
    figure.axes[0].set_title("$\\notacommand$")
    with pytest.raises(ValueError, match="notacommand"):
        figures.save(figure, path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(RunError, match="cannot write"):
        figures.save(figures.kl_growth(growth(2, 0)), path / "below a file.png")


BEGINNINGS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.mark.parametrize("suffix", ["png", "PNG", "pdf", "svg"])
def test_the_format_is_the_suffix(suffix: str, tmp_path: Path) -> None:
    figures.save(figures.kl_growth(growth(2, 0)), tmp_path / f"a.{suffix}")
    content = (tmp_path / f"a.{suffix}").read_bytes()
    assert content.startswith(BEGINNINGS[suffix.lower()])


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.png.bak"])
def test_another_suffix_is_one_sentence(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=rf"ends in \.png, \.pdf or \.svg, got .*{name}"):
        figures.save(figures.kl_growth(growth(2, 0)), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_notebook_shows_a_figure_as_it_is_saved(tmp_path: Path) -> None:
    figure: Any = figures.kl_growth(growth(2, 0))
    figures.save(figure, tmp_path / "a.png")
    assert figure._repr_png_() == (tmp_path / "a.png").read_bytes()


def test_a_dollar_begins_no_formula(tmp_path: Path) -> None:
    odd = r"a$\frac$"
    model = JointVAE((1, 16, 16), {"cont": 1, "disc": [2]})
    pages = [
        figures.side_by_side({odd: model, "b": model}, title=odd),
        figures.samples_by_category(model, names=[odd, "b"], title=odd),
        figures.metric_comparison({odd: [1.0, 2.0], "b": [1.0]}, metric=odd, title=odd),
        figures.kl_growth(growth(2, 0), title=odd),
        figures.traversals(model, [1.0], title=odd),
    ]
    for number, page in enumerate(pages):
        figures.save(page, tmp_path / f"{number}.png")
        texts = [text.get_text() for text in page.findobj(Text)]  # type: ignore[attr-defined]
        assert any(odd in text for text in texts)


def test_mosaic_has_white_gaps() -> None:
    image = np.zeros((1, 2, 3), dtype=np.float32)
    picture = mosaic([image[None].repeat(2, axis=0), image[None]], gap=1)
    assert picture.tolist() == [
        [0, 0, 0, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0, 0],
        [1, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 1, 1, 1, 1],
        [0, 0, 0, 1, 1, 1, 1],
    ]
