"""Writing files so that a reader sees the old content or the complete new one, never a part."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fastjvae.errors import RunError


@contextmanager
def replacing(path: Path, keep: Path | None = None) -> Iterator[Path]:
    """Yield a temporary file in the folder of ``path`` that takes its place when the block ends.

    The data are on disk before the rename. If the block fails the temporary file is removed and
    ``path`` stays as it was. The file that was there before is renamed to ``keep``, if given.

    Raises:
        RunError: the file cannot be written; names it and the reason.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise cannot_write(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files
        if keep is not None and path.exists():
            path.replace(keep)
        temporary.replace(path)
        _sync(path.parent)
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
    """Write ``value`` as indented JSON, atomically."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of writers in ``folder`` that were killed."""
    for leftover in folder.glob(".*.tmp"):
        with suppress(OSError):
            leftover.unlink()


def cannot_write(path: Path, error: OSError) -> RunError:
    """One sentence for an OSError met while writing ``path``."""
    return RunError(f"cannot write {path}: {error.strerror or error}")


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows has no handle for a folder
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
