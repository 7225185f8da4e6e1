"""Images and labels that are given in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from fastjvae.data import DataSource, load
from fastjvae.data.given import gathered, image_data
from fastjvae.data.held_out import divided, held_out_rows
from fastjvae.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 10), dtype=np.uint8)


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (PIXELS, PIXELS),
        (torch.from_numpy(PIXELS), PIXELS),
        (PIXELS.transpose(0, 2, 3, 1), PIXELS),
        (PIXELS[:, 0], PIXELS[:, :1]),
        (PIXELS.astype(np.int64), PIXELS),
        (PIXELS / 255, PIXELS),
        (torch.from_numpy(PIXELS) / 255, PIXELS),
        (PIXELS[:, :, ::-1], PIXELS[:, :, ::-1]),
        (PIXELS > 127, 255 * (PIXELS > 127)),
        (PIXELS[:4].tolist(), PIXELS[:4]),
        ((torch.from_numpy(PIXELS) > 127).to(torch.bfloat16), 255 * (PIXELS > 127)),
    ],
)
def test_any_usual_layout_and_type(images: Any, expected: np.ndarray) -> None:
    data = image_data(images)
    assert data.images.is_contiguous()
    np.testing.assert_array_equal(data.images, expected)


def test_bytes_as_they_are_wanted_are_not_copied() -> None:
    assert image_data(PIXELS).images.data_ptr() == PIXELS.ctypes.data


def test_images_are_resized() -> None:
    assert image_data(PIXELS, image_size=(4, 4)).img_size == (3, 4, 4)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [None, (6, 6)])
def test_pil_images_are_read_as_their_files_are(
    mode: str, size: tuple[int, int] | None, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (4, 8, 10, 4), dtype=np.uint8)
    for number, each in enumerate(pixels):
        if mode == "I;16":
            picture = Image.fromarray(each[..., 0].astype(np.uint16) * 257)
        else:
            picture = Image.fromarray(each).convert(mode)
        picture.save(tmp_path / f"{number}.png")
    expected = load(DataSource("images", root=str(tmp_path), image_size=size), cache=False).images
    pictures = [Image.open(path) for path in sorted(tmp_path.iterdir())]
    assert image_data(pictures, image_size=size).images.equal(expected)
    assert image_data(tuple(pictures), image_size=size).images.equal(expected)  # loaded by now


def test_grey_pil_images_among_coloured_ones_become_rgb() -> None:
    data = image_data([Image.new("L", (8, 9), 7), Image.new("RGB", (8, 9), (1, 2, 3))])
    assert data.img_size == (3, 9, 8)
    assert data.images[:, :, 0, 0].tolist() == [[7, 7, 7], [1, 2, 3]]


@pytest.mark.parametrize(
    ("labels", "numbers", "names"),
    [
        ([2, 0] * 20, [2, 0], None),
        (torch.tensor([2, 0] * 20), [2, 0], None),
        (np.array([[2], [0]] * 20, np.uint8), [2, 0], None),
        (["shoe", "bag"] * 20, [1, 0], ("bag", "shoe")),
    ],
)
def test_labels(labels: Any, numbers: list[int], names: tuple[str, ...] | None) -> None:
    data = image_data(PIXELS, labels)
    assert data.labels is not None
    assert data.labels.tolist() == numbers * 20
    assert data.label_names == names


@pytest.mark.parametrize(
    ("images", "labels", "sentence"),
    [
        (PIXELS[0, 0], None, r"must hold images of rank 3 .* got the shape \[8, 10\]"),
        (PIXELS.transpose(0, 2, 1, 3), None, "the array of images has the shape .* neither"),
        (PIXELS / 100, None, "values from 0 to 1, got 0.0 to 2.55"),
        (PIXELS.astype(int) - 9, None, "values from 0 to 255, got -9"),
        (np.full((4, 8, 8), np.nan), None, "NaN or infinite"),
        (np.array([["a"]]), None, "rank 3"),
        (np.full((4, 8, 8), "a"), None, "integers 0..255 or floats 0..1, got <U1"),
        ([[[1, 2], [3]]], None, "must have one size"),
        (PIXELS * 1.0, None, "divide 0..255 by 255, or give bytes, uint8; a likelihood gaussian"),
        ([PIXELS[0], PIXELS[1, :, :4]], None, r"number 0 has the shape \[3, 8, 10\], number 1 \["),
        ("images.npy", None, r"a path was given, 'images.npy': np.load it, or .*'arrays', root="),
        (Path("images.npy"), None, "a path was given, 'images.npy'"),
        (str(Path(__file__).parent), None, r"a folder was given, .*DataSource\('images', root="),
        ({"images": PIXELS}, None, "got a value of type dict"),
        (None, None, "got a value of type NoneType"),
        (TensorDataset(torch.from_numpy(PIXELS)), None, r"TensorDataset: give DataLoader\(dataset"),
        ([(each, 3) for each in PIXELS], None, "the images in one list and the labels in another"),
        ([(Image.new("L", (8, 8)), 3)] * 4, None, "pairs of an image and a label"),
        (Image.new("RGB", (8, 8)), None, "one PIL image was given: give a list"),
        ([Image.new("L", (8, 8)), Image.new("L", (9, 7))], None, r"0 has 8 x 8 and number 1 7 x 9"),
        ([Image.new("L", (8, 8)), None], None, "number 1 of the list of PIL images .* a NoneType"),
        ([Image.new("F", (8, 8))], None, "no fixed white"),
        (PIXELS, [1, 2], r"labels of shape \(40,\) for its 40 images, got \[2\]"),
        (PIXELS, [0.5] * 40, "labels as integers, got float64"),
    ],
)
def test_another_form_is_one_sentence(images: Any, labels: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as error:
        image_data(images, labels)
    assert "\n" not in str(error.value)


def test_a_share_is_held_out_and_nothing_is_in_both_parts() -> None:
    data = image_data(PIXELS, np.arange(40))
    train, held_out = divided(data, 0.25)
    assert held_out is not None
    assert held_out.labels is not None
    assert held_out.labels.tolist() == held_out_rows(40, 0.25).tolist()
    assert train.labels is not None
    assert sorted([*train.labels.tolist(), *held_out.labels.tolist()]) == list(range(40))
    np.testing.assert_array_equal(train.images, PIXELS[train.labels])
    assert divided(data, 0.0) == (data, None)


def test_the_first_images_of_a_loader() -> None:
    images = torch.from_numpy(PIXELS)
    loader = DataLoader(TensorDataset(images, torch.arange(40)), batch_size=16)
    np.testing.assert_array_equal(gathered(loader).images, PIXELS)
    assert gathered(loader, most=20).images.equal(images[:20])
