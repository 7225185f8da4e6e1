"""Devices by name."""

import torch

from fastjvae.errors import ArgumentError


def resolve_device(name: str | torch.device) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ... into a device that is there.

    Raises:
        ArgumentError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:  # which lists all that torch has ever run on
        raise ArgumentError(
            f"the device must be cpu, cuda, cuda:1, ... or auto, got {name!r}"
        ) from error
    try:
        torch.Generator(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ArgumentError(f"the device {name} cannot be used here: {reason}") from error
    return device
