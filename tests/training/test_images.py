from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import tiny_config, write_arrays
from torch.utils.data import DataLoader, TensorDataset

from fastjvae.errors import (
    ArgumentError,
)
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.trainer import Trainer


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


@pytest.mark.parametrize("change", [lambda x: 255 * x, lambda x: (x - 0.13) / 0.31])
def test_a_loaders_images_have_to_be_between_0_and_1(data: Path, tmp_path: Path, change: Any):
    images = torch.rand(8, 1, 16, 16)
    loader = DataLoader(TensorDataset(change(images)), batch_size=4)
    with pytest.raises(ArgumentError, match=r"between 0 and 1, got values .* do not normalise"):
        Trainer(tiny_config(data), loader, RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
