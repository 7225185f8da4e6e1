"""Processes that take turns: one works while the others wait at their pipes.

What is compared runs in one process each, because a setting such as that of the allocator holds for
a whole process. They work in short blocks of steps, one process at a time and round after round, so
that whatever else the machine does hits all alike; every other round goes backwards, so that a
steady drift cancels. A ratio is taken within each round.

A task is a function that is given :class:`Turns` and takes one step for each::

    def task(turns, size):
        work = prepare(size)
        turns.facts["prepared"] = True    # the parent reads it before anything is timed
        while turns.wait():
            work.step()

It lies in a module that can be imported, and so do its arguments' types.
"""

import multiprocessing
import signal
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch


class WorkerError(Exception):
    """A process failed or ended before it was told to."""


class Task(NamedTuple):
    """What one process does.

    ``steps`` is the length of a block, by default as many as take ``block_s`` seconds;
    ``untimed`` steps before each block fill the caches that another process has used meanwhile.
    """

    function: Callable[..., None]
    arguments: tuple[Any, ...] = ()
    steps: int | None = None
    untimed: int = 1


class Spread(NamedTuple):
    """Median and quartiles."""

    median: float
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        return {"median": self.median, "iqr": [self.low, self.high]}


class Measured(NamedTuple):
    """What :func:`alternate` found out about one process."""

    seconds: list[float]  # per step, one number for each block
    steps: int  # of a block
    facts: dict[str, Any]  # what the task said of itself
    peak_mib: float | None  # largest resident memory of the process
    imports_mib: float | None  # what of it was there before the task began


# --- in the process -------------------------------------------------------------------------------


class Turns:
    """The steps that the parent asks for."""

    def __init__(self, connection: Connection) -> None:
        self.facts: dict[str, Any] = {}
        self._connection = connection
        self._left = self._timed = 0
        self._since: float | None = None
        self._answered = False

    def wait(self) -> bool:
        """Return when a step is wanted, at once within a block; False when there are no more."""
        if self._left == 0:
            if not self._answered:
                self._connection.send(("ready", self.facts))
                self._answered = True
            if self._since is not None:
                synchronize()
                self._connection.send(("block", time.perf_counter() - self._since))
                self._since = None
            order = self._connection.recv()
            if order is None:
                return False
            untimed, self._timed = order
            self._left = untimed + self._timed
        if self._left == self._timed:
            synchronize()
            self._since = time.perf_counter()
        self._left -= 1
        return True


def synchronize() -> None:
    """Wait for a GPU, if this process uses one."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def peak_mib() -> float | None:
    """Largest resident memory of this process so far, in MiB; None where Linux does not say it.

    Not ``ru_maxrss``, which a process inherits from the one that started it.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), None)


def _serve(
    connection: Connection, threads: int, function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its processes
    try:
        torch.set_num_threads(threads)
        imports_mib = peak_mib()
        turns = Turns(connection)
        function(turns, *arguments)
        connection.send(("end", (turns.facts, peak_mib(), imports_mib)))
    except Exception:
        connection.send(("error", traceback.format_exc()))


# --- in the parent --------------------------------------------------------------------------------


class Worker:
    """One process, seen from the parent.

    Raises:
        WorkerError: of any call, when the process failed; with its traceback.
    """

    def __init__(self, name: str, task: Task, threads: int) -> None:
        self.name, self.task = name, task
        context = _context()
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, threads, task.function, task.arguments), daemon=True
        )
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the pipe

    def ready(self) -> dict[str, Any]:
        """Wait until it is prepared; the facts that it reports."""
        return self._answer("ready")  # type: ignore[no-any-return]

    def run(self, steps: int) -> float:
        """Run a block; seconds per step."""
        self.start(steps)
        return self.wait() / steps

    def start(self, steps: int) -> None:
        """Let it begin a block, which :meth:`wait` waits for."""
        self._order((self.task.untimed, steps))

    def wait(self) -> float:
        """Seconds that the block has taken which it was let begin."""
        return self._answer("block")  # type: ignore[no-any-return]

    def end(self) -> tuple[dict[str, Any], float | None, float | None]:
        """Let it come to its end; the last three fields of :class:`Measured`."""
        self._order(None)
        result: tuple[dict[str, Any], float | None, float | None] = self._answer("end")
        self._process.join()
        return result

    def kill(self) -> None:
        self._process.kill()  # a task may have its own handlers of gentler signals
        self._process.join()
        self._connection.close()

    def _order(self, order: tuple[int, int] | None) -> None:
        try:
            self._connection.send(order)
        except OSError:
            self._fail_ended()

    def _answer(self, expected: str) -> Any:
        try:
            kind, content = self._connection.recv()
        except (EOFError, OSError):
            self._fail_ended()
        if kind == "error":
            raise WorkerError(f"{self.name} failed:\n{content}")
        if kind != expected:
            raise WorkerError(f"{self.name} answered {kind!r} instead of {expected!r}")
        return content

    def _fail_ended(self) -> Any:
        self._process.join()
        raise WorkerError(f"{self.name} ended with exit code {self._process.exitcode}") from None


@contextmanager
def workers(tasks: Mapping[str, Task], threads: int | None = None) -> Iterator[dict[str, Worker]]:
    """A process for each task, by name; all have ended when the block is left.

    Args:
        tasks: by name.
        threads: of each process; by default those of this one.
    """
    started: dict[str, Worker] = {}
    try:
        for name, task in tasks.items():
            started[name] = Worker(name, task, threads or torch.get_num_threads())
        yield started
    finally:
        for worker in started.values():
            worker.kill()


def alternate(
    tasks: Mapping[str, Task],
    *,
    rounds: int,
    block_s: float = 0.5,
    at_most_s: float = float("inf"),
    check: Callable[[str, dict[str, Any]], None] = lambda name, facts: None,
) -> dict[str, Measured]:
    """Run the tasks in turns.

    Args:
        tasks: by name.
        rounds: blocks of each.
        block_s: length of a block, where the task does not say.
        at_most_s: no round begins later than this, but for the first three.
        check: gets the name and the facts of each process before anything is timed; raises.

    Raises:
        WorkerError: a process failed; all have ended.
    """
    with workers(tasks) as started:
        for name, worker in started.items():
            check(name, worker.ready())
        steps: dict[str, int] = {}
        for name, worker in started.items():
            worker.run(1)  # the first steps allocate, and compilers and libraries plan
            seconds = worker.run(2)
            steps[name] = tasks[name].steps or max(1, round(block_s / seconds))
        blocks: dict[str, list[float]] = {name: [] for name in tasks}
        begin = time.perf_counter()
        for number in range(rounds):
            if number >= 3 and time.perf_counter() - begin > at_most_s:
                break
            for name in list(tasks)[:: -1 if number % 2 else 1]:
                blocks[name].append(started[name].run(steps[name]))
        ends = {name: worker.end() for name, worker in started.items()}
    return {name: Measured(blocks[name], steps[name], *ends[name]) for name in tasks}


def _context() -> Any:
    """How processes start: from one that has imported torch already, where that is possible.

    A process that has looked for a GPU cannot be forked.
    """
    if torch.cuda.is_available() or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # Every optimizer of PyTorch imports the second one, which takes seconds.
    context.set_forkserver_preload(["benchmarks.training.processes", "torch._dynamo"])
    return context


# --- numbers --------------------------------------------------------------------------------------


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles; of a single value, itself."""
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def ratio(above: Sequence[float], below: Sequence[float]) -> Spread:
    """Spread of the quotients of blocks of the same round."""
    return spread([a / b for a, b in zip(above, below, strict=True)])
