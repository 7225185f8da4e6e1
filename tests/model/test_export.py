from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from saved import SIZE, SPEC, same, small_model

from fastjvae import load_published
from fastjvae.model.export import save_exported, save_published


def test_export_to_the_published_form(tmp_path: Path):
    model = small_model().eval()
    save_published(model, tmp_path, {"dataset": "mnist", "lr": [5e-4]})
    specs = json.loads((tmp_path / "specs.json").read_text())
    assert specs["latent_spec"] == SPEC
    assert specs["dataset"] == "mnist"
    loaded = load_published(tmp_path)
    assert same(model, loaded)
    assert loaded.temperature == 0.5


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # PyTorch 2.11's own
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_export_computes_the_same(tmp_path: Path, dtype: torch.dtype):
    model = small_model().eval().to(dtype)
    save_exported(model, tmp_path)
    x = torch.rand(5, *SIZE, dtype=dtype)
    encoder = torch.export.load(str(tmp_path / "encoder.pt2")).module()
    decoder = torch.export.load(str(tmp_path / "decoder.pt2")).module()
    params = encoder(x)
    torch.testing.assert_close(params, model.encode_params(x))
    for rows in (1, 5):
        sample = torch.rand(rows, model.latent_dim, dtype=dtype)
        torch.testing.assert_close(decoder(sample), model.decode(sample))
