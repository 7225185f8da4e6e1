"""Files that a reader sees whole, old or new, while they are written; and JSON without NaN."""

import json
import math
import os
import platform
import re
import secrets
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from fastjvae._numbers import shown
from fastjvae._system import flush_file, flush_folder, is_running, replace_file
from fastjvae.errors import ArgumentError, CheckpointError, FastJVAEError, RunError

# A temporary file says whose it is: the machine, the process.
_TEMPORARY = re.compile(r"\.fastjvae-([0-9a-f]{8})-([0-9]+)-[0-9a-f]{8}\.tmp")
_A_DAY_S = 86_400

_cleaned: set[Path] = set()  # folders that this process has looked through for leftovers


@contextmanager
def replacing(path: Path, keep: Path | None = None) -> Iterator[Path]:
    """Yield a temporary file in the folder of ``path`` that takes its place when the block ends.

    The data are on disk before the rename. If the block fails the temporary file is removed and
    ``path`` stays as it was. The file that was there before becomes ``keep``, if given; at every
    moment there is a file at ``path``. A process's first file in a folder takes the place of what
    killed writers have left there.

    Raises:
        RunError: the file cannot be written; names it and the reason.
    """
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder not in _cleaned:
            _cleaned.add(folder)
            remove_leftovers(folder)
        temporary = _new_name(folder)
        # Made by open, not by tempfile, it has the permissions that the umask and the folder give.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield temporary
        flush_file(temporary)
        if keep is not None and path.exists():
            _keep(path, keep)
        replace_file(temporary, path)
        with suppress(OSError):  # the file is in place; not every file system has this for folders
            flush_folder(folder)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, keep: Path | None = None) -> None:
    """Write ``content``, atomically; see :func:`replacing`.

    What a library serialises goes through memory and this function, because the libraries' own
    writers answer a full disk with errors of their own, or abort.
    """
    with replacing(path, keep) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; a number that is not finite is null."""
    write_bytes(path, (to_json(value, indent=2) + "\n").encode())


def remove_leftovers(folder: Path) -> None:
    """Remove what writers of ours that are no more have left in ``folder``; nobody else's files.

    A process of this machine is asked for, but on Windows; another one is taken for dead after a
    day.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            if (match := _TEMPORARY.fullmatch(path.name)) and _is_leftover(path, *match.groups()):
                with suppress(OSError):
                    path.unlink()


def printable(name: str) -> str:
    r"""The name of a file as text that can be shown; what is no UTF-8 in it as ``\udce9``."""
    return name.encode(errors="backslashreplace").decode()


def cannot_write(path: Path, error: OSError) -> RunError:
    """One sentence for an OSError met while writing ``path``."""
    return RunError(f"cannot write {path}: {error.strerror or error}")


def _new_name(folder: Path) -> Path:
    return folder / f".fastjvae-{_machine()}-{os.getpid()}-{secrets.token_hex(4)}.tmp"


def _is_leftover(path: Path, machine: str, process: str) -> bool:
    running = is_running(int(process)) if machine == _machine() else None
    if running is not None:
        return not running
    return time.time() - path.stat().st_mtime > _A_DAY_S


@cache
def _machine() -> str:
    """Eight digits for what a process number belongs to: a machine, and a container on it."""
    name = platform.node()
    with suppress(OSError):
        name += str(Path("/proc/self/ns/pid").readlink())
    return f"{zlib.crc32(name.encode(errors='surrogateescape')):08x}"


def _keep(path: Path, keep: Path) -> None:
    """Make ``keep`` the file at ``path``, which stays there."""
    link = _new_name(path.parent)
    try:
        try:
            os.link(path, link)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, link)
        replace_file(link, keep)
    finally:
        link.unlink(missing_ok=True)  # where both were one file already, the rename did nothing


# --- JSON -----------------------------------------------------------------------------------------


def to_json(value: Any, indent: int | None = None) -> str:
    """JSON of a value; a number that is not finite is null.

    >>> to_json({"reconstruction": float("nan"), "kl": [0.5, float("inf")]})
    '{"reconstruction": null, "kl": [0.5, null]}'
    """
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def parse_json(text: str | bytes) -> Any:
    """The value of JSON, also of older files with NaN and Infinity.

    Raises:
        ValueError: it is no JSON, or nested too deeply for any file of ours.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def json_object(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The values as they come back from JSON, with lists for tuples.

    Raises:
        ArgumentError: JSON has no form of a value; ``name`` says what they are.
    """
    try:
        found: dict[str, Any] = json.loads(json.dumps(dict(values), allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(
            f"{name} must be a JSON object, of numbers, texts, lists and objects by name, got"
            f" {shown(values)}"
        ) from error
    return found


def read_json(path: Path, error: type[FastJVAEError] = CheckpointError) -> Any:
    """Read a JSON file.

    Raises:
        FastJVAEError: the file is missing, cannot be read or is no JSON; of the class ``error``.
    """
    try:
        return parse_json(path.read_bytes())
    except FileNotFoundError:
        raise error(f"{path} is missing") from None
    except OSError as reason:
        raise error(f"{path} cannot be read: {reason.strerror or reason}") from reason
    except ValueError as reason:
        raise error(f"{path} is not readable JSON: {reason}") from reason


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return value
