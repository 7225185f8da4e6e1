"""The blocks that the kernels run with: plain functions of sizes, no tuning at run time."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import torch
import triton

# Elements of a tile that one thread holds: one 128-bit access of float32. A kernel keeps about
# eight tiles alive at once, so 4 leaves room for them in 64 registers, with which 1,024 threads
# fill a multiprocessor. 128 threads are enough to hide the latency of their own instructions.
_PER_THREAD = 4
_FEWEST_THREADS, _MOST_THREADS = 128, 1024
# Each program writes one row of partials. 64 rows of the batch to one of partials keep that below
# a thirtieth of what is moved, in half precision, too; 128 programs and more are what a large GPU
# runs at once, and 1,024 are few enough to add up.
ROWS_PER_PARTIAL, FEW_PROGRAMS, MANY_PROGRAMS = 64, 128, 1024
# One program adds up all partials: 2 MiB of them, which is what wide rows come to otherwise, are
# as much as it should read.
_MOST_PARTIALS = 2**19

# The widest tile of a categorical variable that starts at a multiple of 4 below its first column:
# with 8 elements a thread the kernels spill registers.
_WIDEST = _MOST_THREADS * _PER_THREAD


class Tile(NamedTuple):
    """The tile that one program of the latent kernels works on at a time."""

    rows: int
    units: int
    categories: int
    exact: bool  # a variable's tile begins at its own first column
    threads: int


class Blocks(NamedTuple):
    """Launch configuration of the latent kernels."""

    tile: Tile
    programs: int
    rows_per_program: int


def latent_blocks(rows: int, units: int, sizes: tuple[int, ...]) -> Blocks:
    """Blocks for N rows, Z units and categorical variables of the given sizes."""
    tile = _tile(units, sizes)
    tiles = triton.cdiv(max(rows, 1), tile.rows)
    partials = units + len(sizes) + sum(sizes)
    most = min(MANY_PROGRAMS, rows // ROWS_PER_PARTIAL, _MOST_PARTIALS // partials)
    tiles_per_program = triton.cdiv(tiles, max(FEW_PROGRAMS, most))
    return Blocks(tile, triton.cdiv(tiles, tiles_per_program), tiles_per_program * tile.rows)


@lru_cache(maxsize=256)
def _tile(units: int, sizes: tuple[int, ...]) -> Tile:
    """A tile must hold a whole variable, because its softmax does; units are cut at 1,024."""
    largest = max(sizes, default=4)
    categories = power_of_2(max(_reach(sizes), 4))
    exact = categories > max(_WIDEST, power_of_2(largest))
    if exact:
        categories = power_of_2(largest)
    columns = min(1024, power_of_2(max(units, 4)))
    width = max(columns if units else 4, categories)
    threads = min(_MOST_THREADS, max(_FEWEST_THREADS, width // _PER_THREAD))
    rows = max(1, min(64, threads * _PER_THREAD // width))
    return Tile(rows, columns, categories, exact, threads)


def _reach(sizes: Sequence[int]) -> int:
    """Columns from the multiple of 4 below a variable's first column to its end, at most."""
    return max((s % 4 + n for s, n in zip(starts(sizes), sizes, strict=True)), default=0)


def starts(sizes: Sequence[int]) -> list[int]:
    """First column of each variable within the categorical part."""
    return list(accumulate(sizes, initial=0))[:-1]


def power_of_2(n: int) -> int:
    """The next power of 2, ``n`` included."""
    return int(triton.next_power_of_2(n))


def warps(threads: int, device: torch.device) -> int:
    """The warps that so many threads are."""
    return threads // _lanes(device)


@lru_cache(maxsize=64)
def _lanes(device: torch.device) -> int:
    """Threads of a warp: 64 on some AMD GPUs, 32 elsewhere."""
    if not torch.version.hip or device.type != "cuda":
        return 32
    return int(torch.cuda.get_device_properties(device).warp_size)
