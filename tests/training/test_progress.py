"""What a reader of stderr sees of a training."""

from __future__ import annotations

import io
import re
import sys

import pytest

from fastjvae.training import progress
from fastjvae.training.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Cell(io.StringIO):
    """As ipykernel's stream, which is no terminal."""


Cell.__module__ = "ipykernel.iostream"


class Broken(Terminal):
    def write(self, _: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise ValueError("I/O operation on closed file")


class BrokenFile(Broken):
    def isatty(self) -> bool:
        return False


def _train(steps: int = 6, every: int = 2, left_s: float = 0.0) -> None:
    shown = Progress()
    with shown.training(0, steps):
        for step in range(1, steps + 1):
            shown.advance()
            if step % every == 0:
                shown.record(f"loss {step}", left_s)
            if step == 3:
                shown.say("look here")


@pytest.mark.parametrize("kind", [Terminal, Cell])
def test_a_bar_where_lines_can_be_written_over(
    kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
):
    stream = kind()
    monkeypatch.setattr(sys, "stderr", stream)
    _train(left_s=100.0)
    text = stream.getvalue()
    assert text.count("fastjvae: 4 more steps, about 01:40 at the speed of the first 2\n") == 1
    assert "100%" in text
    assert "6/6" in text
    assert "loss 6" in text
    assert re.search(r"(^|[\r\n])fastjvae: look here\n", text)


def test_elsewhere_a_line_at_first_then_one_a_minute_and_at_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = Progress()
    with shown.training(step=100, total=110):
        for step in range(101, 111):
            now[0] += 25.0
            shown.advance()
            shown.record(f"loss {step}", left_s=25.0 * (110 - step))
    assert capsys.readouterr().err.splitlines() == [
        "step 101 of 110: loss 101, 03:45 left",
        "step 104 of 110: loss 104, 02:30 left",
        "step 107 of 110: loss 107, 01:15 left",
        "step 110 of 110: loss 110",
    ]


@pytest.mark.parametrize("stream", [None, Broken(), BrokenFile()])
def test_a_stream_that_takes_nothing_ends_no_training(
    stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(sys, "stderr", stream)
    _train()
    assert capsys.readouterr().out == ""


def test_one_of_several_processes_shows_it(capsys: pytest.CaptureFixture[str]):
    shown = Progress(shown=False)
    with shown.training(0, 1):
        shown.advance()
        shown.record("loss 1", 0.0)
        shown.say("look here")
    assert capsys.readouterr().err == ""
