"""SIGINT, SIGTERM and their like end a loop after the step at hand."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fastjvae._system import end_signals


class Stopped:
    """Whether a signal has come, and which one; ``signal`` is None until then."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def stop_signals() -> Iterator[Stopped]:
    """Let signals end the loop after the step at hand; a second one, at once.

    They are those by which the system asks a program to end, see
    :func:`fastjvae._system.end_signals`.
    """
    stopped = Stopped()
    if threading.current_thread() is not threading.main_thread():
        yield stopped  # only the main thread may set handlers
        return
    before = {number: signal.getsignal(number) for number in end_signals()}

    def stop(number: int, _frame: FrameType | None) -> None:
        stopped.signal = number
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
