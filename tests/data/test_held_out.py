"""Images without a split of their own: which of them are held out, and folders that are a split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastjvae.data import DataSource, ImageData, load, memory
from fastjvae.data.held_out import held_out_rows
from fastjvae.errors import ArgumentError, DataError


def pictures(folder: Path, values: range, kind: str = "L") -> None:
    folder.mkdir(parents=True)
    for value in values:
        Image.new(kind, (8, 8), (value,) * len(kind) if kind == "RGB" else value).save(
            folder / f"{value:03d}.png"
        )


def both(root: Path, name: str = "images") -> tuple[ImageData, ImageData]:
    train, test = (
        load(DataSource(name, root=str(root), held_out=0.1, split=split))  # type: ignore[arg-type]
        for split in ("train", "test")
    )
    return train, test


def values_of(data: ImageData) -> list[int]:
    return data.images[:, 0, 0, 0].tolist()


def test_the_held_out_rows_of_a_number_of_images_never_change() -> None:
    assert held_out_rows(30, 0.1).tolist() == [2, 13, 28]
    assert held_out_rows(19, 0.1).tolist() == held_out_rows(1_000, 0.0).tolist() == []
    assert [len(held_out_rows(n, 0.1)) for n in (20, 29, 30, 1_797)] == [2, 2, 3, 179]
    assert len(held_out_rows(20, 0.01)) == 1
    np.random.seed(5)  # noqa: NPY002  and depend on no other seed
    assert held_out_rows(30, 0.1).tolist() == [2, 13, 28]


def test_both_parts_are_the_whole_in_its_order(tmp_path: Path) -> None:
    pictures(tmp_path / "p", range(40))
    train, test = both(tmp_path / "p")
    assert (train.name, test.name) == ("images/p/train", "images/p/test")
    assert values_of(test) == held_out_rows(40, 0.1).tolist()
    assert values_of(train) == [v for v in range(40) if v not in values_of(test)]
    assert values_of(load(DataSource("images", root=str(tmp_path / "p")))) == list(range(40))


def test_labels_and_factors_stay_beside_their_images(tmp_path: Path) -> None:
    numbers = np.arange(40)
    images = np.repeat(numbers, 16).reshape(40, 4, 4).astype(np.uint8)
    file = tmp_path / "a.npz"
    np.savez(file, images=images, labels=numbers, factors=np.stack([numbers, numbers % 2], 1))
    for part in both(file, "arrays"):
        assert part.labels is not None
        assert part.factors is not None
        assert values_of(part) == part.labels.tolist() == part.factors[:, 0].tolist()


def test_parts_of_mapped_images_are_mapped_where_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "a.npy"
    np.save(file, np.repeat(np.arange(40), 16).reshape(40, 4, 4).astype(np.uint8))
    in_memory = both(file, "arrays")
    monkeypatch.setattr(memory, "available", lambda: 8)
    for on_disk, part in zip(both(file, "arrays"), in_memory, strict=True):
        assert (on_disk.mapped, part.mapped) == (True, False)
        assert on_disk.digest() == part.digest()


def test_of_few_images_none_are_held_out(tmp_path: Path) -> None:
    pictures(tmp_path / "p", range(19))
    train, test = both(tmp_path / "p")
    assert train.name == test.name == "images/p"
    assert len(train) == len(test) == 19


def test_folders_train_and_test_are_the_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, values in (("train/a", range(5)), ("train/b", range(5, 9)), ("test/b", range(9, 12))):
        pictures(tmp_path / "p" / name, values)
    train, test = both(tmp_path / "p")
    assert (train.name, test.name) == ("images/p/train", "images/p/test")
    assert values_of(train) == list(range(9))
    assert values_of(test) == [9, 10, 11]
    assert train.label_names == ("a", "b")
    whole = load(DataSource("images", root=str(tmp_path / "p")))  # as runs of before have it
    assert (len(whole), whole.label_names) == (12, ("test", "train"))
    pictures(tmp_path / "p" / "other", range(12, 14))
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))
    with pytest.warns(UserWarning, match=r"2 pictures of .*p are left out, such as other.012"):
        assert values_of(both(tmp_path / "p")[1]) == [9, 10, 11]


def test_what_is_not_divided_has_no_test_images(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="images have no 'test' split"):
        DataSource("images", root=str(tmp_path), split="test")
    with pytest.raises(ArgumentError, match="held_out applies to images, arrays and not to digits"):
        DataSource("digits", held_out=0.1)
    with pytest.raises(ArgumentError, match="share from 0 to less than 1, got 1"):
        DataSource("images", root=str(tmp_path), held_out=1)
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match=r"test holds no pictures"):
        load(DataSource("images", root=str(tmp_path), held_out=0.1, split="test"))
