"""Picture files as they are found: formats, links, transparency, sizes, and damaged ones."""

from __future__ import annotations

import io
import os
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from error_sentences import one_sentence_with
from PIL import Image

from fastjvae.data import DataSource, ImageData, load, pictures
from fastjvae.errors import ArgumentError, DataError
from fastjvae.model import read_picture

RAMP = np.arange(0, 256, 16, dtype=np.uint8).reshape(4, 4)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def load_folder(folder: Path, **fields: Any) -> ImageData:
    return load(DataSource("images", root=str(folder), **fields))


def save(path: Path, value: int = 0, form: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 3), value).save(path, form)


# Formats.


@pytest.mark.parametrize(
    ("suffix", "form", "mode"),
    [
        (suffix, form, "1" if suffix == ".pbm" else "L")
        for form, suffixes in pictures.FORMATS.items()
        for suffix in suffixes
    ],
)
def test_every_suffix(folder: Path, suffix: str, form: str, mode: str) -> None:
    Image.new("L", (4, 3), 255).convert(mode).save(folder / f"a{suffix}", form)
    Image.new("L", (4, 3), 255).convert(mode).save(folder / f"b{suffix.upper()}", form)
    data = load_folder(folder)
    assert len(data) == 2
    assert data.images.min() == 255


def test_the_documentation_names_what_is_read() -> None:
    page = (Path(__file__).parents[2] / "docs/data.md").read_text()
    table = page[page.index("| format |") : page.index("The suffix chooses")]
    formats = dict(re.findall(r"^\| ([A-Z]+)[^|]* \| (`\..*) \|$", table, re.MULTILINE))
    assert {form: sorted(re.findall(r"`(.+?)`", names)) for form, names in formats.items()} == {
        form: sorted(suffixes) for form, suffixes in pictures.FORMATS.items()
    }
    assert all(f"`{suffix}`" in page for suffix in pictures.OTHER_SUFFIXES)
    assert f"{pictures.MAX_PIXELS:,} pixels" in page


def test_content_decides_on_the_format(folder: Path) -> None:
    save(folder / "a.png", 9, "BMP")
    assert load_folder(folder).images.unique().tolist() == [9]


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


def test_no_program_is_started_for_a_picture(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "cat.png"
    path.write_bytes(POSTSCRIPT)
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with one_sentence_with(str(path), "none of the formats BMP, GIF, JPEG, PNG"):
        load_folder(folder)
    with one_sentence_with(str(path), "none of the formats BMP, GIF, JPEG, PNG"):
        read_picture(path, (1, 8, 8))
    assert not (tmp_path / "started").exists()


def test_pictures_of_other_formats_are_named(folder: Path) -> None:
    save(folder / "a.png")
    (folder / "b.heic").write_bytes(b"")
    (folder / "c.HEIC").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"2 pictures of .*in are left out, such as b\.heic"):
        assert len(load_folder(folder)) == 1


# Links.


def test_linked_folders_are_followed(folder: Path, tmp_path: Path) -> None:
    save(folder / "a/0.png", 1)
    save(folder / "b/0.png", 2)
    save(tmp_path / "elsewhere/deep/1.png", 3)
    (folder / "a/more").symlink_to(tmp_path / "elsewhere")
    (folder / "c").symlink_to(tmp_path / "elsewhere/deep")
    data = load_folder(folder)
    assert data.images[:, 0, 0, 0].tolist() == [1, 3, 2, 3]
    assert data.labels is not None
    assert data.labels.tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize("to", [".", "..", "../.."])
def test_a_link_to_a_folder_around_it_is_no_endless_walk(folder: Path, to: str) -> None:
    save(folder / "a/0.png")
    save(folder / "b/0.png")
    (folder / "a/loop").symlink_to(folder / "a" / to)
    assert len(load_folder(folder)) == 2


def test_a_link_between_two_folders(folder: Path) -> None:
    save(folder / "a/0.png", 1)
    save(folder / "b/0.png", 2)
    (folder / "a/b").symlink_to(folder / "b")
    (folder / "b/a").symlink_to(folder / "a")
    assert load_folder(folder).images[:, 0, 0, 0].tolist() == [1, 2, 2, 1]


# Grey, and transparent pixels on white.


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("form", ["gif", "png"])
def test_a_palette_of_greys_is_grey(folder: Path, form: str, transparent: bool) -> None:
    picture = Image.fromarray(RAMP // 16)
    colours = np.repeat(RAMP.reshape(16, 1), 3, axis=1)
    options, expected = {}, RAMP.copy()
    if transparent:  # whatever its colour
        colours[9] = (0, 255, 0)
        options["transparency"], expected[RAMP == 9 * 16] = 9, 255
    picture.putpalette(colours.tobytes())
    picture.save(folder / f"a.{form}", **options)
    images = load_folder(folder).images
    assert images.shape[1] == 1
    assert np.array_equal(images[0, 0], expected)


def test_a_palette_with_a_colour_is_rgb(folder: Path) -> None:
    pixels = np.stack([RAMP, RAMP, RAMP], axis=-1)
    pixels[2, 2] = (0, 0, 1)
    Image.fromarray(pixels).quantize(32).save(folder / "a.png")
    assert load_folder(folder).img_size == (3, 4, 4)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(bits: int, colour: int, transparent: bytes, row: bytes, width: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, 1, bits, colour, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"tRNS", transparent), (b"IDAT", zlib.compress(b"\0" + row)))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in (*chunks, (b"IEND", b"")))


@pytest.mark.parametrize(
    ("content", "grey"),
    [
        (png(1, 0, b"\0\0", b"\x40", 4), [255, 255, 255, 255]),
        (png(1, 0, b"\0\1", b"\x40", 4), [0, 255, 0, 0]),
        (png(2, 0, b"\0\1", b"\x1b", 4), [0, 255, 170, 255]),
        (png(4, 0, b"\0\5", b"\x51", 2), [255, 17]),
        (png(8, 0, b"\0\5", b"\5\6", 2), [255, 6]),
        (png(16, 0, struct.pack(">H", 1234), struct.pack(">HH", 1234, 30000), 2), [255, 117]),
        (png(8, 2, b"\0\1\0\2\0\3", b"\1\2\3\7\7\7", 2), [255, 7]),
        (
            png(16, 2, struct.pack(">3H", 514, 1, 2), struct.pack(">6H", 514, 1, 2, *[770] * 3), 2),
            [255, 3],
        ),
    ],
    ids=["black", "white", "2 bits", "4 bits", "8 bits", "16 bits", "rgb", "rgb of 16 bits"],
)
def test_the_transparent_colour_of_a_png_lies_on_white(
    folder: Path, content: bytes, grey: list[int]
) -> None:
    (folder / "a.png").write_bytes(content)
    image = load_folder(folder).images[0]
    assert all(channel[0].tolist() == grey for channel in image)


# Sizes.


def test_a_picture_of_too_many_pixels_is_not_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(folder / "a.png", 3)
    save(folder / "b.png", 3)
    monkeypatch.setattr(pictures, "plain", lambda _: pytest.fail("decoded"))
    with one_sentence_with("a.png has 4 x 3 pixels, more than 11", "allow it by --max-pixels"):
        load_folder(folder, max_pixels=11)
    with one_sentence_with("a.png has 4 x 3 pixels, more than 11"):
        pictures.open_picture(folder / "a.png", "a.png", 11)


def test_more_pixels_than_pillow_allows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(folder / "a.png", 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    monkeypatch.setattr(pictures, "_LARGE", 2)
    assert load_folder(folder, max_pixels=12, image_size=(3, 3)).images.unique().tolist() == [3]
    assert Image.MAX_IMAGE_PIXELS == 2


# Damaged pictures.


@pytest.fixture
def damaged(folder: Path) -> Path:
    for number in range(8):
        save(folder / f"{number}.png", number)
    for number in (1, 2, 4, 5, 7):
        (folder / f"{number}.png").write_bytes(b"<html>")
    return folder


def test_several_damaged_pictures_are_named_at_once(
    damaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_BATCH", 2)
    named = [str(damaged / f"{number}.png") for number in (1, 2, 4)]
    with one_sentence_with("5 of 8 pictures cannot be read: ", *named, "--skip-damaged") as caught:
        load_folder(damaged)
    assert "5.png" not in str(caught.value)


def test_damaged_pictures_are_left_out_where_that_is_asked_for(damaged: Path) -> None:
    for _ in range(2):  # prepared, and from the cache
        with pytest.warns(UserWarning, match=r"5 of 8 pictures cannot be read: .*1\.png"):
            data = load_folder(damaged, skip_damaged=True)
        assert data.images[:, 0, 0, 0].tolist() == [0, 3, 6]


def test_labels_of_the_pictures_that_are_left(folder: Path) -> None:
    for name in ("a/0.png", "a/1.png", "b/0.png", "c/0.png"):
        save(folder / name)
    (folder / "a/0.png").write_bytes(b"")
    (folder / "b/0.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="2 of 4 pictures"):
        data = load_folder(folder, skip_damaged=True)
    assert data.labels is not None
    assert (data.labels.tolist(), data.label_names) == ([0, 1], ("a", "c"))


def test_nothing_is_left(folder: Path) -> None:
    (folder / "a.png").write_bytes(b"")
    with one_sentence_with("1 of 1 pictures cannot be read: "):
        load_folder(folder, skip_damaged=True)


def test_a_damaged_picture_of_another_size_is_damaged(folder: Path) -> None:
    file = io.BytesIO()
    Image.new("L", (9, 9)).save(file, "PNG")
    save(folder / "a.png")
    (folder / "b.png").write_bytes(file.getvalue()[:45])
    with pytest.warns(UserWarning, match="1 of 2"):
        assert len(load_folder(folder, skip_damaged=True)) == 1


@pytest.mark.parametrize("value", [0, -1, 2.5, None, True])
def test_max_pixels_is_a_number(value: Any) -> None:
    with pytest.raises(ArgumentError, match="max_pixels must be at least 1"):
        DataSource("images", root="x", max_pixels=value)


@pytest.mark.parametrize("fields", [{"skip_damaged": True}, {"max_pixels": 5}])
def test_flags_of_pictures_are_for_pictures(fields: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="applies to chairs, celeba, images and not to digits"):
        DataSource("digits", **fields)
    with pytest.raises(DataError):
        load(DataSource("chairs", root="none", **fields))
