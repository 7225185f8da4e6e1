"""``DataSource``, the question for a data set, and ``ImageData``, the answer."""

from __future__ import annotations

import hashlib
import os
from dataclasses import InitVar, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch

from fastjvae._numbers import is_integer, is_real
from fastjvae.data.factors import check_grid
from fastjvae.data.facts import DATASETS, FACTS, DatasetName
from fastjvae.data.memory import update_hash
from fastjvae.errors import ArgumentError, DataError
from fastjvae.functional.checks import check_value_range

# Height and width that images are prepared in unless others are asked for; other data sets keep
# the size that their pictures have.
SIZES = {name: facts.size for name, facts in FACTS.items() if facts.size}

# Pixels of the largest picture that is read unless more are asked for: those of all cameras that
# many have (64 megapixels are 9,248 x 6,944), and at 16 bytes each, while it is made RGB, 1 GiB.
MAX_PIXELS = 2**26


@dataclass(frozen=True)
class DataSource:
    """Which data to load and how to prepare it; ``dataclasses.asdict`` of it is plain JSON.

    A field that the data set cannot heed is an ``ArgumentError``, never ignored.

    Attributes:
        name: one of ``DATASETS``.
        root: folder or file of the data, of arrays also ``file.npz:name`` with the name of the
            images. None: the data set's default.
        split: "train" or "test"; data sets that are not in ``SPLIT_DATASETS`` are loaded whole,
            unless images are held out.
        image_size: (height, width) to resize to; None: that of ``SIZES``, or the size that the
            pictures have.
        channels: images only: 1 for grey, 3 for RGB; None: grey if every picture is grey.
        labels: arrays only: ``file.npy``, ``file.npz`` or ``file.npz:name`` with the labels.
        download: mnist and fashion-mnist only: fetch missing files into ``root``.
        grid: sprites, shapes3d and mpi3d only: the part of the grid of factors to load, as
            :func:`fastjvae.data.factors.parse_grid` reads it; None: all of it.
        skip_damaged: chairs, celeba and images only: leave out pictures that cannot be read.
        max_pixels: chairs, celeba and images only: a picture of more is refused before it is
            decoded, since a file of some kB can hold one that takes all memory.
        held_out: images and arrays only: share of the images that are the "test" split and not of
            "train", see :mod:`fastjvae.data.held_out`; where folders ``train`` and ``test`` of
            pictures lie in the root, these are the splits, whatever the share. 0 for none: the
            images are loaded whole.
        value_range: arrays only: lowest and highest value of a pixel, where values are no bytes;
            see :func:`fastjvae.data.forms.as_uint8`.
    """

    name: DatasetName
    root: str | None = None
    split: Literal["train", "test"] = "train"
    image_size: tuple[int, int] | None = None
    channels: Literal[1, 3] | None = None
    labels: str | None = None
    download: bool = False
    grid: tuple[str, ...] | None = None
    skip_damaged: bool = False
    max_pixels: int = MAX_PIXELS
    held_out: float = 0.0
    value_range: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.name not in DATASETS:
            raise ArgumentError(f"data set must be one of {', '.join(DATASETS)}, got {self.name!r}")
        if self.split not in ("train", "test"):
            raise ArgumentError(f"split must be 'train' or 'test', got {self.split!r}")
        if self.channels not in (None, 1, 3):
            raise ArgumentError(f"channels must be 1 (grey) or 3 (RGB), got {self.channels!r}")
        if self.image_size is not None:
            size = tuple(self.image_size)  # JSON gives a list back
            if len(size) != 2 or not all(isinstance(side, int) and side >= 1 for side in size):
                raise ArgumentError(
                    f"image size must be a height and a width of at least 1, got {self.image_size}"
                )
            object.__setattr__(self, "image_size", size)
        if not is_integer(self.max_pixels) or self.max_pixels < 1:
            raise ArgumentError(f"max_pixels must be at least 1, got {self.max_pixels!r}")
        if not is_real(self.held_out) or not 0 <= self.held_out < 1:
            raise ArgumentError(
                f"held_out must be a share from 0 to less than 1, got {self.held_out!r}"
            )
        for name in ("root", "labels"):  # a Path would not survive JSON
            if getattr(self, name) is not None:
                object.__setattr__(self, name, os.fspath(getattr(self, name)))
        check_value_range(self.value_range)
        object.__setattr__(self, "value_range", tuple(map(float, self.value_range)))
        if self.grid is not None:
            object.__setattr__(self, "grid", tuple(self.grid))
        self._check_fields_apply()
        if self.grid is not None:
            check_grid(self.grid, FACTS[self.name].grids)

    @property
    def path(self) -> Path:
        """``root`` with ~ expanded; the current folder where there is none."""
        return Path(self.root or "").expanduser()

    def is_of(self, other: DataSource) -> bool:
        """Whether both are the same data, in whatever split, size and form."""
        ours, theirs = ((s.name, s.root and s.path.absolute(), s.grid) for s in (self, other))
        return ours == theirs

    def _check_fields_apply(self) -> None:
        facts = FACTS[self.name]
        if facts.root and self.root is None:
            raise ArgumentError(f"{self.name} needs --data-root, the {facts.root} to load")
        if self.split != "train" and not (facts.has_split or self.held_out):
            where = f" and point --data-root at the data to load, got {self.root}"
            raise ArgumentError(
                f"{self.name} have no {self.split!r} split: keep 'train'"
                f"{where if facts.root else ''}"
            )
        for each in fields(self):
            heeded_by = [name for name, row in FACTS.items() if each.name in row.heeds]
            value = getattr(self, each.name)
            if heeded_by and self.name not in heeded_by and value != each.default:
                raise ArgumentError(
                    f"{each.name} applies to {', '.join(heeded_by)} and not to {self.name}, "
                    f"got {value!r}"
                )


@dataclass(frozen=True, eq=False, repr=False)  # tensors have no single truth value to compare by
class ImageData:
    """Images with what is known about them; checked on construction.

    Attributes:
        name: such as "mnist/train".
        images: (N, C, H, W) uint8, contiguous, on the CPU; N >= 1.
        labels: (N,) int64 or None.
        known_labels: (N,) int64 labels that training may see, -1 where it may not; None: it sees
            none. What is evaluated leaves the images out whose label is known here.
        factors: (N, F) int64 ground-truth factors or None.
        label_names: one name for each label value, or None.
        factor_names: F names, or None.
        factor_values: for each factor what its numbers 0, 1, ... stand for, such as degrees, in the
            unit that the data set's module says; None where that is not known.
        mapped: whether the images lie on a memory map of a file, which must stay as it is
            meanwhile, instead of in memory. They may be more than fit there, and may be read-only:
            see :func:`fastjvae.data.npy.map_array`.
        notices: sentences about how the data were made that whoever loads them should read.
        source: what :func:`fastjvae.data.load` was asked for; None for data of one's own.
        known_digest: what :meth:`digest` would find, from whoever has read all of the images
            already; it belongs to this object and is not handed on by ``dataclasses.replace``.

    Raises:
        DataError: a tensor of another dtype, rank, length or place, or names that do not fit.
    """

    name: str
    images: torch.Tensor
    labels: torch.Tensor | None = None
    known_labels: torch.Tensor | None = field(default=None, kw_only=True)
    factors: torch.Tensor | None = None
    label_names: tuple[str, ...] | None = None
    factor_names: tuple[str, ...] | None = None
    factor_values: tuple[tuple[float, ...], ...] | None = None
    mapped: bool = False
    notices: tuple[str, ...] = ()
    source: DataSource | None = None
    known_digest: InitVar[str | None] = None
    _digest: str | None = field(init=False, repr=False, default=None)

    def __post_init__(self, known_digest: str | None) -> None:
        object.__setattr__(self, "_digest", known_digest)
        self._check("images", self.images, torch.uint8, rank=4)
        if self.labels is not None:
            self._check("labels", self.labels, torch.int64, rank=1)
        if self.factors is not None:
            self._check("factors", self.factors, torch.int64, rank=2)
        if self.known_labels is not None:
            self._check("known labels", self.known_labels, torch.int64, rank=1)
        named = self.labels
        if named is None and self.known_labels is not None:
            named = self.known_labels.clamp_min(0)
        if self.label_names is not None:
            names = len(self.label_names)
            low, high = (0, -1) if named is None else map(int, named.aminmax())
            if not 0 <= low <= high < names:
                found = "no labels" if named is None else f"labels from {low} to {high}"
                raise DataError(f"{self.name} has {names} label names but {found}")
        factors = 0 if self.factors is None else self.factors.shape[1]
        if self.factor_names is not None and len(self.factor_names) != factors:
            raise DataError(
                f"{self.name} has {len(self.factor_names)} factor names but {factors} factors"
            )
        if self.factor_values is not None:
            self._check_factor_values(factors, self.factor_values)

    def _check_factor_values(self, factors: int, values: tuple[tuple[float, ...], ...]) -> None:
        if len(values) != factors:
            raise DataError(
                f"{self.name} has values for {len(values)} factors but {factors} factors"
            )
        assert self.factors is not None
        lows, highs = (ends.tolist() for ends in self.factors.aminmax(dim=0))
        for number, (low, high) in enumerate(zip(lows, highs, strict=True)):
            if not 0 <= low <= high < len(values[number]):
                raise DataError(
                    f"{self.name} has {len(values[number])} values of factor {number} but numbers "
                    f"from {low} to {high}"
                )

    def _check(self, what: str, tensor: torch.Tensor, dtype: torch.dtype, rank: int) -> None:
        if not isinstance(tensor, torch.Tensor):
            raise DataError(
                f"{self.name}: {what} must be a torch.Tensor of {dtype}, got "
                f"{type(tensor).__name__}"
            )
        if tensor.dtype != dtype or tensor.ndim != rank or 0 in tensor.shape:
            raise DataError(
                f"{self.name}: {what} must be {dtype} of rank {rank} and not empty, "
                f"got {tensor.dtype} of shape {tuple(tensor.shape)}"
            )
        if len(tensor) != len(self.images):
            raise DataError(
                f"{self.name} has {len(self.images)} images but {len(tensor)} rows of {what}"
            )
        if tensor.device.type != "cpu" or not tensor.is_contiguous():
            raise DataError(
                f"{self.name}: {what} must be contiguous on the CPU, got strides "
                f"{tensor.stride()} on {tensor.device}"
            )

    def __repr__(self) -> str:
        """One line: name, number and size of the images, and what is known about them."""
        known = [f"{len(self):,} images of {'x'.join(map(str, self.img_size))}"]
        if self.labels is not None:
            known.append("labels")
        if self.factors is not None:
            known.append(f"{self.factors.shape[1]} factors")
        name = self.name if len(self.name) <= 32 else f"{self.name[:31]}…"
        return f"ImageData({name!r}, {', '.join(known)})"

    def __len__(self) -> int:
        return len(self.images)

    def loaded_from(self, source: DataSource) -> ImageData:
        """Return the data with the source that they come from."""
        return replace(self, source=source, known_digest=self._digest)

    def with_known_labels(self, known: torch.Tensor, names: tuple[str, ...] | None) -> ImageData:
        """The data with labels that training may see, (N,) int64, and the names of all labels."""
        return replace(self, known_labels=known, label_names=names, known_digest=self._digest)

    def without_known_labels(self) -> ImageData:
        """The images whose labels training has not seen, with what belongs to them.

        Raises:
            DataError: there are none.
        """
        if self.known_labels is None:
            return self
        rows = (self.known_labels < 0).nonzero().squeeze(1)
        if not len(rows):
            raise DataError(
                f"{self.name}: training sees the label of every image, so that none is left to"
                f" evaluate: hold images out, or give fewer labels"
            )
        return self.with_rows(rows, images=self.images[rows], mapped=False)

    def with_rows(self, rows: torch.Tensor, **changes: Any) -> ImageData:
        """The data of these rows, with changes, of which the images of the rows are one."""
        belonging = ("labels", "known_labels", "factors")
        own = {n: each[rows] for n in belonging if (each := getattr(self, n)) is not None}
        return replace(self, **own, **changes)

    @property
    def img_size(self) -> tuple[int, int, int]:
        """(C, H, W), as ``JointVAE`` takes it."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def digest(self) -> str:
        """SHA-256 of the images' bytes, in hexadecimal; reads all of them unless it is known."""
        if self._digest is not None:
            return self._digest
        digest = hashlib.sha256()
        update_hash(digest, self.images.numpy())
        return digest.hexdigest()


def check_image_data(data: object) -> None:
    """Raise ArgumentError unless these are :class:`ImageData`."""
    if not isinstance(data, ImageData):
        shape = getattr(data, "shape", None)
        raise ArgumentError(
            f"images must come as ImageData(name, images) of a uint8 tensor (N, C, H, W), got "
            f"{type(data).__name__}{'' if shape is None else f' of shape {tuple(shape)}'}"
        )
