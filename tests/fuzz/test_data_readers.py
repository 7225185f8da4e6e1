"""Damaged data sets of every kind: each is read, or refused by one sentence that names its file.

Each reader has files of its kind, small and valid, and a seed chooses what is damaged in which. 3D
Shapes has none: HDF5's library, which is C, ends the process over some damaged files.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import pytest
import torch
from examples import examples
from mutations import assert_read_or_refused, mutated
from PIL import Image
from solids import SMALL_MPI3D, noise

from fastjvae.data import DataSource, ImageData, load
from fastjvae.data.cache import array_on_disk, cached
from fastjvae.data.datasets import mpi3d
from fastjvae.data.pictures import FORMATS, open_picture

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mpi3d, "_GRIDS", (FEW,))


# --- valid files ----------------------------------------------------------------------------------


def idx(values: np.ndarray) -> bytes:
    sizes = struct.pack(f">{values.ndim}I", *values.shape)
    return bytes((0, 0, 8, values.ndim)) + sizes + values.astype(np.uint8).tobytes()


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


@cache
def picture(form: str, mode: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS[0].repeat(2, 0).repeat(2, 1)).convert(mode).save(file, form)
    return file.getvalue()


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def damaged_archive(members: dict[str, bytes], seed: int) -> bytes:
    """A zip file that is damaged, or whose members are, or the archive's own words about them."""
    random = Random(seed)
    method = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    if random.random() < 0.5:
        return mutated(packed(members, method), seed)
    name = random.choice(list(members))
    return packed({**members, name: mutated(members[name], seed)}, method)


# --- readers: each writes a damaged file and says which data it is part of ------------------------


class Damaged(NamedTuple):
    """A data set with a damaged file."""

    source: DataSource
    names: tuple[Path, ...]  # one of them is named where it is refused


def idx_files(folder: Path, seed: int) -> Damaged:
    contents = {"train-images-idx3-ubyte": idx(PIXELS), "train-labels-idx1-ubyte": idx(LABELS)}
    name = list(contents)[seed % 2]
    contents[name] = mutated(contents[name], seed)
    for each, content in contents.items():
        (folder / each).write_bytes(content)
    return Damaged(DataSource("mnist", root=str(folder)), (folder,))


def packed_idx_files(folder: Path, seed: int) -> Damaged:
    contents = {
        "train-images-idx3-ubyte.gz": idx(PIXELS),
        "train-labels-idx1-ubyte.gz": idx(LABELS),
    }
    name = list(contents)[seed % 2]
    for each, content in contents.items():
        hurt = each == name
        inner = mutated(content, seed) if hurt and seed % 4 < 2 else content
        outer = gzip.compress(inner, mtime=0)
        (folder / each).write_bytes(mutated(outer, seed) if hurt and seed % 4 >= 2 else outer)
    return Damaged(DataSource("mnist", root=str(folder)), (folder,))


def npy_files(folder: Path, seed: int) -> Damaged:
    values = (PIXELS, PIXELS / 255, PIXELS.astype(">i4"), np.asfortranarray(PIXELS), PIXELS > 9)
    path = folder / "a.npy"
    path.write_bytes(mutated(npy(values[seed % len(values)]), seed))
    size = (4, 4) if seed % 3 == 0 else None
    return Damaged(DataSource("arrays", root=str(path), image_size=size), (path,))


NPZ = {
    "images.npy": npy(PIXELS),
    "labels.npy": npy(LABELS),
    "factors.npy": npy(np.stack([LABELS, LABELS], axis=1)),
    "label_names.npy": npy(np.array(["a", "b", "c"])),
    "factor_names.npy": npy(np.array(["x", "y"])),
}


def npz_files(folder: Path, seed: int) -> Damaged:
    path = folder / "a.npz"
    path.write_bytes(damaged_archive(NPZ, seed))
    source = DataSource("arrays", root=str(path))
    return Damaged(source, (path, Path("arrays/a.npz")))  # the data's name, in errors of labels


def label_files(folder: Path, seed: int) -> Damaged:
    np.save(folder / "a.npy", PIXELS)
    path = folder / ("l.npy" if seed % 2 else "l.npz")
    content = mutated(npy(LABELS[:, None]), seed) if seed % 2 else damaged_archive(NPZ, seed)
    path.write_bytes(content)
    key = ":labels" if seed % 4 == 0 else ""
    source = DataSource("arrays", root=str(folder / "a.npy"), labels=f"{path}{key}")
    return Damaged(source, (path,))


def dsprites_files(folder: Path, seed: int) -> Damaged:
    shapes = np.zeros((6, 64, 64), np.uint8)
    shapes[:, 20:30, 20:30] = 1
    classes = np.stack([0 * LABELS, *[LABELS] * 5], axis=1)
    path = folder / "d.npz"
    path.write_bytes(
        damaged_archive({"imgs.npy": npy(shapes), "latents_classes.npy": npy(classes)}, seed)
    )
    return Damaged(DataSource("dsprites", root=str(path)), (path,))


FEW = dataclasses.replace(  # 6 images
    SMALL_MPI3D,
    sizes={**dict.fromkeys(SMALL_MPI3D.sizes, 1), "object_shape": 3, "object_size": 2},
)


def mpi3d_files(folder: Path, seed: int) -> Damaged:
    path = folder / "m.npz"
    path.write_bytes(damaged_archive({"images.npy": npy(noise(len(FEW)))}, seed))
    return Damaged(DataSource("mpi3d", root=str(path)), (path,))


MAX_PIXELS = 2**20  # what a damaged header may announce, of which memory is some MiB
MODES = {"JPEG": "L RGB CMYK", "GIF": "L P", "PNG": "1 L LA I;16 P RGB RGBA", "TIFF": "1 L P RGB"}


def picture_files(folder: Path, seed: int) -> Damaged:
    form = list(FORMATS)[seed % len(FORMATS)]
    modes = MODES.get(form, "L RGB").split()
    path = folder / f"a{FORMATS[form][-1]}"
    path.write_bytes(mutated(picture(form, modes[seed // len(FORMATS) % len(modes)]), seed))
    size = (4, 4) if seed % 2 else None
    source = DataSource("images", root=str(folder), image_size=size, max_pixels=MAX_PIXELS)
    return Damaged(source, (path,))


LIST = "".join(f"{number:06}.jpg {part}\n" for number, part in enumerate((0, 0, 0, 1, 2, 2)))


def faces(suffix: str = ".jpg") -> dict[str, bytes]:
    content = picture("JPEG", "RGB")
    return {f"img_align_celeba/{number:06}{suffix}": content for number in range(6)}


def archives_of_pictures(folder: Path, seed: int) -> Damaged:
    path = folder / "faces.zip"
    members = faces() if seed % 3 else {**faces(), "list_eval_partition.txt": LIST.encode()}
    path.write_bytes(damaged_archive(members, seed))
    source = DataSource("celeba", root=str(path), image_size=(8, 8), max_pixels=MAX_PIXELS)
    return Damaged(source, (path,))


def celeba_lists(folder: Path, seed: int) -> Damaged:
    for name, content in faces().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    lists = (
        ("txt", LIST.encode()),
        ("txt", LIST.encode("utf-16")),
        ("csv", b"\xef\xbb\xbfimage_id,partition\n" + LIST.replace(" ", ",").encode()),
    )
    suffix, content = lists[seed % len(lists)]
    path = folder / f"list_eval_partition.{suffix}"
    path.write_bytes(mutated(content, seed))
    return Damaged(DataSource("celeba", root=str(folder), image_size=(8, 8)), (path, folder))


READERS = (
    *(idx_files, packed_idx_files, npy_files, npz_files, label_files, dsprites_files),
    *(mpi3d_files, picture_files, archives_of_pictures, celeba_lists),
)


def check_reader(damage: Callable[[Path, int], Damaged], folder: Path, seeds: range) -> None:
    """Some seeds are read and some refused; the folder is used again and again."""
    place, read = folder / "data", 0
    place.mkdir()
    for seed in seeds:
        for left in place.iterdir():
            if left.is_file():
                left.unlink()
        source, names = damage(place, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notices, and those of Pillow about metadata
            try:
                read += assert_read_or_refused(lambda s=source: load(s, cache=False), *names)  # type: ignore[misc]
            except Exception as error:
                raise AssertionError(f"{damage.__name__}, seed {seed}") from error
    assert 0 < read < len(seeds)


@pytest.mark.parametrize("damage", READERS)
def test_damaged_data_are_read_or_refused(
    damage: Callable[[Path, int], Damaged], tmp_path: Path
) -> None:
    check_reader(damage, tmp_path, range(examples(300, least=30)))


@pytest.mark.slow
@pytest.mark.parametrize("damage", READERS)
def test_much_damage_to_data(damage: Callable[[Path, int], Damaged], tmp_path: Path) -> None:
    check_reader(damage, tmp_path, range(1_000, 11_000))


# --- the cache: whatever is in an entry, the data are right ---------------------------------------


def check_cache(folder: Path, seeds: range) -> None:
    """An entry of either kind is damaged, and made again unless it still says the same."""
    data = ImageData(
        "x",
        torch.from_numpy(PIXELS[:, None].copy()),
        torch.from_numpy(LABELS),
        label_names=("a", "b", "c"),
        notices=("one",),
    )
    cached("key", lambda: data)
    array_on_disk("array", PIXELS.shape, lambda: iter([PIXELS]))
    files = (folder / "key.safetensors", folder / "array.npy")
    contents = [file.read_bytes() for file in files]
    for seed in seeds:
        file, content = files[seed % 2], contents[seed % 2]
        file.write_bytes(mutated(content, seed))
        if seed % 2:
            again = array_on_disk("array", PIXELS.shape, lambda: iter([PIXELS]))
            assert np.array_equal(again.array, PIXELS), seed
        else:
            entry = cached("key", lambda: data)
            assert torch.equal(entry.images, data.images), seed
            assert (entry.label_names, entry.notices) == (data.label_names, data.notices), seed
            assert json.dumps(entry.name) == '"x"', seed


def test_damaged_cache_entries(tmp_path: Path) -> None:
    check_cache(tmp_path / "cache", range(examples(300, least=30)))


@pytest.mark.slow
def test_much_damage_to_cache_entries(tmp_path: Path) -> None:
    check_cache(tmp_path / "cache", range(1_000, 11_000))


# --- small files that hold much -------------------------------------------------------------------


def png_of(side: int) -> bytes:
    """A PNG of black pixels with a transparent palette, of some kB."""
    header = struct.pack(">IIBBBBB", side, side, 8, 3, 0, 0, 0)
    rows = zlib.compress(bytes(side * (side + 1)), 1)
    parts = (
        (b"IHDR", header),
        (b"PLTE", bytes(3)),
        (b"tRNS", b"\0"),
        (b"IDAT", rows),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def test_a_small_file_of_a_large_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_of(8_200))
    assert not assert_read_or_refused(lambda: open_picture(tmp_path / "a.png", "a.png"), "a.png")


@pytest.mark.parametrize("members", [{"images.npy": npy(PIXELS)}, {"a.npy": npy(PIXELS)}])
def test_a_small_archive_that_announces_much(tmp_path: Path, members: dict[str, bytes]) -> None:
    (name,) = members
    huge = members[name].replace(b"(6, 8, 8)", b"(6, 99999, 9999)")
    path = tmp_path / "a.npz"
    path.write_bytes(packed({name: huge + bytes(2**20)}))
    source = DataSource("arrays", root=str(path))
    assert not assert_read_or_refused(lambda: load(source, cache=False), path)
