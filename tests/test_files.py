from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fastjvae import files
from fastjvae.errors import DataError, RunError
from fastjvae.files import (
    parse_json,
    read_json,
    remove_leftovers,
    replacing,
    write_bytes,
    write_json,
)


def test_content_replaces_the_file_and_makes_its_folder(tmp_path: Path):
    path = tmp_path / "a" / "b.json"
    write_json(path, {"x": 1})
    write_json(path, {"x": 2})
    assert path.read_text() == '{\n  "x": 2\n}\n'
    assert [p.name for p in path.parent.iterdir()] == ["b.json"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyError):
        _fail_while_writing(path, KeyError())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_space_left_is_one_sentence(tmp_path: Path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(RunError, match=rf"cannot write {path}: No space left on device"):
        _fail_while_writing(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def _fail_while_writing(path: Path, error: Exception) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise error


def test_the_file_before_can_be_kept(tmp_path: Path):
    path, kept = tmp_path / "file", tmp_path / "kept"
    for content in (b"1", b"2", b"3"):
        write_bytes(path, content, keep=kept)
    assert (path.read_bytes(), kept.read_bytes()) == (b"3", b"2")


def test_a_disk_that_fails_at_the_last_moment_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, kept = tmp_path / "file", tmp_path / "kept"
    write_bytes(path, b"1", keep=kept)
    write_bytes(path, b"2", keep=kept)

    def full(_: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "flush_file", full)
    with pytest.raises(RunError, match="No space left"):
        write_bytes(path, b"3", keep=kept)
    assert (path.read_bytes(), kept.read_bytes()) == (b"2", b"1")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "kept"]


def test_leftovers_of_killed_writers_give_way_to_the_next_file(tmp_path: Path):
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom fastjvae.files import replacing\n"
        "with replacing(Path(sys.argv[1], 'checkpoint.pt')) as temporary:\n"
        "    temporary.write_text('half')\n    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["half"]
    foreign = [".notes.txt.a1b2c3d4.tmp", ".x.tmp", "notes.tmp"]
    for name in foreign:
        (tmp_path / name).write_text("precious")
    write_bytes(tmp_path / "new", b"1")
    assert {p.name for p in tmp_path.iterdir()} == {*foreign, "new"}


def test_writers_that_live_keep_their_files(tmp_path: Path):
    others = tmp_path / ".fastjvae-00000000-1-0a1b2c3d.tmp"  # of another machine
    others.touch()
    with replacing(tmp_path / "file") as temporary:
        remove_leftovers(tmp_path)
        assert temporary.exists()
    assert others.exists()
    two_days_ago = time.time() - 2 * 86_400
    os.utime(others, (two_days_ago, two_days_ago))
    remove_leftovers(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def _refused(number: int) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO])
def test_a_folder_that_cannot_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
):
    fsync = os.fsync

    def of_files(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            _refused(number)()
        fsync(handle)

    monkeypatch.setattr(os, "fsync", of_files)
    write_bytes(tmp_path / "file", b"1")
    assert (tmp_path / "file").read_bytes() == b"1"


def test_a_file_that_is_not_on_disk_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_bytes(tmp_path / "file", b"1")
    monkeypatch.setattr(os, "fsync", _refused(errno.EIO))
    with pytest.raises(RunError, match="Input/output error"):
        write_bytes(tmp_path / "file", b"2")
    monkeypatch.setattr(os, "fsync", _refused(errno.ENOSYS))  # nobody could know
    write_bytes(tmp_path / "file", b"3")
    assert (tmp_path / "file").read_bytes() == b"3"


def test_permissions_that_cannot_be_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("chmod", "fchmod"):
        monkeypatch.setattr(os, name, _refused(errno.EPERM))
    write_bytes(tmp_path / "file", b"1")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~_umask()


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_is_kept_is_never_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
):
    path, kept = tmp_path / "file", tmp_path / "kept"
    write_bytes(path, b"1", keep=kept)
    replace = Path.replace
    there: list[bool] = []

    def watched(self: Path, target: Path) -> Path:
        done = replace(self, target)
        there.append(path.exists())
        return done

    monkeypatch.setattr(Path, "replace", watched)
    if not links:
        monkeypatch.setattr(os, "link", _refused(errno.EPERM))
    for content in (b"2", b"3"):
        write_bytes(path, content, keep=kept)
    assert (path.read_bytes(), kept.read_bytes()) == (b"3", b"2")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "kept"]
    assert all(there)


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*file/inner: "):
        write_json(tmp_path / "file" / "inner", 1)


# --- JSON -----------------------------------------------------------------------------------------


def test_what_is_written_is_json(tmp_path: Path):
    value = {"a": [1.5, float("nan"), (float("inf"), None)], "b": {"c": -float("inf"), "d": True}}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name)) == {
        "a": [1.5, None, [None, None]],
        "b": {"c": None, "d": True},
    }


def test_older_files_are_read():
    assert parse_json('{"a": NaN}')["a"] != parse_json('{"a": NaN}')["a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "is not readable JSON: it is nested too deeply"),
        (b"{", "is not readable JSON: "),
        (b"\xff\xff", "is not readable JSON: "),
        (b"1" * 5000, "is not readable JSON: "),
    ],
)
def test_what_is_no_json_is_one_sentence(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"x.json {message}") as error:
        read_json(path, DataError)
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match="cannot be read"):
        read_json(tmp_path, DataError)
