"""Several seeds at once on a CPU beside one after the other, with the same number of threads.

    OMP_NUM_THREADS=2 python -m benchmarks.seeds_speed --json seeds-speed.json

One process with all threads takes turns with P processes that share them, for every P that is a
power of two. All run the trainer with loading and logging, for batches of 64.
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from benchmarks.environment import environment
from benchmarks.training.problems import problem_of
from benchmarks.training.seeds_at_once import seeds_at_once
from fastjvae.files import write_json

SIZES = ("32x32x1", "64x64x3")


def measure(
    threads: int, *, rounds: int = 10, steps: int = 50, images: int = 10_000,
    batch_size: int = 64, at_most_s: float = 60.0,
) -> list[dict[str, Any]]:  # fmt: skip
    """A row for each size and number of processes; see :func:`seeds_at_once`."""
    counts = [2**power for power in range(1, threads.bit_length()) if 2**power <= threads]
    return [
        {
            "size": size,
            "processes": processes,
            "threads_each": max(1, threads // processes),
            "in_turn_over_at_once": seeds_at_once(
                problem_of(size, batch_size),
                images,
                rounds=rounds,
                steps=steps,
                at_most_s=at_most_s,
                processes=processes,
                threads=threads,
            ).to_json(),
        }
        for size in SIZES
        for processes in counts
    ]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args(arguments)
    about = environment()
    print(f"{about['processor']}, threads: {about['threads']}; torch {about['torch']}")
    rows = measure(torch.get_num_threads())
    for row in rows:
        spread = row["in_turn_over_at_once"]
        low, high = spread["iqr"]
        print(
            f"{row['size']}: {row['processes']} processes of {row['threads_each']} threads do"
            f" {spread['median']:.2f} ({low:.2f} - {high:.2f}) times the steps of one after the"
            f" other"
        )
    if options.json:
        write_json(options.json, {"about": about, "rows": rows})


if __name__ == "__main__":
    main()
