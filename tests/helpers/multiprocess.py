"""Functions that run on several processes at once, connected by gloo."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from programs import METHOD
from torch import multiprocessing

Work = Callable[[int, int], None]


def run_processes(work: Work, world: int) -> None:
    """Run ``work(rank, world)`` on every process; an exception of one ends all and is raised."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = (world, work, f"{folder}/store")
        multiprocessing.start_processes(_enter, arguments, nprocs=world, start_method=METHOD)


def _enter(rank: int, world: int, work: Work, store: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=Path(store).as_uri(),
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=60),
    )
    try:
        work(rank, world)
    finally:
        dist.destroy_process_group()
