"""What other systems do, as far as stand-ins on this one can tell."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import tiny_config, write_arrays
from torch.utils.data import DataLoader, TensorDataset

from fastjvae import _system, backend, errors, files
from fastjvae.cli import program
from fastjvae.data import memory, npy
from fastjvae.data.batches.loader import LoaderBatches
from fastjvae.data.pictures import pictures_below
from fastjvae.files import replacing, write_bytes
from fastjvae.functional import kl_gaussian
from fastjvae.functional.backends import choice
from fastjvae.model import JointVAE
from fastjvae.training import seeds_at_once
from fastjvae.training.run_folder import MetricsLog, RunFolder
from fastjvae.training.seeds import train_seeds
from fastjvae.training.signals import stop_signals


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_system, "sys", SimpleNamespace(platform="win32"))


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_system, "sys", SimpleNamespace(platform="darwin"))


# --- files ----------------------------------------------------------------------------------------


def _opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Grows by the name and the flags of everything that is opened to be flushed."""
    found: list[tuple[str, int]] = []
    real = os.open

    def noted(path: Any, flags: int, *mode: int) -> int:
        found.append((Path(path).name, flags))
        return real(path, flags, *mode)

    monkeypatch.setattr(os, "open", noted)
    return found


@pytest.mark.usefixtures("windows")
def test_windows_flushes_a_file_that_it_may_write_and_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = _opened(monkeypatch)
    write_bytes(tmp_path / "file", b"1")
    (made, _), (flushed, flags) = opened
    assert made == flushed
    assert flags == os.O_RDWR  # FlushFileBuffers takes no other handle
    assert (tmp_path / "file").read_bytes() == b"1"


@pytest.mark.usefixtures("windows")
@pytest.mark.parametrize("refusals", [3, 100])
def test_windows_replaces_a_file_once_nobody_reads_it(
    tmp_path: Path, refusals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    waits: list[float] = []
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if len(waits) < refusals and target == path:
            raise PermissionError(errno.EACCES, "The process cannot access the file")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(_system, "time", SimpleNamespace(sleep=waits.append))
    if refusals == 3:
        write_bytes(path, b"new")
        assert path.read_bytes() == b"new"
        assert len(waits) == 3
        return
    with pytest.raises(errors.RunError, match=r"cannot write .*file: The process cannot access"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    assert sum(waits) < 3


def test_elsewhere_nobody_waits_for_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path, target: Path) -> Path:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "replace", refused)
    monkeypatch.setattr(_system, "time", SimpleNamespace(sleep=pytest.fail))
    with pytest.raises(errors.RunError, match="Permission denied"):
        write_bytes(tmp_path / "file", b"new")


@pytest.mark.usefixtures("macos")
@pytest.mark.parametrize("offered", [True, False])
def test_macos_empties_the_memory_of_the_disk(
    tmp_path: Path, offered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[int] = []

    def command(handle: int, number: int) -> None:
        commands.append(number)
        if not offered:
            raise OSError(errno.ENOTSUP, "not on this file system")

    flushed: list[int] = []
    stand_in = SimpleNamespace(fcntl=command, F_FULLFSYNC=51)
    monkeypatch.setitem(sys.modules, "fcntl", stand_in)  # type: ignore[arg-type]
    monkeypatch.setattr(os, "fsync", flushed.append)
    write_bytes(tmp_path / "file", b"1")
    assert commands == [51, 51]  # the file's, and the folder's
    assert len(flushed) == (0 if offered else 2)


@pytest.mark.usefixtures("windows")
def test_windows_asks_no_process_whether_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kill would end the process, or its whole console."""
    monkeypatch.setattr(os, "kill", pytest.fail)
    with replacing(tmp_path / "file") as temporary:
        name = temporary.name
        temporary.write_bytes(b"1")
    left = tmp_path / name
    for age_s, stays in ((0, True), (2 * 86_400, False)):
        left.touch()
        os.utime(left, (time.time() - age_s,) * 2)
        files.remove_leftovers(tmp_path)
        assert left.exists() is stays


def test_lines_of_a_log_end_alike_on_every_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = io.open

    def as_windows(path: Any, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if "b" not in mode and options.get("newline") is None:
            options["newline"] = "\r\n"
        return real(path, mode, *rest, **options)

    log = MetricsLog(RunFolder(tmp_path), 0)
    monkeypatch.setattr(io, "open", as_windows)  # which Path.open calls
    log.append({"step": 1})
    assert log.path.read_bytes() == b'{"step": 1}\n'


def test_pictures_have_one_order_on_every_system(tmp_path: Path) -> None:
    """Windows compares paths without regard to case, which would divide images otherwise."""
    names = ["B/x.png", "a/Y.png", "a/b/x.png", "a/x.png", "a-b/x.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in pictures_below(tmp_path)]
    assert found == names


def test_a_drive_that_numbers_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").touch()
    (tmp_path / "one" / "again").symlink_to(tmp_path, target_is_directory=True)
    expected = pictures_below(tmp_path)
    assert len(expected) == 2
    real = Path.stat

    def without_number(self: Path, **options: Any) -> Any:
        real(self, **options)
        return SimpleNamespace(st_dev=0, st_ino=0)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", without_number)
        found = pictures_below(tmp_path)
    assert found == expected


# --- memory ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_free_memory_is_psutils_word(
    tmp_path: Path, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "no")
    monkeypatch.setattr(memory, "_CONTAINER_LIMIT", tmp_path / "no")
    monkeypatch.setattr(_system, "sys", SimpleNamespace(platform=platform))
    free = SimpleNamespace(virtual_memory=lambda: SimpleNamespace(available=12345))
    monkeypatch.setitem(sys.modules, "psutil", free)  # type: ignore[arg-type]
    assert memory.available() == 12345
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.delattr(os, "sysconf")
    assert memory.available() == sys.maxsize


def test_psutil_is_asked_for_what_it_has() -> None:
    psutil = pytest.importorskip("psutil", reason="fastjvae needs it on macOS and Windows alone")
    assert 0 < psutil.virtual_memory().available < 2**60


class _WindowsError(OSError):
    """An error as Windows raises it."""

    winerror = 1455  # the paging file is too small


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOMEM, "no memory"), _WindowsError(errno.EINVAL, "paging file")]
)
def test_a_file_larger_than_memory_is_mapped_to_be_read(
    tmp_path: Path, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "x.npy", np.arange(6))
    real = np.memmap

    def memmap(path: Path, dtype: Any, mode: str, *rest: Any) -> Any:
        if mode == "c":
            raise error
        return real(path, dtype, mode, *rest)  # type: ignore[call-overload]

    monkeypatch.setattr(np, "memmap", memmap)
    mapped = npy.map_array(tmp_path / "x.npy")
    assert mapped.tolist() == [0, 1, 2, 3, 4, 5]
    assert not mapped.flags.writeable


def test_another_error_of_a_map_is_no_lack_of_memory() -> None:
    assert not _system.is_too_little_memory(OSError(errno.EACCES, "denied"))


# --- signals and processes ------------------------------------------------------------------------


def test_a_console_of_windows_that_is_closed_ends_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "SIGHUP")
    assert _system.end_signals() == [signal.SIGINT, signal.SIGTERM]
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)
    before = signal.getsignal(signal.SIGUSR1)
    with stop_signals() as stopped:
        signal.raise_signal(signal.SIGUSR1)
        assert stopped.signal == signal.SIGUSR1
    assert signal.getsignal(signal.SIGUSR1) == before


@pytest.mark.usefixtures("windows")
def test_a_process_of_windows_stops_itself_by_its_handler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", pytest.fail)  # TerminateProcess, there
    with stop_signals() as stopped:
        thread = threading.Thread(target=_system.terminate_self)
        thread.start()
        thread.join()
        deadline = time.monotonic() + 60
        while not stopped:
            assert time.monotonic() < deadline
        assert stopped.signal == signal.SIGTERM


# Stands for a training process: stops when its input ends, as by SIGTERM.
_PROCESS = """
import sys
sys.stdin.readline()
print("waiting", flush=True)
sys.stdin.read()
print("stopped with a checkpoint", flush=True)
sys.exit(143)
"""


@pytest.mark.usefixtures("windows")
def test_seeds_of_windows_are_stopped_by_the_end_of_their_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeds_at_once, "apart", dict)  # this system has no such flag
    monkeypatch.setattr(subprocess.Popen, "terminate", pytest.fail)
    folder = tmp_path / "seeds"
    logs = [folder / "seed0.log", folder / "seed1.log"]

    stops: list[int] = []

    def sleep(_: float) -> None:  # between two looks at the processes
        time.sleep(0.01)
        waiting = all(log.exists() and "waiting" in log.read_text() for log in logs)
        if waiting and not stops:
            stops.append(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(seeds_at_once, "time", SimpleNamespace(sleep=sleep))
    code = train_seeds(
        tiny_config(write_arrays(tmp_path)), [0, 1], folder, pytest.fail,
        command=[sys.executable, "-c", _PROCESS], jobs=2,
    )  # fmt: skip
    assert code == 128 + signal.SIGINT
    for log in logs:
        assert log.read_text().endswith("stopped with a checkpoint\n")


@pytest.mark.usefixtures("windows")
def test_a_ctrl_c_of_windows_does_not_reach_a_group_of_its_own() -> None:
    (name,) = _system.apart()
    assert name == "creationflags"
    assert _system.apart()[name] == getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200)


@pytest.mark.usefixtures("windows")
def test_a_reader_of_windows_that_has_seen_enough(capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    assert program._exit_code(run) == 141
    assert capsys.readouterr().err == ""


def test_an_invalid_argument_is_one_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    assert program._exit_code(run) == 1
    assert capsys.readouterr().err == "fastjvae: Invalid argument\n"


@pytest.mark.usefixtures("windows")
@pytest.mark.parametrize("there", [True, False])
def test_a_console_of_windows_learns_escapes(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    stand_in = SimpleNamespace(just_fix_windows_console=lambda: told.append(True))
    monkeypatch.setitem(sys.modules, "colorama", stand_in if there else None)  # type: ignore[arg-type]
    assert _system.takes_escapes() is there
    assert told == [True] * there


def test_a_loader_whose_workers_are_spawned() -> None:
    """As on macOS and Windows, where nothing is inherited and everything is pickled."""
    images = torch.rand(8, 1, 4, 4)
    loader = DataLoader(
        TensorDataset(images), batch_size=4, num_workers=1, multiprocessing_context="spawn"
    )
    batches = LoaderBatches(loader, torch.device("cpu"), seed=0)
    try:
        assert torch.equal(torch.cat([batches.select(0), batches.select(1)]), images)
    finally:
        batches.close()


# --- triton ---------------------------------------------------------------------------------------


def test_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_TRITON_FOUND", False)
    x = torch.zeros(4, 3)
    assert kl_gaussian(x, x).tolist() == [0, 0, 0]
    sentence = r"asked for, but the package triton is not installed \(it is made for Linux\)$"
    with backend("triton"), pytest.raises(errors.BackendError, match=sentence):
        kl_gaussian(x, x)
    model = JointVAE((1, 16, 16), {"cont": 2})
    with pytest.raises(errors.BackendError, match=rf"^networks='triton' was {sentence}"):
        model.use_networks("triton")


# What a machine without triton must do: import everything, train a step, be asked for kernels.
_WITHOUT_TRITON = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "triton":
            raise ModuleNotFoundError("No module named 'triton'", name="triton")
sys.meta_path.insert(0, Absent())
sys.modules["triton"] = None
import torch
import fastjvae.training
model = fastjvae.JointVAE((1, 16, 16), {"cont": 2, "disc": [3]})
model.loss(torch.rand(4, 1, 16, 16), step=1).loss.backward()
try:
    model.use_networks("triton")
except fastjvae.errors.BackendError as error:
    print(error)
"""


def test_everything_but_the_kernels_runs_without_triton() -> None:
    environment = {name: text for name, text in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TRITON],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the package triton is not installed (it is made for Linux)" in done.stdout
