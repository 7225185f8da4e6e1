"""3D Shapes and MPI3D at the command line: trained, evaluated with the metrics, and drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from solids import SMALL_MPI3D, noise, some_numbers, values_of, write_mpi3d, write_shapes3d

from fastjvae.cli import main
from fastjvae.data.datasets import mpi3d


class Solids(NamedTuple):
    dataset: str
    data: Path
    grid: list[str]  # the part that is trained on, of so many images
    images: int
    categories: int


def shapes3d_files(folder: Path) -> Solids:
    pytest.importorskip("h5py", reason="needs the h5 extra")
    numbers = some_numbers(60)
    arrays = {"images": noise(60), "labels": values_of(numbers)}
    path = write_shapes3d(folder / "3dshapes.h5", arrays)
    return Solids("shapes3d", path, ["--grid", "shape=cylinder,sphere,3"], 45, 4)


def mpi3d_files(folder: Path) -> Solids:
    path = write_mpi3d(folder / "mpi3d_toy.npz", noise(48))
    return Solids("mpi3d", path, [], 48, 6)


@pytest.mark.parametrize("write", [shapes3d_files, mpi3d_files])
def test_train_evaluate_and_draw(
    write: Callable[[Path], Solids],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FASTJVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mpi3d, "_GRIDS", (SMALL_MPI3D,))
    solids, run = write(tmp_path), tmp_path / "run"
    argv = ["train", solids.dataset, "--data-root", str(solids.data), "--out", str(run)]
    argv += ["--steps", "2", "--image-size", "32", "32", "--device", "cpu", "--no-figures"]
    assert main([*argv, *solids.grid]) == 0
    assert f"{solids.images} images of 3x32x32" in capsys.readouterr().out
    training = json.loads((run / "config.json").read_text())["training"]
    assert training["grid"] == solids.grid[1:]
    assert training["disc"] == [solids.categories]

    assert main(["evaluate", str(run), "--json"]) == 0
    evaluation = json.loads(capsys.readouterr().out)
    assert evaluation["images"] == solids.images
    assert evaluation["variables"][0]["accuracy_majority"] is not None  # of the shape
    assert {*evaluation["scores"]} >= {"factor_vae", "mig", "sap"}

    assert main(["figures", "reconstructions", str(run)]) == 0
    assert (run / "figures" / "reconstructions.png").stat().st_size > 0
