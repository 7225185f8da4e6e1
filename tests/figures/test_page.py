"""Pages of figures and their files: nothing leaves the page, and images are exact."""

import base64
import io
import math
import re
import struct
import zlib
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
from versions import installed

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


# --- for papers ---------------------------------------------------------------------------------


exactly = pytest.mark.skipif(
    installed("matplotlib") < (3, 11),
    reason="matplotlib 3.10 makes the pictures inside a pixel larger",
)


def checkerboard() -> tuple[Figure, np.ndarray]:
    """A figure of one image (1, 16, 24) of black and white pixels, and the image."""
    model = model_of(cont=1, size=(1, 16, 24))
    image = torch.from_numpy(np.indices((16, 24)).sum(axis=0) % 2).float()
    figure = figures.reconstructions(model, image[None, None])
    return figure, image.numpy()


def assert_squares(pixels: np.ndarray, image: np.ndarray, side: int) -> None:
    """The picture begins with the image's pixels as squares of one colour."""
    block = np.ones((side, side))
    expected = np.kron(255 * image, block)
    np.testing.assert_array_equal(pixels[: len(expected), : expected.shape[1]], expected)


@exactly
def test_images_in_an_svg_are_squares(tmp_path: Path) -> None:
    figure, image = checkerboard()
    for dpi, side in ((None, 12), (300, 6)):  # 3 pixels of the page for each of the image
        figures.save(figure, tmp_path / "a.svg", dpi=dpi)
        (content,) = re.findall(
            r'<image [^>]*xlink:href="data:image/png;base64,\s*([^"]+)"',
            (tmp_path / "a.svg").read_text(),
        )
        with Image.open(io.BytesIO(base64.b64decode(content))) as png:
            upright = np.asarray(png.convert("L"))[::-1]  # the file turns it
            assert_squares(upright, image, side)


@exactly
def test_images_in_a_pdf_are_squares_and_fonts_are_inside(tmp_path: Path) -> None:
    figure, _ = checkerboard()
    figures.save(figure, tmp_path / "a.pdf")
    content = (tmp_path / "a.pdf").read_bytes()
    assert b"/FontFile2" in content  # TrueType, embedded
    assert b"/Type3" not in content
    assert b"/Interpolate true" not in content
    image = content[content.index(b"/Subtype /Image") :]
    size = re.match(rb"/Subtype /Image /Width (\d+) /Height (\d+)", image)
    assert size is not None
    width, height = map(int, size.groups())
    assert (width, height) == (24 * 12, (2 * 16 + 1) * 12)  # the image, a gap, its reconstruction
    # The stream holds the pixels as a PNG does, here places in a palette: read them as greys.
    data = zlib.decompressobj().decompress(image[image.index(b"stream\n") + 7 :])
    pixels = Image.frombytes("L", (width, height), plain_rows(data, width))
    squares = np.asarray(pixels).reshape(height // 12, 12, 24, 12)
    assert (squares == squares[:, :1, :, :1]).all()
    assert len(np.unique(squares)) > 10


def plain_rows(data: bytes, width: int) -> bytes:
    """The rows of a PNG of a byte a pixel without its filters, which Pillow undoes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, len(data) // (width + 1), 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b"")]
    with Image.open(io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(parts))) as png:
        return png.tobytes()


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_a_figure_is_the_same_file_at_any_time(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(3, cont=2)
    contents = []
    for number, epoch in enumerate(["1000000000", "1500000000"]):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)  # what matplotlib takes for the time
        path = tmp_path / f"{number}.{suffix}"
        figures.save(figures.traversals(model, [1.0, 2.0]), path)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_several_figures_are_the_pages_of_a_pdf(tmp_path: Path) -> None:
    pages = [figures.kl_growth(growth(2, 0)), figures.kl_growth(growth(0, 1))]
    figures.save(pages, tmp_path / "a.pdf")
    content = (tmp_path / "a.pdf").read_bytes()
    assert len(re.findall(rb"/Type /Page\b", content)) == 2
    assert re.search(rb"/Count 2\b", content)
    for name in ("a.png", "a.svg"):
        with pytest.raises(
            ArgumentError, match=rf"2 figures are the pages of a \.pdf, and .*{name}"
        ):
            figures.save(pages, tmp_path / name)
    with pytest.raises(ArgumentError, match=r"at least one figure to write to .*a\.pdf, got none"):
        figures.save([], tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").read_bytes() == content


def test_dpi_makes_a_picture_larger_and_keeps_its_layout(tmp_path: Path) -> None:
    figure, _ = checkerboard()
    sizes = []
    for dpi in (None, 150, 300):
        figures.save(figure, tmp_path / "a.png", dpi=dpi)
        with Image.open(tmp_path / "a.png") as png:
            sizes.append(png.size)
            assert png.info["dpi"] == pytest.approx((dpi or 150,) * 2, abs=0.1)
    assert sizes[0] == sizes[1]
    assert sizes[2] == tuple(2 * side for side in sizes[0])


@pytest.mark.parametrize("dpi", [0, -1, 9, 2401, math.nan, math.inf])
def test_a_dpi_that_is_none_is_one_sentence(dpi: float, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=rf"dpi must be from 10 to 2400, got {dpi}"):
        figures.save(figures.kl_growth(growth(2, 0)), tmp_path / "a.png", dpi=dpi)


def test_a_page_that_is_too_large_for_a_png(tmp_path: Path) -> None:
    figure = figures.kl_growth(growth(2, 0))
    figure.set_size_inches(500, 1)
    with pytest.raises(ArgumentError, match=r"takes at most \d+ dpi, got 150"):
        figures.save(figure, tmp_path / "a.png", dpi=150)
    assert not list(tmp_path.iterdir())
    figures.save(figure, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as png:
        assert 60_000 < png.width < 2**16


def test_saving_leaves_the_settings_of_matplotlib(tmp_path: Path) -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figures.save(figures.kl_growth(growth(2, 0)), tmp_path / "a.pdf")
    assert dict(mpl.rcParams) == before


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
