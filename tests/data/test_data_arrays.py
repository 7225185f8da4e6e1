"""Numpy files: layouts, dtypes, names, labels in other files, and conversion in chunks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from error_sentences import one_sentence_with
from PIL import Image

from fastjvae.data import DataSource, ImageData, forms, load

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 6), dtype=np.uint8)
GREY = PIXELS[:, 0]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))


def load_array(path: Path, array: np.ndarray, **fields: object) -> ImageData:
    np.save(path / "a.npy", array)
    return load(DataSource("arrays", root=str(path / "a.npy"), **fields))  # type: ignore[arg-type]


def load_npz(path: Path, source: dict[str, str] | None = None, /, **named: object) -> ImageData:
    np.savez(path / "a.npz", **named)  # type: ignore[arg-type]
    return load(DataSource("arrays", root=str(path / "a.npz"), **source or {}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY, GREY[:, None]),
        (GREY[:, None], GREY[:, None]),
        (GREY[..., None], GREY[:, None]),
        (PIXELS, PIXELS),
        (PIXELS.transpose(0, 2, 3, 1), PIXELS),
        (np.asfortranarray(PIXELS), PIXELS),
        (PIXELS[:1], PIXELS[:1]),
        (PIXELS[..., :1, :2], PIXELS[..., :1, :2]),
    ],
)
def test_layouts(tmp_path: Path, array: np.ndarray, expected: np.ndarray) -> None:
    data = load_array(tmp_path, array)
    assert data.name == "arrays/a.npy"
    assert data.images.dtype == torch.uint8
    assert np.array_equal(data.images.numpy(), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64, ">i4"])
def test_integers(tmp_path: Path, dtype: type) -> None:
    assert np.array_equal(load_array(tmp_path, GREY.astype(dtype)).images[:, 0], GREY)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
def test_floats_are_rounded_to_255ths(tmp_path: Path, dtype: type) -> None:
    array = (GREY / 255).astype(dtype)
    assert np.array_equal(load_array(tmp_path, array).images[:, 0], GREY)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_black_and_white(tmp_path: Path, dtype: type) -> None:
    data = load_array(tmp_path, (GREY > 127).astype(dtype))
    assert np.array_equal(data.images[:, 0], np.where(GREY > 127, 255, 0))


def test_black_and_white_is_scaled_before_it_is_resized(tmp_path: Path) -> None:
    halves = np.zeros((1, 2, 4), bool)
    halves[..., 2:] = True
    data = load_array(tmp_path, halves, image_size=(4, 8))
    expected = Image.fromarray(halves[0].astype(np.uint8) * 255).resize((8, 4), Image.BILINEAR)
    assert np.array_equal(data.images[0, 0], np.asarray(expected))


def test_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "_CHUNK_VALUES", 2 * PIXELS[0].size)
    assert np.array_equal(load_array(tmp_path, PIXELS / 255).images, PIXELS)
    resized = load_array(tmp_path, PIXELS / 255, image_size=(2, 3))
    assert resized.img_size == (3, 2, 3)


@pytest.mark.parametrize("key", ["images", "imgs", "x", "arr_0", "something"])
def test_names_of_the_images(tmp_path: Path, key: str) -> None:
    assert np.array_equal(load_npz(tmp_path, **{key: PIXELS}).images, PIXELS)


def test_all_that_an_npz_can_hold(tmp_path: Path) -> None:
    data = load_npz(
        tmp_path,
        images=PIXELS,
        labels=np.array([0, 1, 0, 1, 1], np.uint8),
        factors=np.arange(10, dtype=np.int32).reshape(5, 2),
        label_names=np.array(["cat", "dog"]),
        factor_names=np.array(["hue", "size"]),
    )
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 0, 1, 1]
    assert data.factors is not None
    assert data.factors.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert data.label_names == ("cat", "dog")
    assert data.factor_names == ("hue", "size")


def test_dsprites_names_and_its_pickled_metadata(tmp_path: Path) -> None:
    data = load_npz(
        tmp_path,
        metadata=np.array({"title": "dSprites"}, dtype=object),
        imgs=(GREY > 127).astype(np.uint8),
        latents_classes=np.zeros((5, 6), np.int64),
    )
    assert data.images.max() == 255
    assert data.factors is not None
    assert data.factors.shape == (5, 6)


@pytest.mark.parametrize("where", ["l.npy", "l.npz", "l.npz:z"])
def test_labels_in_another_file(tmp_path: Path, where: str) -> None:
    labels = np.array([4, 3, 2, 1, 0])
    if where == "l.npy":
        np.save(tmp_path / "l.npy", labels)
    else:
        np.savez(tmp_path / "l.npz", **{"z" if ":" in where else "y": labels})
    # They count, not those beside the images.
    data = load_npz(tmp_path, {"labels": str(tmp_path / where)}, x=PIXELS, y=np.zeros(5, int))
    assert data.labels is not None
    assert data.labels.tolist() == [4, 3, 2, 1, 0]


# Names that others give their arrays.


@pytest.mark.parametrize(
    ("images_key", "labels_key"),
    [
        *(("x_train", "y_train"), ("x_test", "y_test"), ("train_images", "train_labels")),
        *(("X", "Y"), ("X", "y"), ("images", "target"), ("arr_0", "arr_1"), ("imgs", "label")),
    ],
)
@pytest.mark.parametrize("form", [(5,), (5, 1)])
def test_labels_beside_the_images_under_a_usual_name(
    tmp_path: Path, images_key: str, labels_key: str, form: tuple[int, ...]
) -> None:
    labels = np.arange(5).reshape(form)
    data = load_npz(tmp_path, **{labels_key: labels, images_key: PIXELS})
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 2, 3, 4]
    assert np.array_equal(data.images, PIXELS)
    assert data.notices == ()


def test_the_images_are_named_where_there_are_several(tmp_path: Path) -> None:
    names = {"x_train": PIXELS, "y_train": np.arange(5), "x_test": GREY[:2], "y_test": [7, 8]}
    np.savez(tmp_path / "k.npz", **names)  # type: ignore[arg-type]
    for key, pixels, labels in (("x_train", PIXELS, range(5)), ("x_test", GREY[:2, None], (7, 8))):
        data = load(DataSource("arrays", root=f"{tmp_path}/k.npz:{key}"))
        assert data.name == "arrays/k.npz"
        assert np.array_equal(data.images, pixels)
        assert data.labels is not None
        assert data.labels.tolist() == [*labels]


def test_a_name_of_no_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "k.npz", left=PIXELS, right=PIXELS)
    with one_sentence_with("k.npz has no array named up, got the names left, right"):
        load(DataSource("arrays", root=f"{tmp_path}/k.npz:up"))
    with one_sentence_with("k.npz", "FILE.npz:NAME, got the names left, right"):
        load(DataSource("arrays", root=f"{tmp_path}/k.npz"))


@pytest.mark.parametrize(
    "others",
    [{"digit": np.arange(5)}, {"target": np.arange(5.0)}, {"Y": np.eye(5, dtype=int)}],
    ids=["unknown name", "floats", "one-hot"],
)
def test_a_notice_names_what_may_be_labels(tmp_path: Path, others: dict[str, np.ndarray]) -> None:
    (name,) = others
    with pytest.warns(UserWarning, match=rf"nothing is taken from {name}.* --labels .*:{name}$"):
        data = load_npz(tmp_path, images=PIXELS, more=np.zeros(7), **others)
    assert data.labels is None


def test_whatever_else_an_npz_holds_is_not_read(tmp_path: Path) -> None:
    made_by = np.array({"by": "us"}, dtype=object)
    data = load_npz(tmp_path, data=PIXELS, cube=np.empty((2, 2, 2), object), made_by=made_by)
    assert np.array_equal(data.images, PIXELS)


@pytest.mark.parametrize("channels", [2, 4])
def test_two_and_four_channels(tmp_path: Path, channels: int) -> None:
    array = np.random.default_rng(1).integers(0, 256, (3, channels, 5, 6), dtype=np.uint8)
    assert np.array_equal(load_array(tmp_path, array).images, array)
    assert np.array_equal(load_array(tmp_path, array.transpose(0, 2, 3, 1)).images, array)
    assert load_array(tmp_path, array, image_size=(2, 3)).img_size == (channels, 2, 3)
