from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import tiny_config

from fastjvae.files import to_json
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.seeds_progress import SeedsProgress, newest_record, table
from fastjvae.training.settings.run import RunConfig

_RECORD: dict[str, Any] = {
    "step": 1_250,
    "reconstruction": 112.34,
    "kl_cont": [1.5, 2.0],
    "kl_disc": [2.25],
    "images_per_s": 1312.4,
}


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        """What one sees: lines that were gone up over and erased are not."""
        lines: list[str] = []
        for part in re.split(r"(\x1b\[\d+A\x1b\[J)", self.getvalue()):
            if up := re.match(r"\x1b\[(\d+)A", part):
                del lines[-int(up[1]) :]
            else:
                lines += part.splitlines()
        return lines


def _config(tmp_path: Path, seed: int) -> RunConfig:
    return tiny_config(tmp_path / "x.npz", seed=seed, steps=2_700, out=str(tmp_path / f"s{seed}"))


def _write(config: RunConfig, *records: dict[str, Any], end: str = "") -> None:
    run = RunFolder(config.run_folder)
    run.path.mkdir(exist_ok=True)
    run.metrics_file.write_text("".join(to_json(each) + "\n" for each in records) + end)


def test_one_table_that_is_drawn_again_below_what_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    terminal, now_s = _Terminal(), 0.0
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "20")
    progress = SeedsProgress(3, clock=lambda: now_s)
    first, second = _config(tmp_path, 0), _config(tmp_path, 11)
    with progress.shown():
        for config in (first, second):
            progress.begin(config)
        progress.look()
        assert terminal.screen() == []  # a second has to pass
        _write(first, _RECORD)
        now_s = 1.5
        progress.look()
        assert terminal.screen() == [
            "seed            step  reconstruction  KL of z  KL of c  images/s",
            "   0  1,250 of 2,700           112.3     3.50     2.25     1,312",
            "  11          starts                                            ",
            "0 of 3 have ended, 1 wait",
        ]
        progress.end(first)
        progress.say("seed 0: finished")
        assert terminal.screen() == ["seed 0: finished"]
        now_s = 3.0
        progress.look()
        assert terminal.screen()[0] == "seed 0: finished"
        assert terminal.screen()[-1] == "1 of 3 have ended, 1 wait"
    assert terminal.screen() == ["seed 0: finished"]


def test_a_table_is_no_higher_and_no_wider_than_its_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    terminal, now_s = _Terminal(), 0.0
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("LINES", "10")
    progress = SeedsProgress(50, clock=lambda: now_s)
    for seed in range(20):
        config = _config(tmp_path, seed)
        _write(config, _RECORD)
        progress.begin(config)
    now_s = 2.0
    progress.look()
    lines = terminal.screen()
    assert len(lines) == 10
    assert max(map(len, lines)) < 30
    assert lines[-2] == "and 13 more that train"


def test_elsewhere_a_line_for_each_run_a_minute(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    now_s = 0.0
    progress = SeedsProgress(2, clock=lambda: now_s)
    config = _config(tmp_path, 4)
    progress.begin(config)
    _write(config, _RECORD)
    now_s = 59.0
    progress.look()
    assert capsys.readouterr().err == ""
    for now_s in (61.0, 62.0):  # noqa: B007  the clock's
        progress.look()
    assert capsys.readouterr().err == (
        "seed 4: step 1,250 of 2,700: reconstruction 112.3, KL of z 3.50, KL of c 2.25,"
        " images/s 1,312\n"
    )


def test_runs_of_another_kind_have_other_columns(tmp_path: Path):
    record = {"step": 5, "discriminator_loss": 1.25, "generator_loss": None, "images_per_s": 10.0}
    heading, row = table([(_config(tmp_path, 3), record)])
    assert heading.split() == ["seed", "step", "discriminator", "generator", "images/s"]
    assert row.split() == ["3", "5", "of", "2,700", "1.25", "n/a", "10"]


def test_the_newest_record_is_the_last_whole_one(tmp_path: Path):
    config = _config(tmp_path, 0)
    run = RunFolder(config.run_folder)
    assert newest_record(run) is None
    _write(config)
    assert newest_record(run) is None
    _write(config, _RECORD, {**_RECORD, "step": 1_300}, end='{"step": 1350, "reconstr')
    assert newest_record(run) == {**_RECORD, "step": 1_300}
    _write(config, *({**_RECORD, "step": step} for step in range(5_000)))
    assert newest_record(run) == {**_RECORD, "step": 4_999}
    _write(config, end="5\n")
    assert newest_record(run) is None
