"""Several runs that train at once: a table on a terminal, lines where there is none."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from fastjvae._system import takes_escapes
from fastjvae.files import parse_json
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.run import RunConfig

_BETWEEN_TABLES_S = 1.0
_BETWEEN_LINES_S = 60.0
_TAIL = 2**16  # bytes; a record of a hundred variables has 4 kB

Records = Sequence[tuple[RunConfig, Mapping[str, Any] | None]]  # the newest of each run

# Entries of a record, their headings, and how they are shown; lists are added up.
_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("phase", "phase", "s"),
    ("reconstruction", "reconstruction", ".1f"),
    ("kl_cont", "KL of z", ".2f"),
    ("kl_disc", "KL of c", ".2f"),
    ("discriminator_loss", "discriminator", ".2f"),
    ("generator_loss", "generator", ".2f"),
    ("images_per_s", "images/s", ",.0f"),
)


class SeedsProgress:
    """Shows how far the runs are that train now.

    On a terminal it is one table on stderr, which is drawn again every second; elsewhere a line for
    each run at most once a minute. The numbers are those of the last line of ``metrics.jsonl``.

    Args:
        runs: all that are to be trained.
        clock: gives seconds.
    """

    def __init__(self, runs: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._runs, self._clock = runs, clock
        self._running: list[RunConfig] = []
        self._ended = 0
        is_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._on_terminal = is_terminal and takes_escapes()
        self._drawn = 0  # lines of the table that is on the terminal
        self._looked_s = clock()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Leave a terminal without the table."""
        try:
            yield
        finally:
            self._clear()

    def begin(self, config: RunConfig) -> None:
        """A run has begun."""
        self._running.append(config)

    def end(self, config: RunConfig) -> None:
        """A run has ended, in whatever way."""
        self._running.remove(config)
        self._ended += 1

    def say(self, line: str, stream: TextIO | None = None) -> None:
        """Write a line above the table, by default on stdout."""
        self._clear()
        print(line, file=stream or sys.stdout, flush=True)

    def look(self) -> None:
        """Show the numbers as they are now, where it is time to."""
        wait_s = _BETWEEN_TABLES_S if self._on_terminal else _BETWEEN_LINES_S
        if self._clock() < self._looked_s + wait_s:
            return
        self._looked_s = self._clock()
        records = [
            (config, newest_record(RunFolder(config.run_folder))) for config in self._running
        ]
        if self._on_terminal:
            self._draw(records)
            return
        for config, record in records:
            if record is not None:
                words = [f"{heading} {text}" for heading, text in _shown(record).items()]
                said = f"seed {config.seed}: step {_step(config, record)}: {', '.join(words)}"
                self._write(f"{said}\n")

    def _draw(self, records: Records) -> None:
        width, height = shutil.get_terminal_size()
        lines = table(records)
        if (hidden := len(lines) - max(2, height - 2)) > 0:
            lines = [*lines[:-hidden], f"and {hidden} more that train"]
        waiting = self._runs - self._ended - len(records)
        lines.append(f"{self._ended} of {self._runs} have ended, {waiting} wait")
        self._clear()
        self._write("".join(f"{line[: width - 1]}\n" for line in lines))
        self._drawn = len(lines)

    def _clear(self) -> None:
        if self._drawn:
            self._write(f"\x1b[{self._drawn}A\x1b[J")  # up so many lines; erase what is below
            self._drawn = 0

    @staticmethod
    def _write(text: str) -> None:
        with suppress(OSError, ValueError, AttributeError):  # nobody reads it any more
            sys.stderr.write(text)
            sys.stderr.flush()


def table(records: Records) -> list[str]:
    """The lines of the table: headings, then a row for each run; it may have no record yet."""
    shown = [_shown(record or {}) for _, record in records]
    headings = [heading for _, heading, _ in _COLUMNS if any(heading in row for row in shown)]
    rows = [["seed", "step", *headings]]
    for (config, record), row in zip(records, shown, strict=True):
        cells = [row.get(heading, "") for heading in headings]
        rows.append([str(config.seed), _step(config, record) if record else "starts", *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


def newest_record(run: RunFolder) -> dict[str, Any] | None:
    """The last whole record of a ``metrics.jsonl`` that a process is writing; None without one.

    Only the end of the file is read: a table asks for it every second.
    """
    try:
        with run.metrics_file.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            lines = file.read().split(b"\n")[:-1]  # behind the last end of a line, a part of one
        record = parse_json(lines[-1])
    except (OSError, ValueError, IndexError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("step"), int) else None


def _step(config: RunConfig, record: Mapping[str, Any]) -> str:
    of = f" of {config.steps:,}" if config.steps else ""
    return f"{record['step']:,}{of}"


def _shown(record: Mapping[str, Any]) -> dict[str, str]:
    """The numbers of a record as they are shown, by heading; null is n/a."""
    shown = {}
    for name, heading, form in _COLUMNS:
        if name in record:
            value = record[name]
            value = sum(value) if isinstance(value, list) and None not in value else value
            shown[heading] = format(value, form) if isinstance(value, int | float | str) else "n/a"
    return shown
