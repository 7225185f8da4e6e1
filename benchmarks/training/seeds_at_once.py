"""Seeds in processes that share the threads, beside one after the other with all of them."""

import time

from benchmarks.training.loops import trainer_loop
from benchmarks.training.problems import Problem
from benchmarks.training.processes import Spread, Task, ratio, workers


def seeds_at_once(
    problem: Problem,
    images: int,
    *,
    rounds: int,
    steps: int,
    at_most_s: float,
    processes: int = 2,
    threads: int = 2,
) -> Spread:
    """How many times longer some trainings take in turn than at once, on the same cores.

    Args:
        problem: what all train, with fastjvae's trainer.
        images: in the data set of each.
        rounds: blocks of each way, in turns.
        steps: of a block, of each training.
        at_most_s: no round begins later, but for the first three.
        processes: trainings at once.
        threads: that they share, and that each has in turn.
    """
    task = Task(trainer_loop, (problem, images), steps)
    with (
        workers(
            {f"seed {number}": task for number in range(processes)},
            threads=max(1, threads // processes),
        ) as several,
        workers({"in turn": task}, threads=threads) as wide,
    ):
        for worker in (*several.values(), *wide.values()):
            worker.ready()
            worker.run(2)
        at_once: list[float] = []
        in_turn: list[float] = []
        begin = time.perf_counter()
        for number in range(rounds):
            if number >= 3 and time.perf_counter() - begin > at_most_s:
                break
            since = time.perf_counter()
            for worker in several.values():
                worker.start(steps)
            for worker in several.values():
                worker.wait()
            at_once.append(time.perf_counter() - since)
            since = time.perf_counter()
            for _ in range(processes):
                wide["in turn"].run(steps)
            in_turn.append(time.perf_counter() - since)
    return ratio(in_turn, at_once)
