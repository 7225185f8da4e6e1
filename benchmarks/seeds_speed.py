"""Several seeds at once on a CPU beside one after the other, with the same number of threads.

    OMP_NUM_THREADS=2 python -m benchmarks.seeds_speed --json seeds-speed.json

One process with all threads trains in turns with P processes that share them, for every P that is a
power of two. A ratio is steps per second of the P processes together over those of the one, in the
same round; all run the trainer with loading and logging, for batches of 64.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from benchmarks.environment import environment
from benchmarks.training.loops import trainer_loop
from benchmarks.training.problems import problem_of
from benchmarks.training.processes import Spread, Task, Worker, ratio, workers
from fastjvae.files import write_json

SIZES = ("32x32x1", "64x64x3")


def at_once_over_in_turn(
    size: str, processes: int, *, threads: int | None = None, rounds: int = 10,
    block_s: float = 2.0, images: int = 10_000, batch_size: int = 64,
) -> Spread:  # fmt: skip
    """Steps per second of some processes together, over those of one with as many threads.

    Args:
        size: of the images, such as 32x32x1.
        processes: that train at once.
        threads: of all of them together; by default those of this process.
        rounds: blocks of each.
        block_s: length of a block of the one process.
        images: in the data set.
        batch_size: images of a step.
    """
    threads = threads or torch.get_num_threads()
    task = Task(trainer_loop, (problem_of(size, batch_size), images))
    names = [f"process {number}" for number in range(processes)]
    with ExitStack() as stack:
        alone = stack.enter_context(workers({"alone": task}, threads))["alone"]
        together = [*stack.enter_context(_sharing(dict.fromkeys(names, task), threads)).values()]
        pool = stack.enter_context(ThreadPoolExecutor(processes))
        for worker in (alone, *together):
            worker.ready()
            worker.run(2)
        steps = max(1, round(block_s / alone.run(3)))

        def at_once() -> float:
            return max(pool.map(Worker.run, together, [steps] * processes))

        seconds: dict[str, list[float]] = {"alone": [], "together": []}
        for number in range(rounds):
            for name in sorted(seconds, reverse=bool(number % 2)):
                seconds[name].append(alone.run(steps) if name == "alone" else at_once() / processes)
    return ratio(seconds["alone"], seconds["together"])


def _sharing(tasks: dict[str, Task], threads: int) -> Any:
    """Processes that share the threads."""
    return workers(tasks, max(1, threads // len(tasks)))


def measure(threads: int) -> list[dict[str, Any]]:
    """A row for each size and number of processes."""
    counts = [2**power for power in range(1, threads.bit_length()) if 2**power <= threads]
    return [
        {
            "size": size,
            "processes": processes,
            "threads_each": max(1, threads // processes),
            "at_once_over_in_turn": at_once_over_in_turn(size, processes).to_json(),
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
        spread = row["at_once_over_in_turn"]
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
