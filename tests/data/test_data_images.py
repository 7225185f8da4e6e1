"""Folders of pictures: order, classes, modes, transparency, orientation and resizing."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms.functional import center_crop

from fastjvae.data import DataSource, ImageData, load, memory, pictures
from fastjvae.data.prepare import fit_images
from fastjvae.errors import DataError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))


def save(
    path: Path, colour: object = 7, mode: str = "L", size: tuple[int, int] = (4, 6), **options: int
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)  # type: ignore[arg-type]


def load_folder(folder: Path, **fields: object) -> ImageData:
    return load(DataSource("images", root=str(folder), **fields))  # type: ignore[arg-type]


def test_flat_folder_in_sorted_order(tmp_path: Path) -> None:
    for colour, name in enumerate(["a.png", "b.bmp", "c.GIF", "d.tif", "e.webp"]):
        save(tmp_path / "in" / name, colour=0 if colour % 2 else 255)
    save(tmp_path / "in/.hidden.png", mode="RGB", colour="red")
    (tmp_path / "in/notes.txt").write_text("not a picture")
    (tmp_path / "in/empty-folder").mkdir()
    data = load_folder(tmp_path / "in", channels=1)
    assert (data.name, data.labels, data.label_names) == ("images/in", None, None)
    assert data.img_size == (1, 6, 4)
    assert data.images[:, 0, 0, 0].tolist() == [255, 0, 255, 0, 255]


def test_class_subfolders(tmp_path: Path) -> None:
    save(tmp_path / "in/dog/1.png", colour=1)
    save(tmp_path / "in/cat/deep/2.png", colour=2)
    save(tmp_path / "in/cat/3.png", colour=3)
    save(tmp_path / "in/.cache/4.png", colour=4)
    save(tmp_path / "in/dog/.thumbnails/5.png", colour=5)
    (tmp_path / "in/empty").mkdir()
    data = load_folder(tmp_path / "in")
    assert data.label_names == ("cat", "dog")
    assert data.labels is not None
    assert data.labels.tolist() == [0, 0, 1]
    assert data.images[:, 0, 0, 0].tolist() == [3, 2, 1]


def test_a_single_picture_of_one_pixel(tmp_path: Path) -> None:
    save(tmp_path / "in/a.png", size=(1, 1))
    assert load_folder(tmp_path / "in").images.tolist() == [[[[7]]]]


def test_grey_becomes_rgb_with_the_first_colour_picture(tmp_path: Path) -> None:
    save(tmp_path / "in/a.png", colour=9)
    save(tmp_path / "in/b.png", mode="RGB", colour=(1, 2, 3))
    save(tmp_path / "in/c.png", colour=8)
    data = load_folder(tmp_path / "in")
    assert data.images[:, :, 0, 0].tolist() == [[9, 9, 9], [1, 2, 3], [8, 8, 8]]
    assert load_folder(tmp_path / "in", channels=1).img_size == (1, 6, 4)


def test_channels_three_of_grey_pictures(tmp_path: Path) -> None:
    save(tmp_path / "in/a.png")
    assert load_folder(tmp_path / "in", channels=3).images[0, :, 0, 0].tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    ("mode", "colour", "pixel"),
    [
        ("1", 1, [255]),
        ("LA", (0, 51), [204]),  # black at a fifth of full opacity, on white
        ("RGBA", (255, 0, 0, 0), [255, 255, 255]),
        ("RGBA", (10, 20, 30, 255), [10, 20, 30]),
        ("I;16", 65535, [255]),
        ("I;16", 257 * 100 + 128, [100]),
        ("I;16", 257 * 100 + 129, [101]),
    ],
)
def test_modes_of_png(tmp_path: Path, mode: str, colour: object, pixel: list[int]) -> None:
    save(tmp_path / "in/a.png", mode=mode, colour=colour)
    assert load_folder(tmp_path / "in").images[0, :, 5, 3].tolist() == pixel


def test_palette_with_transparency(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    picture = Image.new("P", (2, 1))
    picture.putpalette([9, 8, 7, 6, 5, 4])
    picture.putdata([0, 1])
    picture.save(tmp_path / "in/a.png", transparency=1)
    data = load_folder(tmp_path / "in")
    assert data.images[0, :, 0].T.tolist() == [[9, 8, 7], [255, 255, 255]]


def test_cmyk_jpeg(tmp_path: Path) -> None:
    save(tmp_path / "in/a.jpg", mode="CMYK", colour=(0, 0, 0, 0), quality=100)
    assert load_folder(tmp_path / "in").images[0, :, 0, 0].tolist() == [255, 255, 255]


def test_exif_orientation(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / "in/a.png", exif=exif)
    assert load_folder(tmp_path / "in").images[0, 0].tolist() == [[0], [255]]


def test_resized_from_the_centre_without_distortion(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pixels = np.zeros((10, 40), np.uint8)
    pixels[:, 14:26] = 255  # a white centre, one pixel wider than the crop on either side
    Image.fromarray(pixels).save(tmp_path / "in/a.png")
    save(tmp_path / "in/b.png", colour=255, size=(5, 5))
    data = load_folder(tmp_path / "in", image_size=(8, 8))
    assert data.img_size == (1, 8, 8)
    assert data.images.min() == 255


@given(
    own=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_fitted_as_torchvision_does(own: tuple[int, int], size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(sum(own)).integers(0, 256, (2, 3, *own), dtype=np.uint8)
    fitted = fit_images(pixels, size)
    for image, result in zip(pixels, fitted, strict=True):
        picture = Image.fromarray(image.transpose(1, 2, 0).copy())
        height, width = size
        crop = (round(own[1] * height / width) or 1, round(own[0] * width / height) or 1)
        inner = center_crop(picture, [min(crop[0], own[0]), min(crop[1], own[1])])
        expected = inner.resize((width, height), Image.Resampling.BILINEAR)
        assert np.array_equal(result, np.asarray(expected).transpose(2, 0, 1))


def test_more_pictures_than_one_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_BATCH", 4)
    for i in range(9):
        save(tmp_path / f"in/{i}.png", colour=i, size=(3, 2))
    data = load_folder(tmp_path / "in")
    assert torch.equal(data.images[:, 0, 0, 0], torch.arange(9, dtype=torch.uint8))


def test_sizes_are_compared_across_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "_BATCH", 2)
    for i in range(5):
        save(tmp_path / f"in/{i}.png", size=(3, 2) if i < 4 else (2, 3))
    with pytest.raises(DataError, match=r"0\.png has 2 x 3 and .*4\.png 3 x 2"):
        load_folder(tmp_path / "in")


def test_a_size_that_takes_more_than_the_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "available", lambda: 1000)
    monkeypatch.setattr(memory, "_SMALL", 100)
    pixels = np.zeros((3, 1, 8, 8), np.uint8)
    assert fit_images(pixels, (16, 20)).shape == (3, 1, 16, 20)
    with pytest.raises(DataError, match=r"3 images of 16x24 pixels take .* ask for a smaller size"):
        fit_images(pixels, (16, 24))
