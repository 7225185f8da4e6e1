"""What DataSource accepts, what ImageData checks, and the embedded digits."""

import dataclasses
import hashlib
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fastjvae.data import DATASETS, DataSource, ImageData, load
from fastjvae.data.facts import FACTS
from fastjvae.errors import ArgumentError, DataError

IMAGES = torch.zeros(3, 1, 4, 5, dtype=torch.uint8)


@pytest.mark.parametrize(
    "source",
    [
        DataSource("digits", split="test", image_size=(16, 24)),
        DataSource("fashion-mnist", root="data", download=True),
        DataSource("images", root="pictures", image_size=(64, 64), channels=3),
        DataSource("arrays", root="a.npz", labels="b.npz:y"),
        DataSource("sprites", grid=("shape=heart", "x=0..31/4")),
        DataSource("chairs", root="rendered_chairs", split="test"),
        DataSource("celeba", root="faces", skip_damaged=True, max_pixels=2**30),
    ],
)
def test_source_survives_json(source: DataSource) -> None:
    assert DataSource(**json.loads(json.dumps(dataclasses.asdict(source)))) == source


def test_source_takes_a_path_as_root(tmp_path: Path) -> None:
    assert DataSource("images", root=tmp_path).root == str(tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"name": "cifar"}, r"one of digits, .*got 'cifar'"),
        ({"name": "digits", "split": "valid"}, "split must be 'train' or 'test', got 'valid'"),
        ({"name": "mnist", "image_size": (0, 32)}, r"at least 1, got \(0, 32\)"),
        ({"name": "mnist", "image_size": (32,)}, r"a height and a width.*got \(32,\)"),
        ({"name": "mnist", "image_size": (32.0, 32)}, r"got \(32.0, 32\)"),
        ({"name": "images", "root": "x", "channels": 2}, "channels must be 1 .* got 2"),
        ({"name": "images"}, "images needs --data-root, the folder of pictures"),
        ({"name": "arrays"}, "arrays needs --data-root, the .npy or .npz file"),
        ({"name": "arrays", "root": "x.npy", "split": "test"}, "arrays have no 'test' split"),
        ({"name": "digits", "root": "x"}, "root applies to mnist, .* not to digits, got 'x'"),
        ({"name": "mnist", "channels": 3}, "channels applies to images and not to mnist"),
        ({"name": "images", "root": "x", "labels": "y.npy"}, "labels applies to arrays"),
        ({"name": "digits", "download": True}, "download applies to mnist, fashion-mnist"),
        ({"name": "chairs"}, "chairs needs --data-root, the folder of rendered_chairs"),
        ({"name": "celeba"}, "celeba needs --data-root, the folder or .zip file of aligned"),
        ({"name": "dsprites"}, "dsprites needs --data-root, the .npz file"),
        ({"name": "dsprites", "root": "x", "split": "test"}, "dsprites have no 'test' split.* x$"),
        ({"name": "sprites", "split": "test"}, "sprites have no 'test' split: keep 'train'$"),
        ({"name": "sprites", "root": "x"}, "root applies to mnist, .* not to sprites, got 'x'"),
        ({"name": "chairs", "root": "x", "channels": 3}, "channels applies to images and not to"),
        ({"name": "celeba", "root": "x", "labels": "y"}, "labels applies to arrays and not to"),
        ({"name": "dsprites", "root": "x", "download": True}, "download applies to mnist, "),
        ({"name": "dsprites", "root": "x", "grid": ("x=1",)}, "grid applies to sprites, .*not to"),
        ({"name": "shapes3d"}, "shapes3d needs --data-root, the file 3dshapes.h5 to load"),
        ({"name": "mpi3d"}, "mpi3d needs --data-root, the .npz file to load"),
        ({"name": "mpi3d", "root": "x", "split": "test"}, "mpi3d have no 'test' split"),
        ({"name": "sprites", "grid": ("scale=6",)}, "scale has the values 0 to 5, got '6'"),
    ],
)
def test_source_refuses_what_it_cannot_heed(fields: dict[str, object], fault: str) -> None:
    with pytest.raises(ArgumentError, match=fault):
        DataSource(**fields)  # type: ignore[arg-type]


def test_image_data_knows_its_length_and_size() -> None:
    data = ImageData(
        "x",
        IMAGES,
        labels=torch.tensor([0, 1, 1]),
        factors=torch.zeros(3, 2, dtype=torch.int64),
        label_names=("a", "b"),
        factor_names=("hue", "size"),
        factor_values=((0.5, 1.0), (2.0,)),
    )
    assert (len(data), data.img_size) == (3, (1, 4, 5))


def test_a_known_digest_belongs_to_its_images() -> None:
    data = ImageData("x", IMAGES, known_digest="known")
    assert data.digest() == "known"
    other = dataclasses.replace(data, images=IMAGES + 1)
    assert other.digest() == hashlib.sha256(bytes([1] * 60)).hexdigest()


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"images": IMAGES.float()}, "images must be torch.uint8 .* got torch.float32"),
        ({"images": IMAGES[0]}, r"of rank 4 .* got torch.uint8 of shape \(1, 4, 5\)"),
        ({"images": IMAGES[:0]}, "not empty"),
        ({"images": IMAGES.transpose(2, 3)}, "images must be contiguous"),
        ({"images": IMAGES.to("meta")}, "on the CPU, .* on meta"),
        ({"labels": torch.zeros(3)}, "labels must be torch.int64"),
        ({"labels": torch.zeros(2, dtype=torch.int64)}, "3 images but 2 rows of labels"),
        ({"factors": torch.zeros(3, dtype=torch.int64)}, "factors must be .* rank 2"),
        ({"label_names": ("a",)}, "1 label names but no labels"),
        (
            {"labels": torch.tensor([0, 1, 2]), "label_names": ("a", "b")},
            "2 label names but labels from 0 to 2",
        ),
        ({"factor_names": ("a",)}, "1 factor names but 0 factors"),
        ({"factor_values": ((1.0,),)}, "values for 1 factors but 0 factors"),
        (
            {"factors": torch.tensor([[0], [2], [1]]), "factor_values": ((0.0, 1.0),)},
            "2 values of factor 0 but numbers from 0 to 2",
        ),
    ],
)
def test_image_data_refuses(fields: dict[str, object], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        ImageData(**{"name": "x", "images": IMAGES} | fields)  # type: ignore[arg-type]


def test_repr_is_a_line() -> None:
    assert repr(ImageData("x", IMAGES)) == "ImageData('x', 3 images of 1x4x5)"
    data = ImageData(
        "a long name, of many words, that goes on",
        IMAGES.repeat(1000, 1, 1, 1),
        labels=torch.zeros(3000, dtype=torch.int64),
        factors=torch.zeros(3000, 2, dtype=torch.int64),
    )
    line = "ImageData('a long name, of many words, tha…', 3,000 images of 1x4x5, labels, 2 factors)"
    assert repr(data) == line


def test_images_that_are_no_tensor() -> None:
    with pytest.raises(DataError, match=r"x: images must be a torch\.Tensor .* got list"):
        ImageData("x", [[1]])  # type: ignore[arg-type]


def test_data_know_where_they_come_from() -> None:
    source = DataSource("digits", split="test")
    data = load(source)
    assert data.source == source
    assert dataclasses.replace(data, source=None).digest() == data.digest()
    assert ImageData("x", IMAGES, known_digest="0").loaded_from(source).digest() == "0"


def test_sources_of_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = DataSource("mnist", root="data")
    assert source.is_of(DataSource("mnist", root=str(tmp_path / "data"), image_size=(9, 9)))
    assert source.is_of(DataSource("mnist", root="data", split="test"))
    assert not source.is_of(DataSource("mnist"))
    assert not source.is_of(DataSource("fashion-mnist", root="data"))
    assert not DataSource("sprites").is_of(DataSource("sprites", grid=("scale=1",)))


def test_import_is_light() -> None:
    heavy = {"PIL", "sklearn", "torchvision"}
    code = f"import sys, fastjvae.data; print({heavy!r} & {{m for m in sys.modules}})"
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert run.stdout.strip() == "set()"


def test_every_name_has_a_loader() -> None:
    assert tuple(FACTS) == DATASETS
    for name, facts in FACTS.items():
        module = import_module(f"fastjvae.data.datasets.{facts.module or name}")
        assert callable(module.find)
        assert callable(module.prepare)


def test_the_fields_that_a_data_set_heeds_are_a_sources() -> None:
    names = {field.name for field in dataclasses.fields(DataSource)} - {"name", "image_size"}
    for facts in FACTS.values():
        assert {*facts.heeds} <= names - {"split"}
        assert facts.root is None or "root" in facts.heeds


def test_digits_splits_are_every_sixth_and_the_rest() -> None:
    from sklearn.datasets import load_digits

    train, test = load(DataSource("digits")), load(DataSource("digits", split="test"))
    assert (len(train), len(test)) == (1497, 300)
    assert train.img_size == test.img_size == (1, 32, 32)
    assert train.label_names == tuple("0123456789")
    target = torch.from_numpy(load_digits().target)
    assert test.labels is not None
    assert train.labels is not None
    torch.testing.assert_close(test.labels, target[::6])
    assert torch.equal(train.labels, target[torch.arange(1797) % 6 != 0])


def test_digits_are_pil_bilinear() -> None:
    from sklearn.datasets import load_digits

    small = np.rint(load_digits().images[6] * 255 / 16).astype(np.uint8)
    assert (small.min(), small.max()) == (0, 255)
    large = Image.fromarray(small).resize((24, 24), Image.Resampling.BILINEAR)
    data = load(DataSource("digits", split="test", image_size=(24, 24)))
    assert np.array_equal(data.images[1, 0].numpy(), np.asarray(large))
