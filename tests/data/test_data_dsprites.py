"""dSprites' file: its images unpacked once, its factors, and every way in which it can be bad."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from error_sentences import one_sentence_with
from PIL import Image

from fastjvae.data import DataSource, ImageData, load
from fastjvae.data.datasets import dsprites

OFFICIAL = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
COUNT = 30
NUMBERS = (1, 3, 6, 40, 32, 32)  # classes of colour, shape, scale, orientation, x and y
CLASSES = np.random.default_rng(0).integers(0, NUMBERS, (COUNT, 6))
BITS = np.random.default_rng(1).integers(0, 2, (COUNT, 64, 64), dtype=np.uint8)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(dsprites, "_CHUNK", 7)
    return tmp_path / "cache"


@pytest.fixture
def mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dsprites, "MOST_UNPACKED_ANEW", 0)


def write(path: Path, save: Callable[..., None] = np.savez_compressed, **changes: Any) -> Path:
    """A file with the names, dtypes and order of the official one."""
    arrays = {
        # The official file describes itself in a pickled dictionary, which is not to be looked at.
        "metadata": np.array({"title": "dSprites dataset"}, dtype=object),
        "imgs": BITS,
        "latents_values": CLASSES.astype(np.float64),
        "latents_classes": CLASSES,
        **changes,
    }
    save(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def load_from(path: Path, **fields: Any) -> ImageData:
    return load(DataSource("dsprites", root=str(path), **fields))


@pytest.mark.parametrize("save", [np.savez_compressed, np.savez])
def test_images_and_factors(tmp_path: Path, folder: Path, save: Callable[..., None]) -> None:
    data = load_from(write(tmp_path / "d.npz", save))
    assert (data.name, data.img_size, data.mapped) == ("dsprites", (1, 64, 64), False)
    assert np.array_equal(data.images[:, 0], BITS * 255)
    assert data.factors is not None
    assert data.factors.tolist() == CLASSES[:, 1:].tolist()
    assert data.factor_names == ("shape", "scale", "orientation", "x", "y")
    assert data.labels is not None
    assert data.labels.tolist() == CLASSES[:, 1].tolist()
    assert data.label_names == ("square", "ellipse", "heart")
    assert not folder.exists()  # few images are unpacked anew


def test_what_the_factors_stand_for(tmp_path: Path) -> None:
    """The official latents_values: scales 0.5 to 1, angles 0 to 2 pi with both, places 0 to 1."""
    values = load_from(write(tmp_path / "d.npz")).factor_values
    assert values is not None
    shape, scale, orientation, x, y = values
    assert shape == (0.0, 1.0, 2.0)
    assert scale == pytest.approx(np.linspace(0.5, 1, 6))
    assert orientation == pytest.approx(np.linspace(0, 2 * np.pi, 40))
    assert x == y == pytest.approx(np.linspace(0, 1, 32))


@pytest.mark.usefixtures("mapped")
@pytest.mark.parametrize("save", [np.savez_compressed, np.savez])
def test_images_are_unpacked_once_and_mapped(
    tmp_path: Path, folder: Path, save: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "d.npz", save)
    first = load_from(path)
    monkeypatch.setattr(dsprites, "_unpacked", lambda *_: pytest.fail("unpacked again"))
    for data in (first, load_from(path), load_from(path, image_size=(64, 64))):
        assert data.mapped
        assert np.array_equal(data.images[:, 0], BITS * 255)
        assert data.digest() == hashlib.sha256((BITS * 255).tobytes()).hexdigest()
    assert [file.suffix for file in folder.iterdir()] == [".npy"]


def test_the_digest_of_mapped_images_needs_no_further_reading(
    tmp_path: Path, mapped: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_from(write(tmp_path / "d.npz"))
    data = load_from(tmp_path / "d.npz")
    monkeypatch.setattr(torch.Tensor, "numpy", lambda _: pytest.fail("read again"))
    assert len(data.digest()) == 64


def test_the_folder_of_the_official_file(tmp_path: Path) -> None:
    write(tmp_path / OFFICIAL)
    assert len(load_from(tmp_path)) == COUNT


@pytest.mark.usefixtures("mapped")
def test_another_size_is_resized_as_pictures_are(tmp_path: Path) -> None:
    data = load_from(write(tmp_path / "d.npz"), image_size=(32, 32))
    for image, bits in zip(data.images, BITS, strict=True):
        picture = Image.fromarray(bits * 255).resize((32, 32), Image.Resampling.BILINEAR)
        assert np.array_equal(image[0].numpy(), np.asarray(picture))


# What can be wrong.


def expect(path: Path, *parts: str) -> None:
    with one_sentence_with(*parts):
        load_from(path)


def test_missing_file(tmp_path: Path) -> None:
    expect(tmp_path / "no.npz", "no.npz does not exist", f"the file {OFFICIAL}")
    expect(tmp_path, str(tmp_path / OFFICIAL), "does not exist")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY", b"PK\x03\x04"])
def test_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.npz").write_bytes(content)
    expect(tmp_path / "d.npz", "d.npz is no .npz file, or a truncated one")


def test_truncated_file(tmp_path: Path) -> None:
    content = write(tmp_path / "d.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(content[: len(content) // 2])
    expect(tmp_path / "d.npz", "or a truncated one")


@pytest.mark.usefixtures("mapped")
def test_damaged_images_leave_nothing_behind(tmp_path: Path, folder: Path) -> None:
    path = write(tmp_path / "d.npz", np.savez)
    content = bytearray(path.read_bytes())
    content[content.index(BITS[-1].tobytes()) + 9] ^= 1  # still 0 or 1
    path.write_bytes(content)
    expect(path, "d.npz cannot be read as a numpy file: ", "CRC")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda member: member[:-100], "d.npz cannot be read as a numpy file: "),
        (lambda member: member + b"x", "holds more in imgs than the 30 images of its header"),
    ],
)
def test_member_of_another_length_than_its_header_says(
    tmp_path: Path, change: Callable[[bytes], bytes], message: str
) -> None:
    path = write(tmp_path / "d.npz", np.savez, imgs=None)
    np.save(tmp_path / "imgs.npy", BITS)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("imgs.npy", change((tmp_path / "imgs.npy").read_bytes()))
    expect(path, message)


FLOATS = BITS.astype(np.float32)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"imgs": None}, ["arrays imgs and latents_classes", "got metadata, latents_values"]),
        ({"latents_classes": None}, ["arrays imgs and latents_classes", "got metadata, imgs"]),
        ({"imgs": BITS * 255}, ["imgs of values 0 and 1, got 255", "images 0 to 6"]),
        ({"imgs": BITS + (np.arange(COUNT) == 29)[:, None, None]}, ["got 2", "images 28 to 29"]),
        ({"imgs": FLOATS}, ["uint8 of shape (N, 64, 64), got float32 of shape [30, 64, 64]"]),
        ({"imgs": BITS[:, :32]}, ["got uint8 of shape [30, 32, 64]"]),
        ({"imgs": BITS[:, None]}, ["got uint8 of shape [30, 1, 64, 64]"]),
        ({"imgs": np.asfortranarray(BITS)}, ["[30, 64, 64] in Fortran order"]),
        ({"imgs": BITS[:0], "latents_classes": CLASSES[:0]}, ["got uint8 of shape [0, 64, 64]"]),
        ({"imgs": BITS.astype(object)}, ["got object of shape"]),
        ({"latents_classes": CLASSES[:-1]}, ["shape (30, 6) for its 30 images", "[29, 6]"]),
        ({"latents_classes": CLASSES[:, 1:]}, ["shape (30, 6)", "got int64 of shape [30, 5]"]),
        ({"latents_classes": CLASSES / 2}, ["as integers", "got float64"]),
        ({"latents_classes": CLASSES + 1}, ["classes of colour from 0 to 0, got 1 to 1"]),
        ({"latents_classes": CLASSES * [0, 2, 1, 1, 1, 1]}, ["shape from 0 to 2, got 0 to 4"]),
        ({"latents_classes": -CLASSES}, ["classes of shape from 0 to 2, got -2 to 0"]),
        ({"latents_classes": CLASSES.astype(object)}, ["cannot be read as a numpy file", "Object"]),
    ],
)
def test_wrong_contents(tmp_path: Path, changes: dict[str, Any], parts: list[str]) -> None:
    expect(write(tmp_path / "d.npz", **changes), "d.npz", *parts)
