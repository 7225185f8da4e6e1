"""The drawn sprites: what they look like, any part of their grid, and how many of them are kept."""

import hashlib
import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fastjvae.data import (
    DataSource,
    ImageData,
    cache,
    load,
)
from fastjvae.data.datasets import sprites
from fastjvae.data.factors import GRID, grid_words, parse_grid
from fastjvae.errors import ArgumentError

CORNERS = ("x=0,31", "y=0,31")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def draw(*grid: str, **fields: Any) -> ImageData:
    return load(DataSource("sprites", grid=grid, **fields))


def factors_of(data: ImageData) -> torch.Tensor:
    assert data.factors is not None
    return data.factors


# What is drawn.


@pytest.mark.parametrize("shape", range(3))
@pytest.mark.parametrize("scale", range(6))
def test_no_pixel_lies_on_an_outline(shape: int, scale: int) -> None:
    """So that the last bit of a sine, which platforms round differently, decides no pixel."""
    for orientation in range(40):
        u, v = sprites.turned(scale, orientation)
        assert abs(sprites.OUTLINES[shape](u, v)).min() > 1e-7


@pytest.mark.parametrize(("shape", "turns"), [(0, 4), (1, 2), (2, 1)])
def test_symmetries_of_the_shapes(shape: int, turns: int) -> None:
    """A square looks the same after a quarter of a turn, an ellipse after half of one."""
    drawn = [sprites.sprite(shape, 5, orientation).tobytes() for orientation in range(40)]
    period = 40 // turns
    assert len(set(drawn)) == period
    assert drawn[period:] + drawn[:period] == drawn


def test_upright_sprites_are_symmetric_and_a_turn_is_counter_clockwise() -> None:
    for shape in range(3):
        upright = sprites.sprite(shape, 5, 0)
        assert np.array_equal(upright, upright[:, ::-1])
        assert np.array_equal(np.rot90(upright), sprites.sprite(shape, 5, 10))
    heart = sprites.sprite(2, 5, 0)
    assert heart[:16].sum() > heart[17:].sum()  # its two arcs are above, its tip below
    assert heart[3, 16 - 7]
    assert not heart[3, 16]  # between the arcs


@pytest.mark.parametrize(
    ("shape", "area"),
    # Of an outline within the unit circle; the heart's is (3.6616 by numerical integration) / R^2.
    [(0, 2.0), (1, math.pi / 2), (2, 3.6616 / 1.4255**2)],
)
def test_areas_grow_with_the_square_of_the_scale(shape: int, area: float) -> None:
    for scale in range(6):
        radius = 15.9 * (0.5 + 0.1 * scale)
        pixels = np.mean([sprites.sprite(shape, scale, o).sum() for o in range(40)])
        assert pixels == pytest.approx(area * radius**2, rel=0.03)


def test_sprites_of_every_kind_lie_within_the_image_wherever_they_are() -> None:
    data = draw(*CORNERS)
    whole = draw("x=16", "y=16").images.flatten(1).count_nonzero(dim=1)
    assert torch.equal(data.images.flatten(1).count_nonzero(dim=1), whole.repeat_interleave(4))
    assert data.images.unique().tolist() == [0, 255]


def test_a_position_is_a_shift_by_a_pixel() -> None:
    data = draw("shape=heart", "scale=5", "orientation=7")
    images = data.images.view(32, 32, 64, 64)
    for x, y in ((0, 0), (3, 30), (31, 31)):
        shifted = images[16, 16].roll((y - 16, x - 16), dims=(0, 1))
        assert torch.equal(images[x, y], shifted)


def test_the_same_images_on_every_machine() -> None:
    data = draw("x=0..31/10", "y=5")
    assert data.digest() == "e3631f194d1a761f9f6ab11b4b15e9a682b88915ec9065a54c6368654de17a69"


# The grid.


def test_factors_labels_and_what_they_stand_for() -> None:
    data = draw("shape=heart,square", "scale=0,5", "orientation=0..39/20", *CORNERS)
    assert (data.img_size, data.mapped) == ((1, 64, 64), False)
    assert data.name == "sprites/shape=heart,square,scale=0,5,orientation=0..39/20,x=0,31,y=0,31"
    assert data.factor_names == ("shape", "scale", "orientation", "x", "y")
    grid = torch.cartesian_prod(*[torch.arange(2)] * 5)
    assert torch.equal(factors_of(data), grid)
    assert data.label_names == ("square", "heart")
    assert torch.equal(data.labels, grid[:, 0])  # type: ignore[arg-type]
    assert data.factor_values is not None
    shape, scale, orientation, x, y = data.factor_values
    assert (shape, scale, x, y) == ((0.0, 2.0), (0.5, 1.0), (0.0, 1.0), (0.0, 1.0))
    assert orientation == pytest.approx((0.0, math.pi))


def test_the_whole_grid_has_the_order_and_size_of_dsprites(monkeypatch: pytest.MonkeyPatch) -> None:
    def only_the_shape(*args: Any, **_: Any) -> Any:
        return cache.Pixels(np.zeros((args[2][0], 1, 1, 1), np.uint8), mapped=False, sha256=None)

    monkeypatch.setattr(sprites, "gather", only_the_shape)
    data = load(DataSource("sprites"))
    assert (data.name, len(data)) == ("sprites", 737_280)
    factors = factors_of(data)
    strides = torch.tensor([6 * 40 * 1024, 40 * 1024, 1024, 32, 1])
    assert torch.equal((factors * strides).sum(dim=1), torch.arange(737_280))
    assert factors.max(dim=0).values.tolist() == [2, 5, 39, 31, 31]


@given(st.tuples(*[st.sets(st.integers(0, n - 1), min_size=1, max_size=2) for n in GRID.values()]))
def test_any_part_of_the_grid_is_that_part(chosen: Sequence[set[int]]) -> None:
    words = grid_words([sorted(values) for values in chosen])
    assert parse_grid(words) == tuple(tuple(sorted(values)) for values in chosen)
    data = draw(*words)
    picks = factors_of(data)[len(data) // 2].tolist()
    shape, scale, orientation, x, y = (
        sorted(values)[pick] for values, pick in zip(chosen, picks, strict=True)
    )
    expected = np.zeros((64, 64), bool)
    expected[y : y + 33, x : x + 33] = sprites.sprite(shape, scale, orientation)
    assert np.array_equal(data.images[len(data) // 2, 0].numpy(), expected * 255)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (("scale",), "FACTOR=VALUES, such as scale=5 or x=0..31/4, got 'scale'"),
        (("",), "got ''"),
        (("colour=1",), "one of shape, scale, .*got 'colour' in 'colour=1'"),
        (("x=1", "y=2", "x=3"), "name x once, got it again in 'x=3'"),
        (("x=",), "a value of x is a number, .* got '' in 'x='"),
        (("x=1,,2",), "got '' in 'x=1,,2'"),
        (("x=-1",), "got '-1'"),
        (("x=one",), "got 'one'"),
        (("x=0..31/0",), "got '0..31/0'"),
        (("x=4/2",), "got '4/2'"),
        (("shape=circle",), "or one of square, ellipse, heart, got 'circle'"),
        (("scale=heart",), "a value of scale is a number.*got 'heart'"),
        (("x=5..2",), r"as 2\.\.5 does, got '5\.\.2'"),
        (("orientation=0..40",), "orientation has the values 0 to 39, got '0..40'"),
        (("shape=3",), "shape has the values 0 to 2, got '3'"),
        (("x=0..3,2",), "each value once, got 2 twice in 'x=0..3,2'"),
        (("shape=heart,2",), "got 2 twice"),
    ],
)
def test_grids_that_cannot_be(grid: tuple[str, ...], message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        DataSource("sprites", grid=grid)
    assert "\n" not in str(caught.value)


# What is kept.


def test_few_images_are_drawn_anew_and_many_are_kept_and_mapped(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = ("shape=square,ellipse", "scale=3", *CORNERS)
    few = draw(*grid)
    assert not folder.exists()
    monkeypatch.setattr(sprites, "MOST_DRAWN_ANEW", few.images.nbytes - 1)
    first = draw(*grid)
    assert first.mapped
    monkeypatch.setattr(sprites, "_drawn", lambda *_: pytest.fail("drawn again"))
    again = draw(*reversed(grid))  # the same part, spelled differently
    for data in (first, again):
        assert torch.equal(data.images, few.images)
        assert torch.equal(factors_of(data), factors_of(few))
        assert data.digest() == hashlib.sha256(few.images.numpy().tobytes()).hexdigest()
    assert [path.suffix for path in folder.iterdir()] == [".npy"]


@pytest.mark.parametrize("share", [0, 1])
def test_another_size_is_resized_as_pictures_are(
    share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sprites, "MOST_DRAWN_ANEW", share * 2**26)
    grid = ("scale=5", "orientation=3", "x=9", "y=20")
    large, small = draw(*grid), draw(*grid, image_size=(32, 32))
    assert small.mapped == (share == 0)
    assert small.img_size == (1, 32, 32)
    for image, resized in zip(large.images, small.images, strict=True):
        picture = Image.fromarray(image[0].numpy()).resize((32, 32), Image.Resampling.BILINEAR)
        assert np.array_equal(resized[0].numpy(), np.asarray(picture))


def test_keeping_them_does_not_take_the_memory_of_all(tmp_path: Path) -> None:
    """Two shapes at scale 1 are 320 MiB; the process may grow by 100."""
    script = """
        import resource
        from fastjvae.data import DataSource, load
        few = load(DataSource("sprites", grid=("scale=5", "x=0,1", "y=0,1")))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        data = load(DataSource("sprites", grid=("shape=heart,square", "scale=5")), cache=False)
        assert (len(data), data.mapped) == (81_920, True)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "FASTJVAE_CACHE": str(tmp_path)},
    )
    grown_kib = int(result.stdout)
    assert grown_kib < 100 * 1024
