"""``fastjvae --version``: what a bug report needs to know of the machine."""

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from fastjvae._version import __version__
from fastjvae.model.device import resolve_device


def versions() -> str:
    """fastjvae's version in a first line of its own, then those below it, and the device."""
    found = {"Python": platform.python_version(), "torch": torch.__version__}
    found |= {name: _installed(name) for name in ("triton", "numpy")}
    below = ", ".join(f"{name} {number}" for name, number in found.items())
    return (
        f"fastjvae {__version__}\n{below}; {platform.system()} {platform.machine()}\n"
        f"device: {_device()}"
    )


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _device() -> str:
    """The device that ``--device auto`` takes, and what drives it."""
    device = resolve_device("auto")
    if device.type != "cuda":
        return f"{device}, threads: {torch.get_num_threads()}"
    runtime = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"HIP {torch.version.hip}"
    return f"{device}, {torch.cuda.get_device_name(device)}, {runtime}"
