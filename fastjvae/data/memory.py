"""Data sets larger than memory: how much there is of it, and arrays that stay on disk."""

from __future__ import annotations

import re
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from fastjvae._system import free_memory

if TYPE_CHECKING:
    from hashlib import _Hash

# What one data set may take of the free memory, of the machine or of a GPU. The rest is for the
# model, its activations and the graphs' pools, and for other processes, such as the runs of a
# sweep beside each other.
SHARE = 0.25

_MEMINFO = Path("/proc/meminfo")
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")  # /proc/meminfo is the whole machine's

# Hashing 16 MiB takes about 10 ms, so that Ctrl-C is heard in the middle of a large file.
_HASHED_AT_ONCE = 2**24

_SMALL = 2**26  # bytes, which any machine has that trains


def available() -> int:
    """Bytes of main memory that are free; the largest int where the system does not say."""
    limits = []
    with suppress(OSError):
        found = re.findall(r"^MemAvailable:\s*(\d+) kB", _MEMINFO.read_text(), re.MULTILINE)
        limits += [int(kib) * 1024 for kib in found]
    with suppress(OSError, ValueError):  # the file says "max" where there is no limit
        limits.append(int(_CONTAINER_LIMIT.read_text()))
    if not limits and (free := free_memory()) is not None:
        limits.append(free)
    return min(limits, default=sys.maxsize)


def fits(size: int, share: float = SHARE) -> bool:
    """Whether ``size`` bytes fit into that share of the free main memory."""
    return size <= share * available()


def check_room(size: int) -> None:
    """Refuse what does not fit into the free memory at all; says nothing of small sizes, bytes.

    Raises:
        ValueError: there is less memory.
    """
    if size > _SMALL and size > (free := available()):
        raise ValueError(
            f"it takes {size / 2**30:,.1f} GiB of memory, where {free / 2**30:,.1f} GiB are free"
        )


def tensor_on(array: npt.NDArray[Any]) -> torch.Tensor:
    """A contiguous array as a tensor on the same memory, also where that is read-only."""
    flat = array.reshape(-1)  # of a size that is 1, numpy's strides may not be torch's
    with warnings.catch_warnings():
        if not array.flags.writeable:
            warnings.filterwarnings("ignore", "The given NumPy array is not writ", UserWarning)
        return torch.from_numpy(flat).view(array.shape)


def update_hash(digest: _Hash, array: npt.NDArray[Any]) -> None:
    """Hashes the bytes of a contiguous array, without a copy of it."""
    flat = array.reshape(-1).view(np.uint8)
    for start in range(0, flat.size, _HASHED_AT_ONCE):
        digest.update(flat[start : start + _HASHED_AT_ONCE].data)
