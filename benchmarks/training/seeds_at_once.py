"""Two seeds in two processes of one thread at once, beside one after the other with two threads."""

import time

from benchmarks.training.loops import trainer_loop
from benchmarks.training.problems import Problem
from benchmarks.training.processes import Spread, Task, ratio, workers


def seeds_at_once(
    problem: Problem, images: int, *, rounds: int, steps: int, at_most_s: float
) -> Spread:
    """How many times longer two trainings take in turn than at once, on the same two cores.

    Args:
        problem: what both train, with fastjvae's trainer.
        images: in the data set of each.
        rounds: blocks of each way, in turns.
        steps: of a block, of each training.
        at_most_s: no round begins later, but for the first three.
    """
    task = Task(trainer_loop, (problem, images), steps)
    with (
        workers({"one": task, "other": task}, threads=1) as both,
        workers({"in turn": task}, threads=2) as wide,
    ):
        for worker in (*both.values(), *wide.values()):
            worker.ready()
            worker.run(2)
        at_once: list[float] = []
        in_turn: list[float] = []
        begin = time.perf_counter()
        for number in range(rounds):
            if number >= 3 and time.perf_counter() - begin > at_most_s:
                break
            since = time.perf_counter()
            for worker in both.values():
                worker.start(steps)
            for worker in both.values():
                worker.wait()
            at_once.append(time.perf_counter() - since)
            since = time.perf_counter()
            for _ in range(2):
                wide["in turn"].run(steps)
            in_turn.append(time.perf_counter() - since)
    return ratio(in_turn, at_once)
