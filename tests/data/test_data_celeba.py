"""CelebA: the three forms that it comes in, its splits, and every way in which it can be bad."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from error_sentences import one_sentence_with
from PIL import Image

from fastjvae.data import (
    DataSource,
    ImageData,
    load,
    memory,
)
from fastjvae.data.datasets import celeba

# Most of what is tested needs no official list.
pytestmark = pytest.mark.filterwarnings("ignore:no list_eval_partition.txt is beside")

COUNT = 30
NAMES = [f"{number:06}.jpg" for number in range(1, COUNT + 1)]
PARTS = [0] * 20 + [1] * 4 + [2] * 6


def picture(number: int) -> Image.Image:
    """A smooth picture of CelebA's aligned size, another one for each number."""
    generator = np.random.default_rng(number)
    small = generator.integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((178, 218), Image.Resampling.BICUBIC)


def encoded(number: int) -> bytes:
    file = io.BytesIO()
    picture(number).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of the pictures alone."""
    folder = tmp_path / "faces"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        (folder / name).write_bytes(encoded(number))
    return folder


@pytest.fixture
def torchvision_root(tmp_path: Path, pictures: Path) -> Path:
    """What torchvision.datasets.CelebA(root) reads."""
    root = tmp_path / "root"
    (root / "celeba").mkdir(parents=True)
    pictures.rename(root / "celeba/img_align_celeba")
    write_list(root / "celeba/list_eval_partition.txt")
    return root


def write_list(path: Path, separator: str = " ", header: str = "") -> None:
    lines = [f"{name}{separator}{part}\n" for name, part in zip(NAMES, PARTS, strict=True)]
    path.write_text(header + "".join(lines))


def zipped(pictures: Path, path: Path, inside: str = "img_align_celeba/") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        if inside:
            archive.writestr(inside, b"")  # an entry for the folder itself
        for file in sorted(pictures.iterdir(), reverse=True):
            archive.write(file, f"{inside}{file.name}")
    return path


def load_from(root: Path, **fields: Any) -> ImageData:
    return load(DataSource("celeba", root=str(root), **fields))


@pytest.fixture
def expected() -> torch.Tensor:
    return torch.from_numpy(np.stack([as_prepared(number) for number in range(COUNT)]))


def as_prepared(number: int) -> np.ndarray:
    """The middle square, resized: (3, 64, 64)."""
    with Image.open(io.BytesIO(encoded(number))) as opened:
        square = opened.crop((0, 20, 178, 198)).resize((64, 64), Image.Resampling.BILINEAR)
    return np.asarray(square).transpose(2, 0, 1)


def test_official_splits_of_torchvisions_layout(
    torchvision_root: Path, expected: torch.Tensor
) -> None:
    train, test = load_from(torchvision_root), load_from(torchvision_root, split="test")
    assert (train.name, test.name) == ("celeba/train", "celeba/test")
    assert train.img_size == (3, 64, 64)
    assert torch.equal(train.images, expected[:20])
    assert torch.equal(test.images, expected[24:])
    assert (train.labels, train.factors) == (None, None)


@pytest.mark.parametrize("below", ["", "celeba", "celeba/img_align_celeba"])
def test_every_folder_of_the_layout_may_be_named(torchvision_root: Path, below: str) -> None:
    assert len(load_from(torchvision_root / below)) == 20
    assert len(load_from(torchvision_root / below, split="test")) == 6


def test_kaggles_layout(torchvision_root: Path, expected: torch.Tensor) -> None:
    root = torchvision_root / "celeba"
    (root / "list_eval_partition.txt").unlink()
    write_list(root / "list_eval_partition.csv", ",", "image_id,partition\n")
    (root / "img_align_celeba").rename(root / "inner")
    (root / "img_align_celeba").mkdir()
    (root / "inner").rename(root / "img_align_celeba/img_align_celeba")
    assert torch.equal(load_from(root, split="test").images, expected[24:])


def test_torchvisions_zip_that_is_not_unpacked(
    torchvision_root: Path, expected: torch.Tensor
) -> None:
    root = torchvision_root / "celeba"
    (root / "img_align_celeba").rename(root / "moved")
    zipped(root / "moved", root / "img_align_celeba.zip")
    for given in (torchvision_root, root, root / "img_align_celeba.zip"):
        assert torch.equal(load_from(given).images, expected[:20])


@pytest.mark.parametrize("form", ["folder", "zip", "zip without a folder"])
def test_without_the_official_list_the_last_tenth_is_held_out(
    pictures: Path, tmp_path: Path, expected: torch.Tensor, form: str
) -> None:
    root = pictures
    if form != "folder":
        root = zipped(pictures, tmp_path / "faces.ZIP", "" if "without" in form else "a/b/")
    assert torch.equal(load_from(root).images, expected[:27])
    assert torch.equal(load_from(root, split="test").images, expected[27:])


def test_few_pictures_hold_out_one(pictures: Path, expected: torch.Tensor) -> None:
    for name in NAMES[2:]:
        (pictures / name).unlink()
    assert torch.equal(load_from(pictures).images, expected[:1])
    assert torch.equal(load_from(pictures, split="test").images, expected[1:2])


def test_other_files_in_a_zip_are_left_out(pictures: Path, tmp_path: Path) -> None:
    path = zipped(pictures, tmp_path / "faces.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README.txt", "none")
        archive.writestr("__MACOSX/img_align_celeba/._000001.jpg", b"resource fork")
        archive.writestr(".thumbnails/000001.jpg", b"none")
    assert len(load_from(path)) == 27


def test_another_size_and_grey_pictures(pictures: Path) -> None:
    picture(0).convert("L").save(pictures / NAMES[0])
    data = load_from(pictures, image_size=(48, 40))
    assert data.img_size == (3, 48, 40)
    assert torch.equal(data.images[0, 0], data.images[0, 1])
    with Image.open(pictures / NAMES[1]) as opened:
        fitted = opened.crop((0, 2, 178, 216)).resize((40, 48), Image.Resampling.BILINEAR)
    assert np.array_equal(data.images[1], np.asarray(fitted).transpose(2, 0, 1))


def test_second_load_reads_the_cache(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_from(pictures)
    monkeypatch.setattr(celeba, "decode_stacked", lambda *_: pytest.fail("decoded again"))
    for data in (load_from(pictures), load_from(pictures, image_size=(64, 64))):
        assert torch.equal(data.images, first.images)


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_more_than_memory_is_mapped(
    pictures: Path,
    tmp_path: Path,
    folder: Path,
    expected: torch.Tensor,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    root = pictures if form == "folder" else zipped(pictures, tmp_path / "faces.zip")
    monkeypatch.setattr(memory, "available", lambda: 0)
    first = load_from(root)
    monkeypatch.setattr(celeba, "decode_stacked", lambda *_: pytest.fail("decoded again"))
    for data in (first, load_from(root)):
        assert data.mapped
        assert torch.equal(data.images, expected[:27])
    assert [path.suffix for path in folder.iterdir()] == [".npy"]


# What can be wrong.


def expect(root: Path, *parts: str, **fields: Any) -> None:
    with one_sentence_with(*parts):
        load_from(root, **fields)


def test_missing_data(tmp_path: Path) -> None:
    wanted = ["--data-root must be", "celeba/img_align_celeba", ".zip file"]
    expect(tmp_path / "no", f"{tmp_path / 'no'} does not exist", *wanted)
    expect(tmp_path, f"{tmp_path} holds no pictures", *wanted)
    (tmp_path / "img_align_celeba").mkdir()
    expect(tmp_path, f"{tmp_path / 'img_align_celeba'} holds no pictures", *wanted)
    (tmp_path / "faces.tar").write_bytes(b"")
    expect(tmp_path / "faces.tar", "faces.tar is neither a folder nor a .zip file", *wanted)


@pytest.mark.parametrize("content", [b"", b"<html>", b"PK\x03\x04"])
def test_zip_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "faces.zip").write_bytes(content)
    expect(tmp_path / "faces.zip", "faces.zip cannot be read as a zip file: ")


def test_zip_without_pictures(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        archive.writestr("README.txt", "none")
    expect(tmp_path / "faces.zip", "faces.zip holds no pictures", "--data-root")


def test_damaged_zip(pictures: Path, tmp_path: Path) -> None:
    path = zipped(pictures, tmp_path / "faces.zip")
    content = bytearray(path.read_bytes())
    content[content.index(encoded(3)) + 300] ^= 1
    path.write_bytes(content)
    expect(path, "000004.jpg in ", "faces.zip cannot be read as a picture: ", "CRC")


def test_damaged_picture(pictures: Path, tmp_path: Path) -> None:
    damaged = pictures / NAMES[4]
    damaged.write_bytes(damaged.read_bytes()[:100])
    expect(pictures, f"{damaged} cannot be read as a picture: ")
    path = zipped(pictures, tmp_path / "faces.zip")
    expect(path, f"img_align_celeba/{NAMES[4]} in {path} cannot be read as a picture: ")


def test_a_single_picture(pictures: Path) -> None:
    for name in NAMES[1:]:
        (pictures / name).unlink()
    expect(pictures, f"{pictures} must hold at least 2 pictures", NAMES[0])


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("000001.jpg 0\n", ["does not say which part", "000002.jpg belongs to"]),
        ("", ["does not say which part", "000001.jpg belongs to"]),
        ("000001.jpg 0\n000002.jpg 3\n", ["such as 000001.jpg 0, got '000002.jpg 3' in line 2"]),
        ("image_id,partition\n", ["got 'image_id,partition' in line 1"]),
        ("".join(f"{name} 1\n" for name in NAMES), ["puts none of the 30 pictures", "part 0, the"]),
    ],
)
def test_wrong_list(torchvision_root: Path, content: str, parts: list[str]) -> None:
    path = torchvision_root / "celeba/list_eval_partition.txt"
    path.write_text(content)
    expect(torchvision_root, str(path), *parts)


def test_unreadable_list(torchvision_root: Path) -> None:
    path = torchvision_root / "celeba/list_eval_partition.txt"
    path.write_bytes(b"\xff\xfe\x00")
    expect(torchvision_root, f"{path} cannot be read: ")
