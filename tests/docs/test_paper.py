"""The page about the paper: its commands, links, numbers and settings are the project's."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT
from examples import some
from pages import blocks, broken_links, fastjvae_commands, inline_code

from fastjvae.cli.parser import parse
from fastjvae.training import recipe
from fastjvae.training.settings.objective import CapacityConfig

PAGE = ROOT / "docs" / "paper.md"
TEXT = PAGE.read_text()
_LARGEST = 125_000  # bytes of a picture


@pytest.mark.parametrize(
    "words",
    some(
        (
            words
            for code in [*inline_code(TEXT), *blocks(TEXT, "sh")]
            for words in fastjvae_commands(code)
        ),
        few=6,
    ),
    ids=" ".join,
)
def test_every_command_is_one_that_the_parser_takes(words: list[str]) -> None:
    parse(words)


def test_every_link_leads_somewhere() -> None:
    assert broken_links(PAGE) == []


def test_every_figure_has_a_row() -> None:
    rows = re.findall(r"^\| (\d+)[a-c, ]* \|", TEXT, flags=re.MULTILINE)
    assert {int(row) for row in rows} == set(range(2, 10))


def test_pictures_are_those_shown_and_small() -> None:
    kept = {path.name: path.stat().st_size for path in PAGE.with_suffix("").iterdir()}
    assert set(kept) == set(re.findall(r"!\[[^]]*\]\(paper/([^)]+)\)", TEXT))
    assert max(kept.values()) < _LARGEST


def test_results_are_those_of_the_results_page() -> None:
    results = (ROOT / "docs" / "results.md").read_text()
    claims = TEXT.partition("## Training")[0]
    spreads = re.findall(r"[\d.]+ ± [\d.]+ \([\d.]+\)", claims)
    accuracies = re.findall(r"\b0\.\d{3}\b", claims)
    assert len(spreads) >= 12
    assert [number for number in spreads + accuracies if number not in results] == []


@pytest.mark.parametrize("dataset", ["mnist", "fashion-mnist", "chairs", "celeba", "dsprites"])
def test_settings_are_those_of_the_recipe(dataset: str) -> None:
    paper = recipe(dataset, "paper")  # type: ignore[arg-type]  # one of the literals

    def capacity(of: CapacityConfig) -> str:
        return f"{of.hi:g}, {of.iters:,}, {of.gamma:g}"

    cells = (
        dataset,
        paper.cont,
        ", ".join(map(str, paper.disc)),
        capacity(paper.cont_capacity),
        capacity(paper.disc_capacity),
        paper.lr,
        paper.epochs,
    )
    assert f"| {' | '.join(map(str, cells))} |\n" in TEXT
    assert paper.batch_size == 64
