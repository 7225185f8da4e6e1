"""Parts of grids of factors in words, for each data set that has one; files that are not there."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from error_sentences import one_sentence_with

from fastjvae.data import DataSource, load
from fastjvae.data.factors import (
    MPI3D,
    MPI3D_COMPLEX,
    SHAPES3D,
    SPRITES,
    Grid,
    factors_of_part,
    grid_words,
    parse_grid,
)
from fastjvae.data.facts import FACTS
from fastjvae.errors import ArgumentError

GRIDS = {"sprites": SPRITES, "shapes3d": SHAPES3D, "mpi3d": MPI3D, "complex": MPI3D_COMPLEX}


@pytest.mark.parametrize(
    ("grid", "count"),
    [(SPRITES, 737_280), (SHAPES3D, 480_000), (MPI3D, 1_036_800), (MPI3D_COMPLEX, 460_800)],
    ids=GRIDS,
)
def test_the_number_of_images(grid: Grid, count: int) -> None:
    assert len(grid) == count


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_every_name_is_a_number_and_examples_can_be_read(grid: Grid) -> None:
    for factor, names in grid.names.items():
        assert len(names) == grid.sizes[factor]
        for number, name in enumerate(names):
            part = parse_grid([f"{factor}={name}"], grid)
            assert part[list(grid.sizes).index(factor)] == (number,)
    part = parse_grid(grid.example.split(" or "), grid)
    assert parse_grid(grid_words(part, grid), grid) == part


def test_factors_of_a_part_go_through_it_the_last_one_fastest() -> None:
    factors = factors_of_part([(2, 5), (7,), (0, 1, 9)])
    assert factors.tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [1, 0, 0], [1, 0, 1], [1, 0, 2]]
    assert factors.is_contiguous()


@pytest.mark.parametrize(
    ("name", "grid", "message"),
    [
        ("shapes3d", "scale=8", "scale has the values 0 to 7, got '8'"),
        ("shapes3d", "x=1", "one of floor_hue, wall_hue, .*orientation, got 'x'"),
        ("shapes3d", "shape", "such as shape=sphere or orientation=0..14/2, got 'shape'"),
        ("shapes3d", "shape=heart", "or one of cube, cylinder, sphere, capsule, got 'heart'"),
        ("mpi3d", "object_size=2", "object_size has the values 0 to 1, got '2'"),
        ("mpi3d", "shape=1", "one of object_color, object_shape, .*got 'shape'"),
        ("mpi3d", "object_shape=heart", "or one of cone, cube, .*sphere, got 'heart'"),
    ],
)
def test_parts_that_cannot_be(name: str, grid: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        DataSource(name, root="x", grid=(grid,))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_part_may_be_of_any_file_of_the_data_set() -> None:
    for shape in ("sphere", "croissant", "5"):
        DataSource("mpi3d", root="x", grid=(f"object_shape={shape}",))


def test_data_sets_with_a_grid_heed_one() -> None:
    for facts in FACTS.values():
        assert ("grid" in facts.heeds) == bool(facts.grids)


def test_no_file_of_3d_shapes(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "3dshapes.h5"):
        with one_sentence_with(f"{tmp_path / '3dshapes.h5'} does not exist: shapes3d are loaded"):
            load(DataSource("shapes3d", root=str(path)))


def test_3d_shapes_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "d.npy", np.zeros(3))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with one_sentence_with("d.npy is read by h5py", "pip install 'fastjvae[h5]'"):
        load(DataSource("shapes3d", root=str(tmp_path / "d.npy")))
