"""The device of a run, by the name that somebody gave it."""

from __future__ import annotations

import torch

from fastjvae.errors import ArgumentError


def resolve_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ... into a device that is there.

    Raises:
        ArgumentError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.Generator(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ArgumentError(f"--device {name} cannot be used here: {reason}") from error
    return device
