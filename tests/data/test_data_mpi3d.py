"""MPI3D's files: images unpacked once, their factors, and every way in which they can be bad."""

import dataclasses
import hashlib
import itertools
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from error_sentences import one_sentence_with
from PIL import Image
from solids import SMALL_MPI3D, noise, write_mpi3d

from fastjvae.data import DataSource, ImageData, cache, load
from fastjvae.data.datasets import mpi3d
from fastjvae.data.factors import MPI3D, MPI3D_COMPLEX
from fastjvae.data.npy import open_archive
from fastjvae.errors import ArgumentError

COUNT = len(SMALL_MPI3D)
PIXELS = noise(COUNT)
NCHW = PIXELS.transpose(0, 3, 1, 2)
FACTORS = [*itertools.product(*map(range, SMALL_MPI3D.sizes.values()))]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mpi3d, "_CHUNK", 7)
    monkeypatch.setattr(mpi3d, "_GRIDS", (SMALL_MPI3D, MPI3D_COMPLEX))
    return tmp_path / "cache"


def load_from(path: Path, **fields: Any) -> ImageData:
    return load(DataSource("mpi3d", root=str(path), **fields))


def factors_of(data: ImageData) -> torch.Tensor:
    assert data.factors is not None
    return data.factors


@pytest.mark.parametrize("save", [np.savez_compressed, np.savez])
def test_images_and_factors(tmp_path: Path, save: Callable[..., None]) -> None:
    data = load_from(write_mpi3d(tmp_path / "mpi3d_toy.npz", PIXELS, save))
    assert (data.name, data.img_size, data.notices) == ("mpi3d", (3, 64, 64), ())
    assert np.array_equal(data.images, NCHW)
    assert factors_of(data).tolist() == [[*numbers] for numbers in FACTORS]
    assert data.factor_names == tuple(MPI3D.sizes)
    assert data.labels is not None
    assert data.labels.tolist() == [shape for _, shape, *_ in FACTORS]
    assert data.label_names == ("cone", "cube", "cylinder")
    sizes = SMALL_MPI3D.sizes.values()
    assert data.factor_values == tuple(tuple(map(float, range(size))) for size in sizes)


def test_images_are_unpacked_once_and_mapped(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_mpi3d(tmp_path / "mpi3d_real.npz", PIXELS)
    first = load_from(path)
    monkeypatch.setattr(mpi3d, "_unpacked", lambda *_: pytest.fail("unpacked again"))
    for data in (first, load_from(tmp_path), load_from(path, grid=("object_shape=0..2",))):
        assert data.mapped
        assert np.array_equal(data.images, NCHW)
        assert data.digest() == hashlib.sha256(NCHW.tobytes()).hexdigest()
    assert [file.suffix for file in folder.iterdir()] == [".npy"]


def test_a_part_of_the_grid(tmp_path: Path) -> None:
    path = write_mpi3d(tmp_path / "mpi3d_toy.npz", PIXELS)
    data = load_from(path, grid=("object_shape=cylinder,cone", "vertical_axis=1"))
    kept = [shape != 1 and last == 1 for _, shape, *_, last in FACTORS]
    assert np.array_equal(data.images, NCHW[kept])
    assert data.label_names == ("cone", "cylinder")
    assert data.labels is not None
    shapes = [shape // 2 for (_, shape, *_), keep in zip(FACTORS, kept, strict=True) if keep]
    assert data.labels.tolist() == shapes
    assert factors_of(data)[:, 1].tolist() == shapes
    assert factors_of(data)[:, -1].tolist() == [0] * len(shapes)
    assert data.factor_values is not None
    assert data.factor_values[1] == (0.0, 2.0)
    assert data.factor_values[-1] == (1.0,)


def test_another_size_is_resized_as_pictures_are(tmp_path: Path) -> None:
    path = write_mpi3d(tmp_path / "mpi3d_toy.npz", PIXELS)
    for image, pixels in zip(load_from(path, image_size=(32, 32)).images, PIXELS, strict=True):
        picture = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR)
        assert np.array_equal(image.permute(1, 2, 0), np.asarray(picture))


def test_images_are_never_in_memory_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {**SMALL_MPI3D.sizes, "vertical_axis": 40}
    monkeypatch.setattr(mpi3d, "_GRIDS", (dataclasses.replace(SMALL_MPI3D, sizes=sizes),))
    many = np.concatenate([PIXELS] * 20)
    path = write_mpi3d(tmp_path / "mpi3d_toy.npz", many)
    monkeypatch.setattr(cache, "_HASHED_WHOLE", 0)  # small files are read whole for their key
    tracemalloc.start()
    data = load_from(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert data.mapped
    assert np.array_equal(data.images, np.concatenate([NCHW] * 20))
    assert peak < many.nbytes // 4


# The official files. Their images are left out: nothing of them is read but the header.


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], Path]:
    """Makes files stand for those with so many images."""
    monkeypatch.setattr(mpi3d, "_GRIDS", (MPI3D, MPI3D_COMPLEX))

    def only_the_shape(*args: Any, **_: Any) -> cache.Pixels:
        return cache.Pixels(np.zeros((args[2][0], 1, 1, 1), np.uint8), mapped=False, sha256=None)

    monkeypatch.setattr(mpi3d, "gather", only_the_shape)

    def stand_in(path: Path, count: int) -> Path:
        write_mpi3d(path, PIXELS[:1])
        with open_archive(path) as archive:
            found = archive.header("images")._replace(shape=(count, 64, 64, 3))
        monkeypatch.setattr("fastjvae.data.npy.read_header", lambda *_: found)
        return path

    return stand_in


def test_the_order_that_the_authors_give(
    tmp_path: Path, official: Callable[[Path, int], Path]
) -> None:
    """Their index: the sizes of the factors behind it, multiplied, for each step of a factor."""
    data = load_from(official(tmp_path / "mpi3d_toy.npz", 1_036_800))
    strides = torch.tensor([172_800, 28_800, 14_400, 4_800, 1_600, 40, 1])
    assert torch.equal((factors_of(data) * strides).sum(dim=1), torch.arange(1_036_800))
    assert factors_of(data)[-1].tolist() == [5, 5, 1, 2, 2, 39, 39]
    assert data.label_names == ("cone", "cube", "cylinder", "hexagonal", "pyramid", "sphere")


def test_complex_things_have_four_colours_and_shapes(
    tmp_path: Path, official: Callable[[Path, int], Path]
) -> None:
    path = official(tmp_path / "mpi3d_real_complex.npz", 460_800)
    data = load_from(path)
    strides = torch.tensor([115_200, 28_800, 14_400, 4_800, 1_600, 40, 1])
    assert torch.equal((factors_of(data) * strides).sum(dim=1), torch.arange(460_800))
    assert data.label_names == ("coffee-cup", "tennis-ball", "croissant", "beer-cup")
    part = load_from(path, grid=("object_shape=croissant", "object_color=red"))
    assert part.label_names == ("croissant",)
    assert part.factor_values is not None
    assert part.factor_values[0] == (3.0,)
    with pytest.raises(ArgumentError, match="object_shape has the values 0 to 3, got '5'"):
        load_from(path, grid=("object_shape=5",))
    with pytest.raises(ArgumentError, match=r"or one of coffee-cup, .*got 'sphere'"):
        load_from(path, grid=("object_shape=sphere",))


def test_as_many_images_under_another_name(
    tmp_path: Path, official: Callable[[Path, int], Path]
) -> None:
    path = official(tmp_path / "real.npz", 460_800)
    with pytest.warns(UserWarning, match="as many images as mpi3d_real_complex.npz, whose shapes"):
        load_from(path)


# What can be wrong.


def expect(path: Path, *parts: str) -> None:
    with one_sentence_with(*parts):
        load_from(path)


def test_missing_file(tmp_path: Path) -> None:
    names = "mpi3d_toy.npz, mpi3d_realistic.npz, mpi3d_real.npz, mpi3d_real_complex.npz"
    expect(tmp_path / "no.npz", "no.npz does not exist: mpi3d is loaded from", names)
    expect(tmp_path, f"{tmp_path} must hold one of {names}, got none of them")
    for name in ("mpi3d_toy.npz", "mpi3d_real.npz"):
        write_mpi3d(tmp_path / name, PIXELS)
    expect(tmp_path, "got mpi3d_toy.npz and mpi3d_real.npz: name the file")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY", b"PK\x03\x04"])
def test_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "d.npz").write_bytes(content)
    expect(tmp_path / "d.npz", "d.npz is no .npz file, or a truncated one")


def test_damaged_images_leave_nothing_behind(tmp_path: Path, folder: Path) -> None:
    path = write_mpi3d(tmp_path / "d.npz", PIXELS, np.savez)
    content = bytearray(path.read_bytes())
    content[content.index(PIXELS[-1].tobytes()) + 9] ^= 1
    path.write_bytes(content)
    expect(path, "d.npz cannot be read as a numpy file: ", "CRC")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arrays", "parts"),
    [
        ({"imgs": PIXELS}, ["the array images as mpi3d_toy.npz does, got imgs"]),
        ({}, ["got none"]),
        ({"images": PIXELS[:-1]}, ["N 48 or 460,800, got uint8 of shape [47, 64, 64, 3]"]),
        ({"images": NCHW}, ["uint8 of shape (N, 64, 64, 3), N 48", "[48, 3, 64, 64]"]),
        ({"images": PIXELS.astype(np.float32)}, ["got float32 of shape [48, 64, 64, 3]"]),
        ({"images": np.asfortranarray(PIXELS)}, ["[48, 64, 64, 3] in Fortran order"]),
        ({"images": PIXELS[..., 0]}, ["got uint8 of shape [48, 64, 64]"]),
        ({"images": PIXELS.astype(object)}, ["got object of shape [48, 64, 64, 3]"]),
    ],
)
def test_wrong_contents(tmp_path: Path, arrays: dict[str, Any], parts: list[str]) -> None:
    np.savez(tmp_path / "d.npz", **arrays)
    expect(tmp_path / "d.npz", "d.npz must hold", *parts)
