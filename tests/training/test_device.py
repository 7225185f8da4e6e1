from __future__ import annotations

import pytest
import torch

from fastjvae.errors import (
    ArgumentError,
)
from fastjvae.model.device import resolve_device
from fastjvae.training.device import cpu_has_bfloat16


def test_devices_by_name():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(ArgumentError, match="the device meta cannot be used"):
        resolve_device("meta")
    for name in ("gpu", "meta:x"):
        right = rf"the device must be cpu, cuda, cuda:1, \.\.\. or auto, got '{name}'$"
        with pytest.raises(ArgumentError, match=right):
            resolve_device(name)


@pytest.mark.parametrize("has", ["_is_avx512_bf16_supported", "_is_amx_tile_supported"])
def test_a_cpu_has_bfloat16_by_either_of_its_units(has: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: True)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False)
    assert not cpu_has_bfloat16()
    monkeypatch.setattr(torch.cpu, has, lambda: True)
    assert cpu_has_bfloat16()
    monkeypatch.setattr("torch.backends.mkldnn.is_available", lambda: False)
    assert not cpu_has_bfloat16()
