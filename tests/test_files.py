from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fastjvae import files
from fastjvae.errors import RunError
from fastjvae.files import remove_leftovers, replacing, write_bytes, write_json


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

    monkeypatch.setattr(files, "_sync", full)
    with pytest.raises(RunError, match="No space left"):
        write_bytes(path, b"3", keep=kept)
    assert (path.read_bytes(), kept.read_bytes()) == (b"2", b"1")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "kept"]


def test_leftovers_of_killed_writers_are_removed(tmp_path: Path):
    (tmp_path / ".checkpoint.pt.x1.tmp").write_text("half")
    (tmp_path / "notes.tmp").write_text("precious")
    remove_leftovers(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.tmp"]


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*file/inner: "):
        write_json(tmp_path / "file" / "inner", 1)
