"""The notebook runs as it stands, and the outputs that it is committed with are of its code."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from examples import EVERYTHING

NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"
SCRIPT = ROOT / "docs" / "run_quickstart.py"
_LARGEST = 300_000  # bytes


def _read(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return cells


def _kinds(cell: dict[str, Any]) -> list[list[str]]:
    """The forms of each output of a cell, without the progress of a training."""
    outputs = [each for each in cell.get("outputs", []) if each.get("name") != "stderr"]
    return [sorted(each.get("data", ["stdout"])) for each in outputs]


@pytest.fixture
def _notebook_packages() -> None:
    for package in ("nbclient", "ipykernel"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the extra notebook: {package} is not installed")


@pytest.mark.usefixtures("_notebook_packages")
def test_it_runs_and_ends_in_the_explorer(tmp_path: Path) -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert text.count("steps=600") == 1
    copy, whole = tmp_path / "copy.ipynb", tmp_path / "whole.ipynb"
    copy.write_text(text if EVERYTHING else text.replace("steps=600", "steps=10"), encoding="utf-8")
    # What tests set for themselves is no setting of a user's.
    outer = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "TRITON"))}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(copy), "--whole", str(whole)],
        env=outer, capture_output=True, text=True, timeout=550,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    committed, kept, shown = map(_read, (NOTEBOOK, copy, whole))
    assert [_kinds(cell) for cell in kept] == [_kinds(cell) for cell in committed]
    (explorer,) = shown[-1]["outputs"]
    html = "".join(explorer["data"]["text/html"])
    assert 'srcdoc="&lt;!doctype html&gt;' in html
    assert len(html) > 1_000_000  # the model is in it


@pytest.mark.usefixtures("_notebook_packages")
def test_its_outputs_are_of_its_code() -> None:
    spec = importlib.util.spec_from_file_location("run_quickstart", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    notebook = script.nbformat.read(NOTEBOOK, as_version=4)
    assert notebook.metadata["outputs_of"] == script.source_hash(notebook)


def test_it_is_small_and_shows_pictures() -> None:
    cells = _read(NOTEBOOK)
    assert len(cells) == 10
    assert NOTEBOOK.stat().st_size < _LARGEST
    assert sum("image/png" in kind for cell in cells for kind in _kinds(cell)) == 3
    assert "fit(images" in "".join(cells[3]["source"])
