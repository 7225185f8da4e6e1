"""What the README shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from fastjvae.cli.parser import parse

README = (ROOT / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_python_examples_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    examples = _blocks("python")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for example in examples:
        assert len([line for line in example.splitlines() if line.strip()]) <= 13
        exec(example, names)
    assert names["reconstruction"].shape == (8, 1, 32, 32)
    assert names["images"].shape == (1497, 1, 32, 32)
    assert set(names["scores"]) > {"factor_vae", "beta_vae", "mig", "sap"}


@pytest.mark.parametrize(
    "line",
    [
        line
        for block in _blocks("sh")
        for line in block.replace("\\\n", " ").splitlines()
        if "fastjvae " in line
    ],
)
def test_every_command_is_one_that_the_parser_takes(line: str):
    words = line.split("#")[0].split()
    words = words[words.index("fastjvae") :]  # behind torchrun and its flags
    parse(words[1:])


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
