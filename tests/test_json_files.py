from __future__ import annotations

import json
from pathlib import Path

import pytest

from fastjvae.errors import DataError
from fastjvae.files import parse_json, read_json, write_json


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
