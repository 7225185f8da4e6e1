"""What the README shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from pages import blocks, fastjvae_commands

from fastjvae.cli.parser import parse

README = (ROOT / "README.md").read_text()


def test_the_python_examples_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    examples = blocks(README, "python")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for example in examples:
        assert len([line for line in example.splitlines() if line.strip()]) <= 13
        exec(example, names)
    assert names["reconstruction"].shape == (8, 1, 32, 32)
    assert names["images"].shape == (1497, 1, 32, 32)
    assert set(names["scores"]) > {"factor_vae", "beta_vae", "mig", "sap"}


@pytest.mark.parametrize(
    "words",
    [words for code in blocks(README, "sh") for words in fastjvae_commands(code)],
    ids=" ".join,
)
def test_every_command_is_one_that_the_parser_takes(words: list[str]):
    parse(words)


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
