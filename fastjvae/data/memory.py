"""Data sets larger than memory: how much there is of it, and arrays that stay on disk."""

from __future__ import annotations

import errno
import os
import re
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch

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


def available() -> int:
    """Bytes of main memory that are free; the largest int where the system does not say."""
    limits = []
    with suppress(OSError):
        found = re.findall(r"^MemAvailable:\s*(\d+) kB", _MEMINFO.read_text(), re.MULTILINE)
        limits += [int(kib) * 1024 for kib in found]
    with suppress(OSError, ValueError):  # the file says "max" where there is no limit
        limits.append(int(_CONTAINER_LIMIT.read_text()))
    if not limits:
        with suppress(AttributeError, OSError, ValueError):
            limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits, default=sys.maxsize)


def fits(size: int, share: float = SHARE) -> bool:
    """Whether ``size`` bytes fit into that share of the free main memory."""
    return size <= share * available()


def map_array(path: Path) -> npt.NDArray[Any]:
    """The array of a .npy file on a memory map: what is looked at is read, nothing else.

    Whoever writes to it changes a copy of the page in memory, never the file. Linux gives no such
    map to a file larger than the machine's memory; that one is read-only, and a write to it through
    a tensor, which torch does not forbid, ends the process.

    Raises:
        OSError, ValueError: the file cannot be read, or is no .npy file or a truncated one.
    """
    try:
        return _load(path, "c")
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        return _load(path, "r")


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


def _load(path: Path, mode: Literal["c", "r"]) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(path, mmap_mode=mode, allow_pickle=False)
    return array
