"""The machine and the versions that a result belongs to."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import fastjvae


def environment() -> dict[str, Any]:
    """Processor, GPU, threads and versions."""
    about: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": _version("triton"),
        "fastjvae": fastjvae.__version__,
    }
    if torch.cuda.is_available():
        about["device"] = torch.cuda.get_device_name()
        about["runtime"] = torch.version.cuda or torch.version.hip
    return about


def has_compiler() -> bool:
    """Whether torch.compile finds a C++ compiler, which it needs on a CPU."""
    return any(map(shutil.which, os.environ.get("CXX", "g++ clang++ cl").split()))


def _processor() -> str:
    """The model as Linux names it; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
