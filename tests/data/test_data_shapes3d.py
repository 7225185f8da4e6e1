"""3D Shapes' file: its images unpacked once, its factors, and every way in which it can be bad."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from error_sentences import one_sentence_with
from PIL import Image
from solids import VALUES, noise, some_numbers, values_of, write_shapes3d

from fastjvae.data import DataSource, ImageData, cache, load
from fastjvae.data.datasets import shapes3d

pytest.importorskip("h5py", reason="needs the h5 extra")

COUNT = 30
NUMBERS = some_numbers(COUNT)
LABELS = values_of(NUMBERS)
PIXELS = noise(COUNT)
NCHW = PIXELS.transpose(0, 3, 1, 2)
# How the arrays may lie in the file; the first as h5py chunks an array of the official size.
LAYOUTS: dict[str, dict[str, Any]] = {
    "chunks across images": {"chunks": (20, 4, 4, 1), "compression": "gzip"},
    "chunks of an image": {"chunks": (1, 64, 64, 3), "compression": "gzip"},
    "one chunk": {"chunks": (30, 64, 64, 3), "shuffle": True, "compression": "gzip"},
    "in one piece": {},
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(shapes3d, "_CHUNK", 7)
    return tmp_path / "cache"


def write(path: Path, changes: dict[str, Any] | None = None, **options: Any) -> Path:
    """A file with the names, dtypes and order of the official one, and fewer images."""
    arrays = {"images": PIXELS, "labels": LABELS, **(changes or {})}
    images = {"images": arrays.pop("images")}
    write_shapes3d(path, images, **options)
    return write_shapes3d(path, arrays, mode="a")


def load_from(path: Path, **fields: Any) -> ImageData:
    return load(DataSource("shapes3d", root=str(path), **fields))


def factors_of(data: ImageData) -> torch.Tensor:
    assert data.factors is not None
    return data.factors


@pytest.mark.parametrize("options", LAYOUTS.values(), ids=LAYOUTS)
def test_images_and_factors(tmp_path: Path, options: dict[str, Any]) -> None:
    data = load_from(write(tmp_path / "3dshapes.h5", **options))
    assert (data.name, data.img_size) == ("shapes3d", (3, 64, 64))
    assert np.array_equal(data.images, NCHW)
    assert factors_of(data).tolist() == NUMBERS.tolist()
    expected = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
    assert data.factor_names == expected
    assert data.labels is not None
    assert data.labels.tolist() == NUMBERS[:, 4].tolist()
    assert data.label_names == ("cube", "cylinder", "sphere", "capsule")
    assert data.factor_values == tuple(tuple(known) for known in VALUES)


def test_images_are_unpacked_once_and_mapped(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "3dshapes.h5")
    first = load_from(path)
    monkeypatch.setattr(shapes3d, "_unpacked", lambda *_: pytest.fail("unpacked again"))
    whole = ("shape=0..3", "orientation=0..14")
    for data in (first, load_from(tmp_path), load_from(path, grid=whole)):
        assert data.mapped
        assert np.array_equal(data.images, NCHW)
        assert data.digest() == hashlib.sha256(NCHW.tobytes()).hexdigest()
    assert [file.suffix for file in folder.iterdir()] == [".npy"]


@pytest.mark.parametrize("options", LAYOUTS.values(), ids=LAYOUTS)
def test_a_part_of_the_grid(tmp_path: Path, options: dict[str, Any]) -> None:
    path = write(tmp_path / "d.h5", **options)
    data = load_from(path, grid=("shape=sphere,capsule", "floor_hue=5..9"))
    kept = (NUMBERS[:, 4] >= 2) & (NUMBERS[:, 0] >= 5)
    assert data.name == "shapes3d/shape=sphere,capsule,floor_hue=5..9"
    assert 1 < kept.sum() < COUNT
    assert np.array_equal(data.images, NCHW[kept])
    assert data.label_names == ("sphere", "capsule")
    assert data.labels is not None
    assert data.labels.tolist() == (NUMBERS[kept, 4] - 2).tolist()
    assert data.factor_values is not None
    for column, known, name in zip(
        factors_of(data).T.numpy(), data.factor_values, data.factor_names or (), strict=True
    ):
        place = (data.factor_names or ()).index(name)
        assert np.array(known)[column].tolist() == LABELS[kept, place].tolist()
        assert set(column) == set(range(len(known)))  # numbered within the part


def test_another_size_is_resized_as_pictures_are(tmp_path: Path) -> None:
    data = load_from(write(tmp_path / "d.h5"), image_size=(32, 32))
    for image, pixels in zip(data.images, PIXELS, strict=True):
        picture = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR)
        assert np.array_equal(image.permute(1, 2, 0), np.asarray(picture))


def test_images_are_never_in_memory_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = np.concatenate([PIXELS] * 10)
    arrays = {"images": many, "labels": values_of(some_numbers(len(many)))}
    path = write(tmp_path / "d.h5", arrays, chunks=(20, 4, 64, 3))
    monkeypatch.setattr(cache, "_HASHED_WHOLE", 0)  # small files are read whole for their key
    tracemalloc.start()
    data = load_from(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert data.mapped
    assert np.array_equal(data.images, np.concatenate([NCHW] * 10))
    assert peak < many.nbytes // 4


# What can be wrong.


def expect(path: Path, *parts: str, **fields: Any) -> None:
    with one_sentence_with(*parts):
        load_from(path, **fields)


def test_a_part_that_is_not_in_the_file(tmp_path: Path) -> None:
    few = {"images": PIXELS[:3], "labels": LABELS[[0, 0, 0]]}
    path = write(tmp_path / "d.h5", few)
    other = (NUMBERS[0, 4] + 1) % 4
    expect(path, f"d.h5 has no images of the part shape={other}", grid=(f"shape={other}",))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY", b"PK\x03\x04"])
def test_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.h5").write_bytes(content)
    expect(tmp_path / "d.h5", "d.h5 is no HDF5 file as 3dshapes.h5 is")


@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_truncated_file(tmp_path: Path, share: float) -> None:
    content = write(tmp_path / "d.h5").read_bytes()
    (tmp_path / "d.h5").write_bytes(content[: int(share * len(content))])
    expect(tmp_path / "d.h5", "d.h5 cannot be read as an HDF5 file: ", "truncated")


def test_damaged_images_leave_nothing_behind(tmp_path: Path, folder: Path) -> None:
    path = write(tmp_path / "d.h5", chunks=(1, 64, 64, 3), fletcher32=True)
    content = bytearray(path.read_bytes())
    content[content.index(PIXELS[-1].tobytes()) + 9] ^= 1
    path.write_bytes(content)
    expect(path, "d.h5 cannot be read as an HDF5 file: ")
    assert list(folder.iterdir()) == []


def test_an_array_that_announces_more_than_the_file_has(tmp_path: Path) -> None:
    import h5py

    path = write_shapes3d(tmp_path / "d.h5", {"labels": np.zeros((480_000, 6))})
    with h5py.File(path, "a") as file:  # no chunk of it is there
        file.create_dataset("images", (480_000, 64, 64, 3), np.uint8, chunks=True)
    expect(path, "d.h5", "its images announce 5,898,240,000 bytes in 0")


NOT_SHAPES = LABELS + np.array([0, 0, 0, 0, 0.5, 0])
MANY = np.concatenate([LABELS[:, :5], np.arange(COUNT)[:, None]], axis=1)


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"images": None}, ["arrays images and labels as 3dshapes.h5 does, got labels"]),
        ({"labels": None}, ["arrays images and labels", "got images"]),
        ({"images": {}}, ["images as uint8 of shape (N, 64, 64, 3), got object of shape []"]),
        ({"labels": {}}, ["labels as floats of shape (30, 6)", "got object of shape []"]),
        ({"images": PIXELS / 255}, ["got float64 of shape [30, 64, 64, 3]"]),
        ({"images": PIXELS[:, :32]}, ["got uint8 of shape [30, 32, 64, 3]"]),
        ({"images": NCHW}, ["got uint8 of shape [30, 3, 64, 64]"]),
        ({"images": PIXELS[:0], "labels": LABELS[:0]}, ["got uint8 of shape [0, 64, 64, 3]"]),
        ({"labels": LABELS[:-1]}, ["shape (30, 6) for its 30 images, got float64", "[29, 6]"]),
        ({"labels": LABELS[:, 1:]}, ["got float64 of shape [30, 5]"]),
        ({"labels": NUMBERS}, ["labels as floats", "got int64 of shape [30, 6]"]),
        ({"labels": LABELS * np.nan}, ["floor_hue with at most 10 values", "got 1 from nan"]),
        ({"labels": MANY}, ["orientation with at most 15 values", "got 30 from 0 to 29"]),
        ({"labels": NOT_SHAPES}, ["labels of shape that are 0 to 3, got 0.5, 1.5, 2.5, 3.5"]),
    ],
)
def test_wrong_contents(tmp_path: Path, changes: dict[str, Any], parts: list[str]) -> None:
    expect(write(tmp_path / "d.h5", changes), "d.h5 must hold", *parts)
