"""The disk cache: when it is used, that it is never trusted blindly, and that it cannot hurt."""

import errno
import hashlib
import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from fastjvae.data import (
    DataSource,
    ImageData,
    cache,
    load,
)
from fastjvae.data.datasets import images


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_warned_of", set())
    monkeypatch.setattr(cache, "_cleaned", set())
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path: Path, folder: Path) -> DataSource:
    """Two classes of two pictures each."""
    for i, name in enumerate(["a/1.png", "a/2.png", "b/1.png", "b/2.png"]):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 6), 10 * i).save(path)
    return DataSource("images", root=str(tmp_path / "pictures"))


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[DataSource]:
    """Grows by one with every build that no cache file saved."""
    calls: list[DataSource] = []
    prepare = images.prepare

    def counted(source: DataSource, files: Any) -> ImageData:
        calls.append(source)
        return prepare(source, files)

    monkeypatch.setattr(images, "prepare", counted)
    return calls


def same(a: ImageData, b: ImageData) -> bool:
    assert a.labels is not None
    assert b.labels is not None
    return (
        torch.equal(a.images, b.images)
        and torch.equal(a.labels, b.labels)
        and (a.name, a.label_names) == (b.name, b.label_names)
    )


def test_second_load_reads_the_cache(
    source: DataSource, folder: Path, built: list[DataSource]
) -> None:
    first, second = load(source), load(source)
    assert len(built) == 1
    assert same(first, second)
    assert [path.suffix for path in folder.iterdir()] == [".safetensors"]
    second.images.add_(1)  # resident memory, not the file
    assert same(first, load(source))


def test_factors_and_names_survive(folder: Path) -> None:
    data = ImageData(
        "x",
        torch.arange(12, dtype=torch.uint8).reshape(2, 1, 2, 3),
        factors=torch.tensor([[1, 2], [3, 4]]),
        factor_names=("hue", "größe"),
        factor_values=((0.1, 0.2, 0.3, 1 / 3), (0.0, 1.0, 2.0, 3.0, 4.0)),
        known_digest="not of the file",
    )
    cache.cached("key", lambda: data)
    again = cache.cached("key", lambda: pytest.fail("not read from the cache"))
    assert torch.equal(again.images, data.images)
    assert again.factors is not None
    assert again.factors.tolist() == [[1, 2], [3, 4]]
    assert (again.labels, again.label_names) == (None, None)
    assert again.factor_names == ("hue", "größe")
    assert again.factor_values == data.factor_values
    assert again.digest() == hashlib.sha256(bytes(range(12))).hexdigest()


def test_the_default_size_and_the_current_folder_are_no_other_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = cache.key_of(DataSource("sprites"), [])
    assert cache.key_of(DataSource("sprites", image_size=(64, 64)), []) == key
    assert cache.key_of(DataSource("sprites", image_size=(32, 32)), []) != key
    monkeypatch.chdir(tmp_path)
    assert cache.key_of(DataSource("sprites"), []) == key


def test_cache_can_be_left_out(source: DataSource, folder: Path) -> None:
    load(source, cache=False)
    assert not folder.exists()


def test_what_needs_no_cache_is_not_cached(tmp_path: Path, folder: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 4, 4), np.uint8))
    load(DataSource("digits"))
    load(DataSource("arrays", root=str(tmp_path / "a.npy")))
    assert not folder.exists()
    load(DataSource("arrays", root=str(tmp_path / "a.npy"), image_size=(2, 2)))
    assert len(list(folder.iterdir())) == 1


def touch(root: Path) -> None:
    os.utime(root / "a/1.png", ns=(1, 1))


def grow(root: Path) -> None:
    status = (root / "a/1.png").stat()
    Image.new("L", (8, 6), 99).save(root / "a/1.png", compress_level=0)
    os.utime(root / "a/1.png", ns=(status.st_atime_ns, status.st_mtime_ns))


def add(root: Path) -> None:
    Image.new("L", (8, 6)).save(root / "b/3.png")


def rename(root: Path) -> None:
    (root / "a/1.png").rename(root / "a/3.png")


def replace(root: Path) -> None:
    """Another file of the same size and the same time takes the place."""
    status = (root / "a/2.png").stat()
    Image.new("L", (8, 6), 11).save(root / "new.png")
    assert (root / "new.png").stat().st_size == status.st_size
    os.utime(root / "new.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    (root / "new.png").replace(root / "a/2.png")


def overwrite(root: Path) -> None:
    """Other content of the same size, and the time is put back."""
    status, content = (root / "a/2.png").stat(), (root / "b/1.png").read_bytes()
    assert len(content) == status.st_size
    (root / "a/2.png").write_bytes(content)
    os.utime(root / "a/2.png", ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("change", [touch, grow, add, rename, replace, overwrite])
def test_changed_files_are_prepared_again(
    source: DataSource, built: list[DataSource], change: Callable[[Path], None]
) -> None:
    load(source)
    change(Path(str(source.root)))
    load(source)
    assert len(built) == 2


@pytest.mark.parametrize("hashed", [0, 2**26])
def test_either_the_change_time_or_the_content_tells(
    source: DataSource, monkeypatch: pytest.MonkeyPatch, hashed: int
) -> None:
    monkeypatch.setattr(cache, "_HASHED_WHOLE", hashed)
    files = sorted(Path(str(source.root)).rglob("*.png"))
    key = cache.key_of(source, files)
    assert cache.key_of(source, files) == key
    time.sleep(0.02)  # a file system's clock has a grain
    overwrite(Path(str(source.root)))
    assert cache.key_of(source, files) != key


def test_notices_survive(source: DataSource) -> None:
    pixels = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    cache.cached("key", lambda: ImageData("x", pixels, notices=("one is missing", "two")))
    again = cache.cached("key", lambda: pytest.fail("not read from the cache"))
    assert again.notices == ("one is missing", "two")


def test_leftovers_of_killed_writers_go(source: DataSource, folder: Path) -> None:
    folder.mkdir()
    old = f".images-{'0' * 32}.safetensors.abcd_123.tmp"
    others = [f".images-{'0' * 32}.npy.abcd_124.tmp", ".images-mine.npy.abcd_124.tmp", ".x.tmp"]
    for name in (old, *others):
        (folder / name).write_bytes(b"half of it")
    for name in (old, *others[1:]):
        os.utime(folder / name, (0, 0))
    load(source)
    left = {path.name for path in folder.iterdir() if path.suffix == ".tmp"}
    assert left == {*others}  # one that may be at work, and foreign ones


@pytest.mark.parametrize("fields", [{"image_size": (6, 8)}, {"channels": 3}, {"root": "a"}])
def test_another_preparation_is_another_entry(
    source: DataSource, folder: Path, fields: dict[str, Any]
) -> None:
    if "root" in fields:  # one class alone: the same files mean something else
        fields = {"root": f"{source.root}/a"}
    load(source)
    other = load(DataSource(**vars(source) | fields))
    assert len(list(folder.iterdir())) == 2
    assert other.img_size == (1, 6, 8) or "image_size" in fields or "channels" in fields


def flip_a_pixel(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def flip_in_header(path: Path) -> None:
    content = path.read_bytes()
    assert b"images/pictures" in content
    path.write_bytes(content.replace(b"images/pictures", b"images/picture5"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def of_another_program(path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, path)


def of_another_dtype(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    save_file({"images": torch.zeros(4, 1, 6, 8)}, path, metadata)


def of_wrong_rank_with_right_checksum(path: Path) -> None:
    tensors = {"images": torch.zeros(4, 6, 8, dtype=torch.uint8)}
    info = '{"name": "images/pictures"}'
    save_file(tensors, path, {"info": info, "sha256": cache._checksum(path, info, tensors)})


def with_info_of_any_kind(path: Path) -> None:
    """A right checksum of what makes no data: JSON of another kind, of great depth, ..."""
    tensors = {"images": torch.zeros(4, 1, 6, 8, dtype=torch.uint8)}
    for info in ("[1]", "[" * 100_000, '{"name": 3, "label_names": 4}', '{"x": 1}', "NaN"):
        checksum = cache._checksum(path, info, tensors)
        save_file(tensors, path, {"info": info, "sha256": checksum})
        assert cache._read(path) is None


def of_another_key(path: Path) -> None:
    cache.cached("other", lambda: ImageData("x", torch.ones(1, 1, 2, 2, dtype=torch.uint8)))
    path.with_stem("other").replace(path)


@pytest.mark.parametrize(
    "damage",
    [
        flip_a_pixel,
        flip_in_header,
        truncate,
        empty,
        of_another_program,
        of_another_dtype,
        of_wrong_rank_with_right_checksum,
        with_info_of_any_kind,
        of_another_key,
    ],
)
def test_damaged_file_is_rebuilt(
    source: DataSource, folder: Path, built: list[DataSource], damage: Callable[[Path], None]
) -> None:
    first = load(source)
    (path,) = folder.iterdir()
    damage(path)
    assert same(first, load(source))
    assert len(built) == 2
    assert same(first, load(source))
    assert len(built) == 2
    assert list(folder.iterdir()) == [path]


def test_unusable_folder_warns_once(source: DataSource, folder: Path) -> None:
    folder.write_text("a file in place of the folder")
    with pytest.warns(UserWarning, match=r"not kept in .*cache \(.*set FASTJVAE_CACHE") as caught:
        load(source)
    assert caught[0].filename == __file__
    assert len(load(source)) == 4  # a second warning would be an error


def test_full_disk(folder: Path) -> None:
    data = ImageData("x", torch.zeros(1, 1, 1024, 2048, dtype=torch.uint8))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))
    try:
        with pytest.warns(UserWarning, match="not kept in"):
            assert cache.cached("key", lambda: data) is data
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(folder.iterdir()) == []


def test_disk_that_fails_at_the_end(
    source: DataSource, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.warns(UserWarning, match="No space left on device"):
        assert len(load(source)) == 4
    assert list(folder.iterdir()) == []


def test_user_without_a_home(source: DataSource, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Path:
        raise RuntimeError

    for variable in ("FASTJVAE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(Path, "home", fail)
    with pytest.warns(UserWarning, match="this user has no home folder"):
        assert len(load(source)) == 4


def test_user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.user_folder() == tmp_path / "xdg/fastjvae"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    for platform, expected in (("linux", ".cache"), ("darwin", "Library/Caches")):
        monkeypatch.setattr("sys.platform", platform)
        assert cache.user_folder() == tmp_path / expected / "fastjvae"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache.user_folder() == tmp_path / "local/fastjvae"


def test_two_builders_at_the_same_time(
    source: DataSource, folder: Path, built: list[DataSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    both_written = threading.Barrier(2, timeout=20)
    replace = Path.replace

    def replace_together(self: Path, target: Path) -> Path:
        both_written.wait()
        return replace(self, target)

    results: list[ImageData] = []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_together)
        threads = [threading.Thread(target=lambda: results.append(load(source))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(built) == len(results) == 2
    assert len(list(folder.iterdir())) == 1
    assert same(results[0], load(source))
    assert same(results[1], load(source))
    assert len(built) == 2


def test_images_can_be_written_to_wherever_they_come_from(tmp_path: Path, folder: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 4, 4), np.uint8))
    for size in (None, (4, 4)):
        data = load(DataSource("arrays", root=str(tmp_path / "a.npy"), image_size=size))
        assert data.images.numpy().flags.writeable
        again = load(DataSource("arrays", root=str(tmp_path / "a.npy"), image_size=size))
        again.images.add_(1)
