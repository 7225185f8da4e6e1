"""Every command of the tutorial runs, and makes every picture that it shows."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image

SPEC = importlib.util.spec_from_file_location("run_tutorial", ROOT / "docs" / "run_tutorial.py")
assert SPEC is not None
assert SPEC.loader is not None
tutorial = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tutorial)

TEXT = tutorial.TUTORIAL.read_text()
SHORTER = {
    r"COUNT = \d+": "COUNT = 60",
    r"--steps \d+": "--steps 12",
    r"--animate-every \d+": "--animate-every 6 --steps 12",
}
_LARGEST = 300_000  # bytes


def test_every_command_runs_and_every_picture_comes_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = TEXT
    for pattern, shorter in SHORTER.items():
        text, count = re.subn(pattern, shorter, text)
        assert count
    monkeypatch.chdir(tmp_path)
    tutorial.run(text)
    shown = tutorial.linked_pictures(TEXT)
    assert len(shown) >= 5
    for path in shown:
        with Image.open(tmp_path / path) as made, Image.open(tutorial.PICTURES / path) as kept:
            assert made.format == kept.format
            assert kept.info.get("dpi") == made.info.get("dpi")


def test_the_kept_pictures_are_those_shown_and_small() -> None:
    kept = {p.relative_to(tutorial.PICTURES) for p in tutorial.PICTURES.rglob("*") if p.is_file()}
    assert kept == set(tutorial.linked_pictures(TEXT))
    for path in kept:
        assert (tutorial.PICTURES / path).stat().st_size < _LARGEST


def test_a_command_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for line in ("fastjvae evaluate absent", "ls absent", "python absent.py"):
        with pytest.raises(RuntimeError, match=f"failed: {line}"):
            tutorial.run(f"```sh\n{line}\n```\n")


def test_commands_go_on_behind_a_backslash() -> None:
    code = "# a comment\nfastjvae train digits \\\n    --steps 3  # few\nfastjvae evaluate run\n"
    assert tutorial.commands(code) == [
        ["fastjvae", "train", "digits", "--steps", "3"],
        ["fastjvae", "evaluate", "run"],
    ]
