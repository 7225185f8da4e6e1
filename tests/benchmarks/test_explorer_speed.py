"""``python -m benchmarks.explorer``: in small, and its committed numbers on the page about it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from browsers import need_browser
from conftest import ROOT
from PIL import Image

from benchmarks import explorer
from benchmarks.browser import browser
from fastjvae import JointVAE


def test_drags_are_counted_and_pages_photographed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    need_browser()
    monkeypatch.setattr(explorer, "DRAGS", 2)
    monkeypatch.setattr(explorer, "SECONDS", 0.4)
    monkeypatch.setitem(explorer.SIZES, "16x16x1", ((1, 16, 16), {"cont": 2, "disc": [3]}))
    JointVAE((1, 16, 16), {"cont": 2, "disc": [3]}).save_pretrained(tmp_path / "model")
    with browser() as driver:
        row = explorer.measure(driver, "16x16x1", tmp_path)
        explorer.take_picture(driver, str(tmp_path / "model"), tmp_path / "page.png")
    assert len(row["pictures_per_s"]) == 2
    assert min(row["pictures_per_s"]) > 0
    assert row["decode_ms"] > 0
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.size == (1280, 1000)


def test_the_page_in_the_documentation_has_the_measured_numbers():
    result = json.loads((ROOT / "benchmarks/results/explorer.json").read_text())
    page = (ROOT / "docs/explorer.md").read_text()
    rows = re.findall(
        r"^\| (\d+x\d+x\d), .*\| ([\d.]+) MB \| ([\d.]+) ms \| (\d+) pictures", page, re.M
    )
    assert rows == [
        (
            size["name"],
            f"{size['page_bytes'] / 1e6:.1f}",
            f"{size['decode_ms']:.1f}",
            f"{size['median_pictures_per_s']:.0f}",
        )
        for size in result["sizes"]
    ]
    assert f"Chromium {result['environment']['chromium'].split('.')[0]}," in page
    assert (ROOT / "docs/explorer.png").stat().st_size < explorer.MOST_BYTES
