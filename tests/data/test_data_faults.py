"""Every kind of bad data gives one DataError: one sentence with the file and the reason."""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from error_sentences import one_sentence_with
from PIL import Image

from fastjvae.data import DataSource, load
from fastjvae.data.datasets import mnist as mnist_module

PIXELS = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FASTJVAE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(mnist_module, "_DEBIAN_FOLDER", tmp_path / "debian")


def expect(source: DataSource, *parts: str) -> None:
    with one_sentence_with(*parts):
        load(source)


# MNIST: what stands in the images' and in the labels' file.

HEADER = bytes((0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 3))
GOOD_IMAGES = HEADER + bytes(18)
GOOD_LABELS = bytes((0, 0, 8, 1, 0, 0, 0, 2, 5, 9))


@pytest.mark.parametrize(
    ("images", "labels", "parts"),
    [
        (b"", GOOD_LABELS, ["images-idx3", "got an empty file"]),
        (b"<html>", GOOD_LABELS, ["images-idx3", "must begin with the bytes 00 00 08 03, got 3c"]),
        (GOOD_LABELS, GOOD_IMAGES, ["images-idx3", "rank 3", "got 00 00 08 01"]),
        (HEADER[:9], GOOD_LABELS, ["images-idx3", "is truncated"]),
        (GOOD_IMAGES[:-1], GOOD_LABELS, ["images-idx3", "truncated", "18 values, got 17"]),
        (GOOD_IMAGES + b"xx", GOOD_LABELS, ["images-idx3", "more bytes after its 18 values"]),
        (HEADER[:4] + bytes(12), GOOD_LABELS, ["images-idx3", "is empty"]),
        (GOOD_IMAGES, GOOD_LABELS[:-1] + b"\n", ["labels-idx1", "from 0 to 9, got 10"]),
        (
            GOOD_IMAGES,
            bytes((0, 0, 8, 1, 0, 0, 0, 1, 5)),
            ["images-idx3", "2 images but", "labels-idx1", "1 labels"],
        ),
    ],
)
def test_bad_idx(tmp_path: Path, images: bytes, labels: bytes, parts: list[str]) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(images)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(labels)
    expect(DataSource("mnist", root=str(tmp_path)), str(tmp_path), *parts)


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-9],
        lambda packed: packed[:36] + b"\xff\xff\xff" + packed[39:],
        lambda packed: packed[:-8] + bytes(8),
        lambda packed: b"not gzip at all",
    ],
    ids=["truncated", "damaged", "checksum", "no gzip"],
)
def test_damaged_gzip(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    noise = np.random.default_rng(0).bytes(18)
    packed = damage(gzip.compress(HEADER + noise, mtime=0))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(packed)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(GOOD_LABELS))
    expect(DataSource("mnist", root=str(tmp_path)), "images-idx3-ubyte.gz cannot be read: ")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_missing_idx(tmp_path: Path, name: str) -> None:
    folder = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}[name]
    wanted = ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", "--download", "--data-root"]
    default = DataSource(name, split="test")  # type: ignore[arg-type]
    expect(default, *wanted, str(tmp_path / "data" / folder / "raw"))
    given = DataSource(name, root=str(tmp_path / "no"), split="test")  # type: ignore[arg-type]
    expect(given, *wanted, str(tmp_path / "no" / folder / "raw"), f"or {tmp_path / 'no'}:")


# Folders of pictures.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(PIXELS[0]).save(folder / name)
    return folder


def expect_of_folder(folder: Path, *parts: str) -> None:
    expect(DataSource("images", root=str(folder)), *parts)


def test_missing_folder(tmp_path: Path) -> None:
    expect_of_folder(tmp_path / "no", str(tmp_path / "no"), "does not exist")


def test_file_in_place_of_a_folder(folder: Path) -> None:
    expect_of_folder(folder / "a.png", "a.png is a file", "must be a folder of pictures")


def test_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    expect_of_folder(tmp_path, f"{tmp_path} holds no pictures", ".png")


def test_loose_pictures_beside_classes(folder: Path) -> None:
    (folder / "class").mkdir()
    Image.fromarray(PIXELS[0]).save(folder / "class/c.png")
    expect_of_folder(folder, f"{folder} mixes", "a.png", "class/c.png")


def test_two_sizes(folder: Path) -> None:
    Image.new("L", (9, 3)).save(folder / "b.png")
    expect_of_folder(folder, "a.png has 5 x 6", "b.png 3 x 9", "--image-size")


@pytest.mark.parametrize(
    "content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n\0\0"], ids=["empty", "foreign", "header"]
)
def test_unreadable_picture(folder: Path, content: bytes) -> None:
    (folder / "b.png").write_bytes(content)
    expect_of_folder(folder, "b.png cannot be read as a picture: ")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "webp", "tif"])
def test_truncated_picture(folder: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    path = folder / f"b.{suffix}"
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    expect_of_folder(folder, f"b.{suffix} cannot be read as a picture: ")


def test_link_to_nothing(folder: Path) -> None:
    (folder / "c.png").symlink_to(folder / "gone.png")
    expect_of_folder(folder, "c.png cannot be read: No such file or directory")


@pytest.mark.parametrize("mode", ["F", "I"])
def test_modes_without_a_known_white(folder: Path, mode: str) -> None:
    Image.new(mode, (6, 5), 70_000).save(folder / "b.tif")
    expect_of_folder(folder, "b.tif cannot be read as a picture: ")


# Numpy files.


def expect_of_array(path: Path, array: np.ndarray, *parts: str) -> None:
    np.save(path / "a.npy", array, allow_pickle=True)
    expect(DataSource("arrays", root=str(path / "a.npy")), "a.npy", *parts)


@pytest.mark.parametrize(
    ("array", "parts"),
    [
        (PIXELS[0], ["rank 3", "got the shape [5, 6]"]),
        (PIXELS[None, None], ["got the shape [1, 1, 4, 5, 6]"]),
        (PIXELS[:0], ["at least one", "[0, 5, 6]"]),
        (np.zeros((2, 3, 5, 3), np.uint8), ["both", "reorder", "[2, 3, 5, 3]"]),
        (np.zeros((2, 4, 5, 4), np.uint8), ["both", "reorder", "[2, 4, 5, 4]"]),
        (np.zeros((2, 5, 5, 6), np.uint8), ["neither", "reorder", "[2, 5, 5, 6]"]),
        (PIXELS / 100, ["float64", "from 0 to 1, got 0.0 to 1.19"]),
        (PIXELS.astype(np.float32), ["float32", "from 0 to 1, got 0.0 to 119.0"]),
        (PIXELS / 119 - 0.5, ["got -0.5 to 0.5"]),
        (np.where(PIXELS == 7, np.nan, 0), ["NaN or infinite"]),
        (np.where(PIXELS == 7, -np.inf, 0), ["NaN or infinite"]),
        (PIXELS.astype(np.int32) - 1, ["int32", "from 0 to 255, got -1 to 118"]),
        (PIXELS.astype(np.int16) + 200, ["from 0 to 255, got 200 to 319"]),
        (PIXELS.astype(np.complex64), ["got complex64"]),
        (PIXELS.astype("U3"), ["got <U3"]),
        (PIXELS.astype(object), ["cannot be read as a numpy file", "Object arrays"]),
    ],
)
def test_bad_images_array(tmp_path: Path, array: np.ndarray, parts: list[str]) -> None:
    expect_of_array(tmp_path, array, *parts)


def test_missing_file(tmp_path: Path) -> None:
    expect(DataSource("arrays", root=str(tmp_path / "no.npz")), "no.npz does not exist")
    expect(DataSource("arrays", root=str(tmp_path)), f"{tmp_path} is a folder", ".npy or .npz")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04N."])
def test_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    source = DataSource("arrays", root=str(tmp_path / "a.npy"))
    expect(source, "a.npy is neither a .npy nor a .npz file")


@pytest.mark.parametrize("keep", [8, 40, 130, -1])
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_truncated_file(tmp_path: Path, name: str, keep: int) -> None:
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, PIXELS)
    else:
        np.savez_compressed(path, images=PIXELS)
    path.write_bytes(path.read_bytes()[:keep])
    expect(DataSource("arrays", root=str(path)), f"{name} cannot be read as a numpy file: ")


@pytest.mark.parametrize(
    ("descr", "shape", "fault"),
    [
        ("'|u1'", "(4, 5, 6", "its header is damaged"),
        ("','", "(4, 5, 6)", "its header is damaged"),
        ("'|u1'", "(99999999999999999999, 5, 6)", "announces the shape [99999999999999999999, 5"),
        ("'|u1'", "(-1, 5, 6)", "announces the shape [-1, 5, 6]"),
        ("'|u1'", "(True, 5, 6)", "announces the shape [True, 5, 6]"),
        ("'|u1'", "(2000000, 5, 6)", "its header announces 60,000,000 bytes of values, got 120"),
        ("'<f8'", "(4, 5, 6)", "its header announces 960 bytes of values, got 120"),
        ("'|u1'", "(" * 200 + ")" * 200, "its header is damaged"),
        ("'|O'", "(4, 5, 6)", "Object arrays are not read"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_headers_of_npy(tmp_path: Path, descr: str, shape: str, fault: str, packed: bool) -> None:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    path = tmp_path / ("a.npz" if packed else "a.npy")
    if packed:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("images.npy", header + bytes(120))
    else:
        path.write_bytes(header + bytes(120))
    fault = fault.replace("arrays are", "arrays such as images are") if packed else fault
    expect(DataSource("arrays", root=str(path)), f"{path} cannot be read as a numpy file: ", fault)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_sizes_that_a_zip_lies_about(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", method) as archive, archive.open("images.npy", "w") as member:
        np.lib.format.write_array_header_1_0(
            member, {"descr": "|u1", "fortran_order": False, "shape": (2**28, 5, 3)}
        )
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (2**32 - 16).to_bytes(4, "little")  # its unpacked size
    path.write_bytes(content)
    expect(DataSource("arrays", root=str(path)), f"{path} cannot be read as a numpy file: ")


def test_damaged_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=PIXELS)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(PIXELS.tobytes()) + 9] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    expect(DataSource("arrays", root=str(tmp_path / "a.npz")), "a.npz cannot be read", "CRC")


@pytest.mark.parametrize(
    ("named", "parts"),
    [
        ({}, ["images, imgs, x, arr_0", "of no array"]),
        ({"left": PIXELS, "right": PIXELS}, ["only array", "left, right"]),
        ({"labels": np.arange(4)}, ["only array", "labels"]),
        ({"x": PIXELS, "y": np.arange(3)}, ["labels of shape (4,)", "4 images, got [3]"]),
        ({"x": PIXELS, "y": np.ones((4, 2), int)}, ["labels of shape (4,)", "got [4, 2]"]),
        ({"x": PIXELS, "y": np.full(4, 2**63, np.uint64)}, ["labels below 2^63, got 9223372036"]),
        ({"x": PIXELS, "y": np.arange(4.0)}, ["labels as integers, got float64"]),
        ({"x": PIXELS, "y": np.array(list("abcd"), object)}, ["cannot be read", "Object arrays"]),
        ({"x": PIXELS, "factors": np.arange(4)}, ["factors of shape (4, factors)", "got [4]"]),
        ({"x": PIXELS, "factors": np.zeros((4, 2))}, ["factors as integers, got float64"]),
        ({"x": PIXELS, "y": np.arange(4), "label_names": np.arange(4)}, ["label_names as strings"]),
        ({"x": PIXELS, "y": np.arange(4), "label_names": ["a"]}, ["1 label names", "from 0 to 3"]),
        ({"x": PIXELS, "factor_names": ["a"]}, ["1 factor names but 0 factors"]),
    ],
)
def test_bad_npz(tmp_path: Path, named: dict[str, object], parts: list[str]) -> None:
    np.savez(tmp_path / "a.npz", **named)  # type: ignore[arg-type]
    expect(DataSource("arrays", root=str(tmp_path / "a.npz")), "a.npz", *parts)


def test_bad_labels_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS)
    np.save(tmp_path / "l.npy", np.arange(3))
    np.savez(tmp_path / "l.npz", first=np.arange(4))
    for labels, parts in (
        ("no.npy", ["no.npy does not exist"]),
        ("l.npy", ["l.npy", "labels of shape (4,)", "got [3]"]),
        ("l.npz", ["l.npz has no array named labels or y", "first"]),
        ("l.npz:second", ["l.npz has no array named second", "first"]),
    ):
        root, other = str(tmp_path / "a.npy"), str(tmp_path / labels)
        expect(DataSource("arrays", root=root, labels=other), *parts)
