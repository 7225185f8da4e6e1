"""The command line, from words to an exit code; it loads what a command needs, and no more.

Results and notices go to stdout; progress, warnings and, last, one line ``fastjvae: ...`` with the
error to stderr. The exit code is 0, 1 for a failure, 2 for wrong usage, 128 + a signal.
"""

import io
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fastjvae._system import is_closed_pipe
from fastjvae.errors import FastJVAEError, OtherProcessError

_PACKAGE = str(Path(__file__).parents[1])
_BROKEN_PIPE = 141  # 128 + SIGPIPE, a signal that Windows does not name


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 for a failure, 2 for wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)

    def run() -> int:
        # Here, where a Ctrl-C is answered already: torch alone takes a second or two.
        if words == ["--version"]:
            from fastjvae.cli.version import versions

            print(versions())
            return 0
        from fastjvae.cli.parser import parse

        return parse(words).run()

    return _exit_code(run)


def train_from_stdin() -> int:
    """Train the run whose settings come on standard input: a seed beside others."""

    def run() -> int:
        from fastjvae.cli.training_runs import train_run
        from fastjvae.training.run_folder import RunFolder
        from fastjvae.training.seeds_at_once import settings_from_stdin

        config = settings_from_stdin()
        return train_run(config, RunFolder(config.run_folder))

    return _exit_code(run)


def _exit_code(run: Callable[[], int]) -> int:
    with _dependable_streams(), _warnings_in_a_line():
        try:
            try:
                return run()
            finally:
                sys.stdout.flush()  # what cannot be written shows here, not after the exit code
        except OtherProcessError as error:  # that process says it
            return error.exit_code
        except FastJVAEError as error:
            return _say(str(error), error.exit_code)
        except KeyboardInterrupt:
            return _say("interrupted", 128 + signal.SIGINT)
        except OSError as error:
            _drop_output()
            if is_closed_pipe(error):  # the reader of our output, such as head, has seen enough
                return _BROKEN_PIPE
            where = f"{error.filename}: " if error.filename else ""
            return _say(f"{where}{error.strerror or error}", 1)


def _say(message: str, code: int) -> int:
    with suppress(OSError):  # nobody listens
        print(f"fastjvae: {message}", file=sys.stderr, flush=True)
    return code


@contextmanager
def _dependable_streams() -> Iterator[None]:
    """Let nothing that is printed end a command: closed streams, and letters they do not have.

    A descriptor that was closed (``2>&-``) would be that of the next file that is opened, and what
    libraries print would go into it; it leads to the null device instead.
    """
    with suppress(OSError):
        while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(handle)
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w") as nothing:  # noqa: PTH123
        sys.stdout, sys.stderr = sys.stdout or nothing, sys.stderr or nothing
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # in ASCII; or a name that is not UTF-8
                stream.reconfigure(errors="backslashreplace")
        try:
            yield
        finally:
            sys.stdout, sys.stderr = before


@contextmanager
def _warnings_in_a_line() -> Iterator[None]:
    """Show the package's own warnings as its other lines, without a place in the source."""
    before = warnings.formatwarning

    def formatted(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        if issubclass(category, UserWarning) and filename.startswith(_PACKAGE):
            return f"fastjvae: {message}\n"
        return before(message, category, filename, lineno, line)

    warnings.formatwarning = formatted
    try:
        yield
    finally:
        warnings.formatwarning = before


def _drop_output() -> None:
    """Lead stdout to the null device if it takes nothing more, so that Python's exit is silent."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):  # such as a stream of a test, which has no descriptor
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
