"""IDX files in every place and packing, and that resizing is torchvision's."""

import gzip
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from error_sentences import one_sentence_with
from torchvision import datasets, transforms

from fastjvae.data import DataSource, load, memory
from fastjvae.data.datasets import mnist as mnist_module
from fastjvae.errors import DataError

LABELS = np.array([3, 0, 9, 9, 1], np.uint8)
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FASTJVAE_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(mnist_module, "_DEBIAN_FOLDER", tmp_path / "debian")


def idx(values: np.ndarray, shape: Sequence[int] | None = None) -> bytes:
    shape = values.shape if shape is None else shape
    sizes = b"".join(size.to_bytes(4, "big") for size in shape)
    return bytes((0, 0, 8, len(shape))) + sizes + values.tobytes()


def write(folder: Path, prefix: str = "train", suffix: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pack = gzip.compress if suffix == ".gz" else bytes
    (folder / f"{prefix}-images-idx3-ubyte{suffix}").write_bytes(pack(idx(IMAGES)))
    (folder / f"{prefix}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx(LABELS)))
    return folder


def counting(read: list[int]) -> type[gzip.GzipFile]:
    """A reader of packed files that keeps how many bytes it is asked for."""

    class Counting(gzip.GzipFile):
        def read(self, size: int | None = -1) -> bytes:
            read.append(2**40 if size is None or size < 0 else size)
            return super().read(size)

    return Counting


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("below", ["", "MNIST/raw"])
@pytest.mark.parametrize(("split", "prefix"), [("train", "train"), ("test", "t10k")])
def test_found_in_either_layout(
    tmp_path: Path, suffix: str, below: str, split: str, prefix: str
) -> None:
    write(tmp_path / below, prefix, suffix)
    data = load(DataSource("mnist", root=str(tmp_path), split=split))  # type: ignore[arg-type]
    assert (data.name, data.img_size) == (f"mnist/{split}", (1, 32, 32))
    assert data.labels is not None
    assert data.labels.tolist() == LABELS.tolist()
    assert data.label_names == tuple("0123456789")


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("root", ["", "MNIST", "MNIST/raw"])
def test_every_folder_of_the_layout_may_be_named(tmp_path: Path, root: str, suffix: str) -> None:
    write(tmp_path / "MNIST/raw", suffix=suffix)
    assert len(load(DataSource("mnist", root=str(tmp_path / root)))) == 5


def test_the_folder_of_the_other_data_set_is_not_taken(tmp_path: Path) -> None:
    write(tmp_path / "FashionMNIST/raw")
    root = str(tmp_path / "FashionMNIST")
    assert len(load(DataSource("fashion-mnist", root=root))) == 5
    with one_sentence_with("mnist/train needs train-images-idx3-ubyte"):
        load(DataSource("mnist", root=root))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_names_with_a_dot(tmp_path: Path, suffix: str) -> None:
    for path in [*write(tmp_path, suffix=suffix).iterdir()]:
        path.rename(tmp_path / path.name.replace("-idx", ".idx"))
        path.mkdir()  # as some archives have them, with the file of this name inside
    assert len(load(DataSource("mnist", root=str(tmp_path)))) == 5


def test_a_packed_file_is_not_unpacked_beyond_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, suffix=".gz")
    images = tmp_path / "train-images-idx3-ubyte.gz"
    images.write_bytes(gzip.compress(idx(IMAGES) + bytes(2**24), 1))
    read: list[int] = []
    monkeypatch.setattr(mnist_module.gzip, "GzipFile", counting(read))
    with one_sentence_with(str(images), f"more bytes after its {IMAGES.size} values"):
        load(DataSource("mnist", root=str(tmp_path)))
    assert max(read) < 2**20


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (idx(IMAGES, (2**31, 2**31, 2**31)), "truncated: its header announces"),
        (idx(IMAGES, (2**12, 28, 28)), "holds 4096 images but"),
        (idx(IMAGES, (6, *IMAGES.shape[1:])), "holds 6 images but"),
    ],
)
def test_sizes_are_compared_before_values_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, values: bytes, fault: str
) -> None:
    write(tmp_path, suffix=".gz")
    packed = gzip.compress(values + bytes(2**20), 9)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(packed)
    monkeypatch.setattr(mnist_module, "_read_values", lambda *_: pytest.fail("read"))
    with one_sentence_with("train-images-idx3-ubyte.gz", fault):
        load(DataSource("mnist", root=str(tmp_path)))


def test_values_larger_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    monkeypatch.setattr(memory, "available", lambda: 100)
    monkeypatch.setattr(memory, "_SMALL", 10)
    with one_sentence_with("train-images-idx3-ubyte", "GiB of memory, where 0.0 GiB are free"):
        load(DataSource("mnist", root=str(tmp_path)))


def test_default_folder(tmp_path: Path) -> None:
    write(tmp_path / "data/MNIST/raw")
    assert len(load(DataSource("mnist"))) == 5


def test_default_folder_without_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FASTJVAE_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write(tmp_path / "fastjvae/data/MNIST/raw")
    assert len(load(DataSource("mnist"))) == 5


def test_fashion_mnist_from_the_system_folder(tmp_path: Path) -> None:
    write(tmp_path / "debian", suffix=".gz")
    data = load(DataSource("fashion-mnist"))
    assert data.label_names == tuple(datasets.FashionMNIST.classes)


def test_images_and_labels_come_from_one_folder(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path / "MNIST/raw")
    (tmp_path / "MNIST/raw/train-labels-idx1-ubyte").unlink()
    (tmp_path / "MNIST/raw/train-images-idx3-ubyte").write_bytes(b"of no use alone")
    assert len(load(DataSource("mnist", root=str(tmp_path)))) == 5


@pytest.mark.parametrize("size", [(32, 32), (16, 16), (64, 64), (28, 28), (1, 1)])
def test_resizing_is_torchvisions_bit_for_bit(tmp_path: Path, size: tuple[int, int]) -> None:
    write(tmp_path / "MNIST/raw")
    write(tmp_path / "MNIST/raw", "t10k")  # torchvision wants all four files
    steps = transforms.Compose([transforms.Resize(size), transforms.PILToTensor()])
    expected = [image for image, _ in datasets.MNIST(tmp_path, transform=steps)]
    data = load(DataSource("mnist", root=str(tmp_path), image_size=size))
    assert torch.equal(data.images, torch.stack(expected))


def test_one_image_of_another_aspect(tmp_path: Path) -> None:
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(IMAGES[:1]))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(LABELS[:1]))
    data = load(DataSource("mnist", root=str(tmp_path), split="test", image_size=(14, 28)))
    # The centre 14 rows, not the whole image squeezed to half its height.
    assert torch.equal(data.images[0, 0], torch.from_numpy(IMAGES[0, 7:21]))


def test_download_goes_into_root_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def fake(root: Path, download: bool) -> None:
        calls.append((root, download))
        write(root / "FashionMNIST/raw")

    monkeypatch.setattr(datasets, "FashionMNIST", fake)
    source = DataSource("fashion-mnist", root=str(tmp_path / "new"), download=True)
    assert len(load(source)) == len(load(source)) == 5
    assert calls == [(tmp_path / "new", True)]


def test_failed_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(root: Path, download: bool) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz")

    monkeypatch.setattr(datasets, "MNIST", fake)
    with pytest.raises(
        DataError, match=r"mnist could not be downloaded into .*: Error downloading"
    ):
        load(DataSource("mnist", root=str(tmp_path), download=True))


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_real_data_equal_torchvisions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    root = REAL_DATA
    if not (root / "MNIST").is_dir():
        pytest.skip(f"the real data are not in {root} (set FASTJVAE_DATA)")
    data = load(DataSource(name, root=str(root), split="test"))  # type: ignore[arg-type]
    kind = datasets.MNIST if name == "mnist" else datasets.FashionMNIST
    steps = transforms.Compose([transforms.Resize(32), transforms.PILToTensor()])
    reference = kind(root, train=False, transform=steps)
    assert len(data) == len(reference) == 10_000
    assert data.labels is not None
    assert torch.equal(data.labels, reference.targets)
    for i in range(0, 10_000, 10):
        assert torch.equal(data.images[i], reference[i][0])


# Read at import: the fixture above points the variable elsewhere.
REAL_DATA = Path(os.environ.get("FASTJVAE_DATA", Path(__file__).parents[3] / "shared/data"))
