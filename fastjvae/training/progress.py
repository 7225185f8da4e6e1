"""Shows that a training goes on: a bar where somebody watches, a line a minute elsewhere."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from tqdm import tqdm

from fastjvae.training.settings.run import PhaseConfig, ends_of

_BETWEEN_LINES_S = 60
_WORTH_SAYING_S = 10  # seconds that are left


class Progress:
    """The progress of a training, on stderr.

    On a terminal and in a notebook it is a bar. Elsewhere, such as in a log file, it is a line at
    the first and at the last record and in between at most one a minute. A stderr that is closed,
    or that nobody reads any more, ends no training.

    Args:
        shown: whether this process shows anything.
    """

    def __init__(self, shown: bool = True) -> None:
        self._shown = shown
        self._bar: Any = None
        self._step = self._total = self._first = 0
        self._said_s: float | None = None
        self._timed = False

    @contextmanager
    def training(self, step: int, total: int) -> Iterator[None]:
        """Show the block's steps, which begin behind ``step`` and end at ``total``."""
        self._step = self._first = step
        self._total = total
        self._said_s = None
        if self._shown and _is_watched(sys.stderr):
            self._bar = tqdm(
                total=total,
                initial=step,
                unit="step",
                dynamic_ncols=True,
                file=_Lenient(sys.stderr),
            )
        try:
            yield
        finally:
            if self._bar is not None:
                self._bar.close()
                self._bar = None

    def advance(self) -> None:
        """Count one more step."""
        self._step += 1
        if self._bar is not None:
            self._bar.update()

    def record(self, summary: str, left_s: float) -> None:
        """Show what was recorded of the last steps, and at first how long the rest will take.

        Args:
            summary: of the record.
            left_s: seconds to the end at the speed of the last steps.
        """
        if self._bar is not None and not self._timed and left_s >= _WORTH_SAYING_S:
            self.say(
                f"{self._total - self._step:,} more steps, about"
                f" {tqdm.format_interval(left_s)} at the speed of the first"
                f" {self._step - self._first:,}"
            )
        self._timed = True
        if self._bar is not None:
            self._bar.set_postfix_str(summary)
            return
        now_s = time.monotonic()
        ended = self._step >= self._total
        if self._said_s is None or ended or now_s >= self._said_s + _BETWEEN_LINES_S:
            self._said_s = now_s
            left = "" if ended else f", {tqdm.format_interval(left_s)} left"
            self._write(f"step {self._step:,} of {self._total:,}: {summary}{left}")

    def say(self, sentence: str) -> None:
        """Write a sentence, above the bar where there is one."""
        self._write(f"fastjvae: {sentence}")

    def _write(self, line: str) -> None:
        if not self._shown or sys.stderr is None:
            return
        stream = _Lenient(sys.stderr)
        if self._bar is None:
            stream.write(f"{line}\n")
            stream.flush()
        else:
            self._bar.clear()
            stream.write(f"{line}\n")
            self._bar.refresh()


def images_left(phases: Sequence[PhaseConfig], step: int, steps: int) -> int:
    """The images that a run of ``steps`` has still to train on after ``step``, in all phases."""
    return sum(
        max(0, end - max(phase.first, step)) * phase.config.batch_size
        for phase, end in zip(phases, ends_of(phases, steps), strict=True)
    )


def _is_watched(stream: Any) -> bool:
    """Whether lines can be written over: a terminal, or the output of a notebook's cell."""
    if stream is None:
        return False
    with suppress(AttributeError, ValueError, OSError):
        if stream.isatty():
            return True
    return type(stream).__module__.startswith("ipykernel.")


class _Lenient:
    """A text stream whose writes may fail in silence."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
