"""Where CelebA's pictures and the list of its parts lie, and how the list may be written."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
from error_sentences import one_sentence_with
from PIL import Image

from fastjvae.data import DataSource, load

NAMES = [f"{number:06}" for number in range(1, 9)]
OFFICIAL = "Eval/list_eval_partition.txt"
PARTS = [0, 0, 0, 1, 1, 2, 2, 2]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))


def lines(separator: str = " ") -> list[str]:
    return [f"{name}.jpg{separator}{part}" for name, part in zip(NAMES, PARTS, strict=True)]


def numbered(rows: list[str]) -> list[str]:
    return [f"{number},{row}" for number, row in enumerate(rows)]


def write_list(path: Path, text: str | bytes | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines()) if text is None else text
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def write_pictures(folder: Path, suffix: str = ".jpg") -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate(NAMES):
        Image.new("L", (8, 8), 20 * number).save(folder / f"{name}{suffix}")


def shades(root: Path, **fields: Any) -> list[int]:
    """Which pictures are in a split, by number; nothing may be said meanwhile."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = load(DataSource("celeba", root=str(root), image_size=(4, 4), **fields))
    return [round(int(image.float().mean()) / 20) for image in data.images]


def assert_official(root: Path) -> None:
    assert shades(root) == [0, 1, 2]
    assert shades(root, split="test") == [5, 6, 7]


# Layouts.


@pytest.mark.parametrize(
    ("pictures", "listing", "roots"),
    [
        (
            "Img/img_align_celeba",
            "Eval/list_eval_partition.txt",
            ["", "Img", "Img/img_align_celeba"],
        ),
        (
            "Img/img_align_celeba_png",
            "Eval/list_eval_partition.txt",
            ["", "Img", "Img/img_align_celeba_png"],
        ),
        ("Img/img_align_celeba/img_align_celeba", "Eval/list_eval_partition.txt", ["", "Img"]),
        ("img_align_celeba", "Eval/list_eval_partition.txt", ["", "img_align_celeba"]),
        ("celeba/img_align_celeba", "celeba/list_eval_partition.txt", ["", "celeba"]),
        (
            "img_align_celeba/img_align_celeba",
            "list_eval_partition.csv",
            ["", "img_align_celeba", "img_align_celeba/img_align_celeba"],
        ),
        ("img_align_celeba", "img_align_celeba/list_eval_partition.txt", ["", "img_align_celeba"]),
    ],
)
def test_the_list_is_found(tmp_path: Path, pictures: str, listing: str, roots: list[str]) -> None:
    write_pictures(tmp_path / "data" / pictures, ".png" if "_png" in pictures else ".jpg")
    write_list(tmp_path / "data" / listing)
    for root in roots:
        assert_official(tmp_path / "data" / root)


@pytest.mark.parametrize("listing", ["list_eval_partition.csv", OFFICIAL])
@pytest.mark.parametrize("inside", [True, False])
def test_a_zip_with_the_list_inside_or_beside(tmp_path: Path, listing: str, inside: bool) -> None:
    path = tmp_path / "data/Img/img_align_celeba.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(NAMES):
            file = io.BytesIO()
            Image.new("L", (8, 8), 20 * number).save(file, "JPEG")
            archive.writestr(f"img_align_celeba/img_align_celeba/{name}.jpg", file.getvalue())
        if inside:
            archive.writestr(
                listing, "image_id,partition\n" * ("csv" in listing) + "\n".join(lines(","))
            )
    if not inside:
        write_list(tmp_path / "data" / listing)
    for root in (path, path.parents[1]):
        assert_official(root)


def test_linked_pictures_with_the_list_at_their_own_place(tmp_path: Path) -> None:
    write_pictures(tmp_path / "store/Img/img_align_celeba")
    write_list(tmp_path / "store/Eval/list_eval_partition.txt")
    (tmp_path / "here").symlink_to(tmp_path / "store/Img/img_align_celeba")
    assert_official(tmp_path / "here")


@pytest.mark.parametrize("cached", [False, True])
def test_without_a_list_that_is_said_every_time(tmp_path: Path, cached: bool) -> None:
    write_pictures(tmp_path / "faces")
    source = DataSource("celeba", root=str(tmp_path / "faces"))
    for split in ("train", "train", "test"):
        with pytest.warns(UserWarning, match=r"no list_eval_partition\.txt .* are trained on$"):
            load(DataSource(**{**vars(source), "split": split}), cache=cached)


# Spellings of the list.


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("txt", "\ufeff" + "\n".join(lines())),
        ("txt", "\ufeff" + "\r\n".join(lines())),
        ("txt", "\n".join(lines()).encode("utf-16")),
        ("txt", "\n".join(lines("\t")) + "\n\n"),
        ("txt", "\n".join(f"img_align_celeba/{line}" for line in lines())),
        ("csv", "image_id,partition\n" + "\n".join(lines(","))),
        ("csv", "image_id;partition\r\n" + "\r\n".join(lines(";"))),
        ("csv", '"image_id","partition"\n' + "\n".join(f'"{x[:10]}",{x[-1]}' for x in lines())),
        (
            "csv",
            "\ufeff,image_id,partition\n" + "\n".join(f"{i},{x}" for i, x in enumerate(lines(","))),
        ),
        ("csv", "\n".join(lines(", "))),
    ],
)
def test_lists_as_other_tools_write_them(tmp_path: Path, name: str, content: str | bytes) -> None:
    write_pictures(tmp_path / "img_align_celeba")
    write_list(tmp_path / f"list_eval_partition.{name}", content)
    assert_official(tmp_path)


@pytest.mark.parametrize(
    ("extra", "parts"),
    [
        ("000001.jpg 2", ["puts 000001.jpg into parts 0 and 2"]),
        ("1,2,000001.jpg,0", ["got '1,2,000001.jpg,0' in line 9"]),
        ("000009.jpg 3", ["got '000009.jpg 3' in line 9"]),
        ('"000009.jpg 0', ["in line 9"]),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, extra: str, parts: list[str]) -> None:
    write_pictures(tmp_path / "img_align_celeba")
    write_list(tmp_path / "list_eval_partition.txt", "\n".join([*lines(), extra]))
    with one_sentence_with(str(tmp_path / "list_eval_partition.txt"), *parts):
        load(DataSource("celeba", root=str(tmp_path)))


# Zip files that others made.


def test_names_in_a_zip_are_names_alone(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "PNG")
    names = ["../../up.png", "/etc/root.png", "C:\\faces\\drive.png", "new\nline.png", "é.png"]
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for name in names:
            archive.writestr(name, file.getvalue())
        archive.writestr("..\\.hidden\\a.png", b"")
    source = DataSource("celeba", root=str(tmp_path / "faces.zip"))
    with pytest.warns(UserWarning, match="no list"):
        assert len(load(source)) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "faces.zip"]
    with zipfile.ZipFile(tmp_path / "faces.zip", "a") as archive:
        archive.writestr("new\nline.jpg", b"none")
    with one_sentence_with(r"'new\nline.jpg' in ", "faces.zip cannot be read as a picture"):
        load(source)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("ü.png", b"")
    path.write_bytes(path.read_bytes().replace("ü".encode(), b"\xff\xff"))
    with one_sentence_with(f"{path} cannot be read as a zip file: "):
        load(DataSource("celeba", root=str(path)))


def test_a_member_larger_than_any_picture(tmp_path: Path) -> None:
    path = tmp_path / "faces.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(2**20 + 801))
        archive.writestr("b.png", b"")
    source = DataSource("celeba", root=str(path), max_pixels=100)
    with one_sentence_with("a.png in ", "it has 1,049,377 bytes, more than 1,049,376"):
        load(source)


def test_damaged_pictures_are_left_out_of_their_split(tmp_path: Path) -> None:
    write_pictures(tmp_path / "img_align_celeba")
    write_list(tmp_path / "list_eval_partition.txt")
    for name in ("000002.jpg", "000004.jpg", "000008.jpg"):
        (tmp_path / "img_align_celeba" / name).write_bytes(b"<html>")
    for split, number in (("train", "1 of 3"), ("test", "1 of 3")):
        source = DataSource("celeba", root=str(tmp_path), split=split, skip_damaged=True)  # type: ignore[arg-type]
        with pytest.warns(UserWarning, match=f"{number} pictures cannot be read"):
            assert len(load(source)) == 2
