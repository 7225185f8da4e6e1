"""Freed memory that stays in the process, on glibc.

glibc gives a large block back to the kernel when it is freed, so that the next training step's
activations fault in page by page once more. Without that, a step runs in memory that it has used
before.
"""

import ctypes
import sys

# Of malloc.h: never use a mapping of its own for a large block, nor shrink the heap at a free.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Keep freed blocks for later ones of this process; whether the C library knows how.

    The setting lasts as long as the process: its memory then stays at its peak.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _NEVER))
