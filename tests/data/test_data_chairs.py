"""The rendered chairs: how pictures are cropped, what their paths say, and the split by chairs."""

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
from fastjvae.data.datasets import chairs

AZIMUTHS = (11, 23, 348)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def render(root: Path, model: str, azimuth: int, elevation: int, **fields: Any) -> Path:
    """A picture where and as the archive has it, of 12 x 12 and of one grey unless said."""
    number = round(azimuth * 31 / 360) + 31 * (elevation == 30)
    name = f"image_{number:03}_p{elevation:03}_t{azimuth:03}_r096.png"
    path = root / model / "renders" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"mode": "RGB", "size": (12, 12), "color": (azimuth % 256,) * 3, **fields}
    Image.new(**settings).save(path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """21 chairs from 3 sides and 2 heights, with what else lies in the archive's folder."""
    root = tmp_path / "rendered_chairs"
    for model in range(21):
        for elevation in (20, 30):
            for azimuth in AZIMUTHS:
                grey = (10 * model + elevation,) * 3
                render(root, f"{model:02x}a6b5", azimuth, elevation, color=grey)
    (root / "all_chair_names.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    return root


def load_from(root: Path, **fields: Any) -> ImageData:
    return load(DataSource("chairs", root=str(root), **fields))


def factors_of(data: ImageData) -> torch.Tensor:
    assert data.factors is not None
    return data.factors


def test_whole_chairs_are_held_out(root: Path) -> None:
    train, test = load_from(root), load_from(root, split="test")
    assert (train.name, test.name) == ("chairs/train", "chairs/test")
    assert factors_of(train)[:, 0].unique().tolist() == list(range(19))
    assert factors_of(test)[:, 0].unique().tolist() == [19, 20]
    assert (len(train), len(test)) == (19 * 6, 2 * 6)
    model, _, high = factors_of(test).unbind(dim=1)
    assert torch.equal(test.images[:, 0, 0, 0].long(), 10 * model + 20 + 10 * high)


def test_factors_are_what_the_file_names_say(root: Path) -> None:
    data = load_from(root, split="test")
    assert data.factor_names == ("model", "azimuth", "elevation")
    assert factors_of(data)[:6, 1:].tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]
    assert data.factor_values is not None
    models, azimuths, elevations = data.factor_values
    assert models == tuple(map(float, range(21)))
    assert (azimuths, elevations) == ((11.0, 23.0, 348.0), (20.0, 30.0))


def test_numbers_are_the_same_in_both_splits(root: Path) -> None:
    render(root, "00a6b5", azimuth=0, elevation=20)  # a side that no chair of the test split has
    train, test = load_from(root), load_from(root, split="test")
    assert train.factor_values == test.factor_values
    assert factors_of(test)[:, 1].unique().tolist() == [1, 2, 3]


def test_a_whole_turn_is_none(root: Path) -> None:
    path = render(root, "00a6b5", azimuth=0, elevation=20)
    path.rename(path.with_name("image_031_p020_t360_r096.png"))
    values = load_from(root).factor_values
    assert values is not None
    assert values[1] == (0.0, 11.0, 23.0, 348.0)


def test_of_a_rendered_picture_the_middle_is_taken(root: Path) -> None:
    pixels = np.zeros((600, 600, 3), np.uint8)
    pixels[100:500, 100:500] = (255, 255, 255)
    pixels[100:500, 100:300] = (200, 100, 50)
    Image.fromarray(pixels).save(root / "00a6b5/renders/image_001_p020_t011_r096.png")
    data = load_from(root)
    assert data.img_size == (1, 64, 64)
    grey = Image.fromarray(pixels).convert("L").crop((100, 100, 500, 500))
    expected = grey.resize((64, 64), Image.Resampling.BILINEAR)
    assert np.array_equal(data.images[0, 0], np.asarray(expected))
    assert data.images[0, 0, ::63, 0].tolist() == [124, 124]  # ITU-R 601, as torchvision's
    assert data.images[0, 0, ::63, 63].tolist() == [255, 255]


def test_a_picture_of_another_size_is_cropped_already(root: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(pixels).save(root / "00a6b5/renders/image_001_p020_t011_r096.png")
    assert np.array_equal(load_from(root).images[0, 0], pixels)
    assert load_from(root, image_size=(32, 48)).img_size == (1, 32, 48)


def test_the_folder_around_and_pictures_without_a_folder_of_renders(root: Path) -> None:
    expected = load_from(root)
    assert torch.equal(load_from(root.parent).images, expected.images)
    for folder in root.glob("*/renders"):
        for path in folder.iterdir():
            path.rename(folder.parent / path.name)
    assert torch.equal(load_from(root).images, expected.images)


def test_second_load_reads_the_cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_from(root)
    monkeypatch.setattr(chairs, "_decoded", lambda *_: pytest.fail("decoded again"))
    for data in (load_from(root), load_from(root, image_size=(64, 64))):
        assert torch.equal(data.images, first.images)
        assert torch.equal(factors_of(data), factors_of(first))
        assert data.factor_values == first.factor_values


def test_more_than_memory_is_mapped(
    root: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load(DataSource("chairs", root=str(root)), cache=False)
    monkeypatch.setattr(memory, "available", lambda: 0)
    first = load_from(root)
    monkeypatch.setattr(chairs, "_decoded", lambda *_: pytest.fail("decoded again"))
    for data in (first, load_from(root)):
        assert data.mapped
        assert torch.equal(data.images, expected.images)
        assert data.digest() == expected.digest()
    assert [path.suffix for path in folder.iterdir()] == [".npy"]


# What can be wrong.


def expect(root: Path, *parts: str) -> None:
    with one_sentence_with(*parts):
        load_from(root)


def test_missing_folder(tmp_path: Path, root: Path) -> None:
    expect(tmp_path / "no", f"{tmp_path / 'no'} does not exist", "the folder rendered_chairs")
    expect(root / "all_chair_names.mat", "all_chair_names.mat is a file")


def test_folder_without_pictures(tmp_path: Path) -> None:
    expect(tmp_path, f"{tmp_path} holds no pictures", "the folder rendered_chairs")


@pytest.mark.parametrize("name", ["image.png", "image_001_p020_r096.png", "image_p02x_t011_r.png"])
def test_name_of_another_form(root: Path, name: str) -> None:
    path = next(root.glob("05a6b5/renders/*.png"))
    path.rename(path.with_name(name))
    expect(root, name, "in rendered_chairs/MODEL/renders/image_001_p020_t011_r096.png")


def test_picture_without_a_model(root: Path) -> None:
    path = next(root.glob("05a6b5/renders/*.png"))
    path.rename(root / path.name)
    expect(root, path.name, "must lie in the folder of its chair")


def test_a_single_chair(root: Path) -> None:
    expect(root / "05a6b5", "05a6b5 must hold the folders of at least 2 chairs", "only renders")


def test_damaged_picture(root: Path) -> None:
    path = next(root.glob("05a6b5/renders/*.png"))
    path.write_bytes(path.read_bytes()[:40])
    expect(root, f"{path} cannot be read as a picture: ")
