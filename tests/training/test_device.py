from __future__ import annotations

import pytest
import torch

from fastjvae.errors import (
    ArgumentError,
)
from fastjvae.training.device import resolve_device


def test_devices_by_name():
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "meta:x", "meta"):
        with pytest.raises(ArgumentError, match=f"--device {name} cannot be used"):
            resolve_device(name)
