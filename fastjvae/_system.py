"""What operating systems do differently, in one place: Linux, macOS, Windows.

Every function asks for the system when it is called, so that a test can name another one.
"""

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

# What a file system answers where it has no such operation, and not where the operation fails.
NOT_OFFERED = frozenset(
    {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOTTY}
)

# Between two attempts to replace a file that somebody has open, 2.5 s in all.
_WAITS_S = tuple(0.01 * 2**attempt for attempt in range(8))
_NEW_PROCESS_GROUP = 0x200  # subprocess.CREATE_NEW_PROCESS_GROUP, which is there on Windows alone
# Windows' numbers for too little memory: of the process, of the machine, of its paging file.
_TOO_LITTLE_MEMORY = (8, 14, 1455)


def is_windows() -> bool:
    return sys.platform == "win32"


# --- files ----------------------------------------------------------------------------------------


def flush_file(path: Path) -> None:
    """Return when the content of a file is on the disk.

    macOS' fsync leaves it in the disk's own memory, which a power cut empties; Windows' wants a
    file that may be written to.
    """
    handle = os.open(path, os.O_RDWR if is_windows() else os.O_RDONLY)
    try:
        if sys.platform == "darwin" and _flushed_by_macos(handle):
            return
        os.fsync(handle)
    except OSError as error:
        if error.errno not in NOT_OFFERED:
            raise
    finally:
        os.close(handle)


def flush_folder(path: Path) -> None:
    """Return when the names in a folder are on the disk; Windows has no handle for that."""
    if not is_windows():
        flush_file(path)


def _flushed_by_macos(handle: int) -> bool:
    """Whether macOS has emptied the disk's memory, which not every file system lets it."""
    import fcntl

    try:
        fcntl.fcntl(handle, getattr(fcntl, "F_FULLFSYNC"))  # noqa: B009  mypy: not Linux'
    except OSError:
        return False
    return True


def replace_file(source: Path, target: Path) -> None:
    """Give a file another name, in the place of whatever file has it.

    Windows refuses that while anybody has the target open, which readers of ours, indexers and
    virus scanners do for moments.
    """
    for wait_s in _WAITS_S if is_windows() else ():
        try:
            source.replace(target)
        except PermissionError:
            time.sleep(wait_s)
        else:
            return
    source.replace(target)


def folder_identity(folder: Path) -> tuple[int, int] | Path:
    """What is the same of a folder under all its names.

    Raises:
        OSError: it cannot be read.
    """
    status = folder.stat()
    if status.st_ino == 0:  # as on some network drives of Windows
        return folder.resolve()
    return status.st_dev, status.st_ino


# --- memory ---------------------------------------------------------------------------------------


def free_memory() -> int | None:
    """Bytes of main memory that are free; of a Linux without /proc all there are; or None."""
    if sys.platform != "linux":
        with suppress(ImportError):
            import psutil

            return int(psutil.virtual_memory().available)
    with suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def is_too_little_memory(error: OSError) -> bool:
    """Whether a map of a file failed because it is larger than the memory that it may take."""
    return error.errno == errno.ENOMEM or getattr(error, "winerror", None) in _TOO_LITTLE_MEMORY


# --- processes and terminals ----------------------------------------------------------------------


def is_running(process: int) -> bool | None:
    """Whether a process of this machine is there; None where asking for it would end it."""
    if is_windows():
        return None
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it is there, and another user's
        return True
    return True


def end_signals() -> list[signal.Signals]:
    """The signals by which this system asks a program to end.

    A terminal that is closed sends SIGHUP, which ``nohup`` has a process ignore; Windows' console
    sends SIGBREAK.
    """
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    found = [signal.Signals(getattr(signal, name)) for name in names if hasattr(signal, name)]
    return [
        number
        for number in found
        if number.name != "SIGHUP" or signal.getsignal(number) != signal.SIG_IGN
    ]


def terminate_self() -> None:
    """Send SIGTERM to this process. Windows' kill ends a process at once, and no handler runs."""
    if is_windows():
        signal.raise_signal(signal.SIGTERM)
    else:
        os.kill(os.getpid(), signal.SIGTERM)


def apart() -> dict[str, Any]:
    """What a ``Popen`` takes so that a Ctrl-C of the terminal reaches us and not the process."""
    return {"creationflags": _NEW_PROCESS_GROUP} if is_windows() else {"start_new_session": True}


def ask_to_stop(process: subprocess.Popen[bytes]) -> None:
    """Have a process stop that listens to SIGTERM and to the end of its input.

    On Windows its input ends: what ``terminate`` sends there lets it do nothing more.
    """
    if is_windows():
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
    else:
        process.terminate()


def is_closed_pipe(error: OSError) -> bool:
    """Whether nobody reads what was printed; Windows says that the argument is invalid."""
    if isinstance(error, BrokenPipeError):
        return True
    return is_windows() and error.errno == errno.EINVAL and error.filename is None


def takes_escapes() -> bool:
    """Whether the terminal understands escape sequences; Windows' console must be told to."""
    if is_windows():
        try:
            from colorama import just_fix_windows_console
        except ImportError:
            return False
        just_fix_windows_console()
    return True
