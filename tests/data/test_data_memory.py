"""Data sets larger than memory: what stays on disk, how it is converted, hashed and kept."""

import errno
import hashlib
import os
import re
import resource
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fastjvae.data import (
    DataSource,
    ImageData,
    cache,
    forms,
    load,
    memory,
    npy,
)
from fastjvae.data.datasets import arrays
from fastjvae.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (9, 3, 4, 6), dtype=np.uint8)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 0)
    monkeypatch.setattr(forms, "_CHUNK_VALUES", 2 * PIXELS[0].size)
    monkeypatch.setattr(memory, "_HASHED_AT_ONCE", 100)


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Grows by one with every conversion that no file saved."""
    calls: list[Path] = []
    converted = arrays.as_uint8

    def counted(path: Path, *args: Any) -> Any:
        calls.append(path)
        return converted(path, *args)

    monkeypatch.setattr(arrays, "as_uint8", counted)
    return calls


def saved(path: Path, array: np.ndarray, **fields: Any) -> DataSource:
    np.save(path / "a.npy", array)
    return DataSource("arrays", root=str(path / "a.npy"), **fields)


# A map of the user's own file.


@pytest.mark.parametrize(
    ("array", "fields"),
    [
        (PIXELS, {}),
        (PIXELS[:, 0], {}),
        (PIXELS[:, :1], {}),
        (PIXELS[:, 0, :, :, None], {}),
        (PIXELS, {"image_size": (4, 6)}),
    ],
)
def test_array_in_its_final_form_is_mapped(
    tmp_path: Path, folder: Path, array: np.ndarray, fields: dict[str, Any]
) -> None:
    source = saved(tmp_path, array, **fields)
    data = load(source)
    assert data.mapped
    assert np.array_equal(data.images.flatten(), array.ravel())
    assert data.images.stride() == torch.empty(data.images.shape).stride()
    assert not folder.exists()
    data.images.add_(1)
    assert np.array_equal(np.load(str(source.root)), array)


@pytest.mark.parametrize(
    ("array", "fields"),
    [
        (PIXELS.transpose(0, 2, 3, 1), {}),
        (np.asfortranarray(PIXELS), {}),
        (PIXELS.astype(np.int32), {}),
        (PIXELS // 128, {}),
        (PIXELS, {"image_size": (2, 3)}),
    ],
)
def test_array_of_another_form_is_converted_in_memory(
    tmp_path: Path, array: np.ndarray, fields: dict[str, Any]
) -> None:
    assert not load(saved(tmp_path, array, **fields)).mapped


def test_archives_and_other_data_sets_are_in_memory(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=PIXELS)
    assert not load(DataSource("arrays", root=str(tmp_path / "a.npz"))).mapped
    assert not load(DataSource("digits")).mapped


@pytest.mark.parametrize("value", [2, 255])
def test_range_is_checked_in_every_chunk(tmp_path: Path, little_memory: None, value: int) -> None:
    array = np.zeros((9, 3, 4, 6), np.uint8)
    array[-1, -1, -1, -1] = value
    data = load(saved(tmp_path, array))
    assert data.mapped
    assert data.images.max() == value
    with pytest.raises(DataError, match=f"from 0 to 1, got 0.0 to {value}.0"):
        load(saved(tmp_path, array.astype(np.float32)))


def test_map_of_a_file_larger_than_memory_is_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", PIXELS)
    memmap = np.memmap

    def refuse_private(path: Path, dtype: Any, mode: str, *options: Any) -> Any:
        if mode == "c":
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return memmap(path, dtype, mode, *options)

    monkeypatch.setattr(np, "memmap", refuse_private)
    array = npy.map_array(tmp_path / "a.npy")
    assert not array.flags.writeable
    # Torch's warning comes once in a process, so that only another one shows that it is silenced.
    images = memory.tensor_on(array)
    assert np.array_equal(images, PIXELS)


def test_tensor_on_a_read_only_array_does_not_warn() -> None:
    script = """
        import numpy as np
        from fastjvae.data.memory import tensor_on
        array = np.ones((2, 3), np.uint8)
        array.flags.writeable = False
        assert tensor_on(array).sum() == 6
    """
    subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(script)], check=True)


def test_missing_file_is_no_lack_of_memory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        npy.map_array(tmp_path / "no.npy")


@pytest.mark.parametrize("name", ["in memory", "mapped"])
def test_digest(tmp_path: Path, little_memory: None, name: str) -> None:
    data = load(saved(tmp_path, PIXELS)) if name == "mapped" else ImageData("x", _tensor(PIXELS))
    assert data.mapped == (name == "mapped")
    assert data.digest() == hashlib.sha256(PIXELS.tobytes()).hexdigest()


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.copy())


# Conversions too large for memory.


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (PIXELS / 255, PIXELS),
        (PIXELS.transpose(0, 2, 3, 1), PIXELS),
        (PIXELS[..., 0].astype(np.int64), PIXELS[..., 0][:, None]),
        (PIXELS // 128, PIXELS // 128 * 255),
    ],
)
def test_conversion_goes_to_a_file_that_is_mapped(
    tmp_path: Path,
    folder: Path,
    little_memory: None,
    conversions: list[Path],
    array: np.ndarray,
    expected: np.ndarray,
) -> None:
    source = saved(tmp_path, array)
    for _ in range(2):
        data = load(source)
        assert data.mapped
        assert np.array_equal(data.images, expected)
        assert data.digest() == hashlib.sha256(data.images.numpy().tobytes()).hexdigest()
        assert [path.suffix for path in folder.iterdir()] == [".npy"]
        data.images.add_(1)  # the file stays as it is
    assert len(conversions) == 1
    (path,) = folder.iterdir()
    assert np.array_equal(np.load(path), expected)


def test_resized_images_larger_than_memory(
    tmp_path: Path, little_memory: None, conversions: list[Path]
) -> None:
    source = saved(tmp_path, PIXELS[:, 0], image_size=(8, 12))
    data = load(source)
    assert data.mapped
    for image, pixels in zip(data.images, PIXELS, strict=True):
        resized = Image.fromarray(pixels[0]).resize((12, 8), Image.Resampling.BILINEAR)
        assert np.array_equal(image[0], np.asarray(resized))
    load(source)
    load(source, cache=False)
    assert len(conversions) == 1


def test_changed_source_is_converted_again(
    tmp_path: Path, little_memory: None, conversions: list[Path]
) -> None:
    load(saved(tmp_path, PIXELS / 255))
    source = saved(tmp_path, (255 - PIXELS) / 255)
    os.utime(tmp_path / "a.npy", ns=(1, 1))
    assert np.array_equal(load(source).images, 255 - PIXELS)
    assert len(conversions) == 2


def flip_a_pixel(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_another_program(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, PIXELS)


def of_another_shape(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, PIXELS[:5])


def header_with(old: bytes, new: bytes) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = path.read_bytes()
        assert old in content[:128]
        path.write_bytes(content.replace(old, new, 1))

    return damage


def of_another_key(path: Path) -> None:
    cache.array_on_disk("other", PIXELS.shape, lambda: iter([PIXELS]))
    path.with_stem("other").replace(path)


@pytest.mark.parametrize(
    "damage",
    [
        *(flip_a_pixel, truncate, empty, of_another_program, of_another_shape, of_another_key),
        header_with(b"6)", b"6 "),
        header_with(b"(9,", b"(-9,"),
        header_with(b"'|u1'", b"','  "),
        header_with(b"(9, 3, 4, 6)", b"(9" + b"9" * 30 + b",)"),
    ],
)
def test_damaged_file_is_made_again(
    tmp_path: Path,
    folder: Path,
    little_memory: None,
    conversions: list[Path],
    damage: Callable[[Path], None],
) -> None:
    source = saved(tmp_path, PIXELS / 255)
    load(source)
    (path,) = folder.iterdir()
    damage(path)
    for _ in range(2):
        assert np.array_equal(load(source).images, PIXELS)
        assert len(conversions) == 2
    assert list(folder.iterdir()) == [path]


def test_bad_values_leave_no_file(tmp_path: Path, folder: Path, little_memory: None) -> None:
    with pytest.raises(DataError, match=r"a\.npy holds values that are NaN"):
        load(saved(tmp_path, np.where(PIXELS > 250, np.nan, 0)))
    assert list(folder.iterdir()) == []


def test_full_disk(folder: Path, little_memory: None) -> None:
    zeros = np.zeros((2, 1, 1024, 1024), np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        with pytest.raises(DataError) as caught:
            cache.array_on_disk("key", (1024, *zeros.shape[1:]), lambda: iter([zeros]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert re.fullmatch(
        r"1\.0 GiB of images cannot be kept on disk \(cannot write "
        r".*/key\.npy: File too large\): set FASTJVAE_CACHE to a folder with room for them",
        str(caught.value),
    )
    assert list(folder.iterdir()) == []


def test_user_without_a_home(
    tmp_path: Path, little_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> Path:
        raise RuntimeError

    for variable in ("FASTJVAE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", fail)
    with pytest.raises(DataError, match=r"no home folder.*FASTJVAE_CACHE one for prepared data"):
        load(saved(tmp_path, PIXELS / 255))


# Prepared data in the cache.


def test_prepared_data_larger_than_memory_are_mapped(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(3):
        Image.fromarray(PIXELS[i, 0]).save(tmp_path / f"{i}.png")
    source = DataSource("images", root=str(tmp_path))
    first = load(source)
    assert not first.mapped
    assert not load(source).mapped
    monkeypatch.setattr(memory, "available", lambda: 0)
    again = load(source)
    assert again.mapped
    assert torch.equal(again.images, first.images)
    again.images.add_(1)
    assert torch.equal(load(source).images, first.images)
    assert [path.suffix for path in folder.iterdir()] == [".safetensors"]


# How much memory there is.


@pytest.mark.parametrize(
    ("meminfo", "limit", "expected"),
    [
        ("MemTotal: 9 kB\nMemAvailable:    7 kB\nSwap: 1 kB\n", None, 7 * 1024),
        ("MemAvailable:    7 kB\n", "max\n", 7 * 1024),
        ("MemAvailable:    7 kB\n", "5000\n", 5000),
        ("MemAvailable:    7 kB\n", "50000\n", 7 * 1024),
        (None, "5000\n", 5000),
    ],
)
def test_available(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    meminfo: str | None,
    limit: str | None,
    expected: int,
) -> None:
    for name, content in (("_MEMINFO", meminfo), ("_CONTAINER_LIMIT", limit)):
        monkeypatch.setattr(memory, name, tmp_path / name)
        if content is not None:
            (tmp_path / name).write_text(content)
    assert memory.available() == expected
    assert memory.fits(expected // 4)
    assert not memory.fits(expected // 4 + 1)
    assert memory.fits(expected, share=1.0)


def test_available_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "no")
    monkeypatch.setattr(memory, "_CONTAINER_LIMIT", tmp_path / "no")
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 30, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert memory.available() == 30 * 4096
    monkeypatch.delattr(os, "sysconf")  # Windows
    assert memory.available() == sys.maxsize
