from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from fastjvae.errors import RunError
from fastjvae.files import replacing, write_json


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


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*file/inner: "):
        write_json(tmp_path / "file" / "inner", 1)
