"""What the documentation shows works as it stands there: code, commands, links, numbers."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from examples import some
from pages import blocks, broken_links, fastjvae_commands, inline_code

from fastjvae import JointVAE
from fastjvae.cli.parser import parse
from fastjvae.model.onnx_files import save_onnx
from fastjvae.training.seeds import seeds_folder

DOCS = ROOT / "docs"
# The tutorial has a test that runs it; the page of results is made by a program.
PAGES = {
    path.stem: path
    for path in [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
    if path.stem not in ("tutorial", "results")
}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
SHORTER = {"steps=100,": "steps=2,", "fit(images,": "fit(images, steps=2,"}
# Their examples train, draw and grow trees.
SLOW = {
    "README",
    "data",
    "export",
    "few-labels",
    "figures",
    "metrics",
    "python",
}
PLACEHOLDERS = {"COMMAND", "DATASET", "--help"}


def commands_of(text: str) -> list[tuple[str, ...]]:
    code = [*blocks(text, "sh"), *(c for c in inline_code(text) if c.startswith("fastjvae "))]
    return [tuple(words) for each in code for words in fastjvae_commands(each)]


@pytest.mark.parametrize("page", [*PAGES, "tutorial"])
def test_every_link_leads_somewhere(page: str) -> None:
    assert broken_links(PAGES.get(page, DOCS / f"{page}.md")) == []


def test_the_readme_leads_to_every_page() -> None:
    for page in DOCS.glob("*.md"):
        assert f"(docs/{page.name})" in TEXTS["README"]


@pytest.mark.parametrize(
    "words",
    some(
        dict.fromkeys(
            words
            for text in TEXTS.values()
            for words in commands_of(text)
            if len(words) > 1 and PLACEHOLDERS.isdisjoint(words)
        ),
        few=12,
    ),
    ids=" ".join,
)
def test_every_command_is_one_that_the_parser_takes(words: tuple[str, ...]) -> None:
    parse(list(words))


@pytest.mark.parametrize("page", PAGES)
def test_no_two_runs_of_a_block_share_a_folder(page: str) -> None:
    """Who runs one command after the other is not refused in the folder of another run."""
    for block in blocks(TEXTS[page], "sh"):
        runs: dict[str, Any] = {}
        for words in fastjvae_commands(block):
            if words[0] not in ("train", "infogan") or "--resume" in words or "--help" in words:
                continue
            command: Any = parse(words)
            run = replace(command.config, jobs=None)
            folder = run.run_folder if run.seeds is None else str(seeds_folder(run))
            assert runs.setdefault(folder, run) == run, words


@pytest.mark.parametrize(
    "page",
    some(
        sorted((page for page in TEXTS if blocks(TEXTS[page], "python")), key=SLOW.__contains__),
        few=6,
    ),
)
def test_the_python_examples_run_one_after_the_other(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", np.random.default_rng(0).integers(0, 256, (120, 16, 16), dtype=np.uint8))
    np.save("labels.npy", np.arange(120) % 3)
    logged: list[dict[str, float]] = []
    for tracker, function in (("wandb", "log"), ("mlflow", "log_metrics")):

        def log(numbers: dict[str, float], step: int) -> None:
            logged.append(numbers)

        stand_in = SimpleNamespace(**{function: log}, init=lambda **given: None)
        monkeypatch.setitem(sys.modules, tracker, stand_in)  # type: ignore[arg-type]
    names: dict[str, Any] = {"__name__": page}
    if page == "export":
        _exported_model(tmp_path, monkeypatch)
    for example in blocks(TEXTS[page], "python"):
        for longer, shorter in SHORTER.items():
            example = example.replace(longer, shorter)
        exec(example, names)
    if page == "own-loop":
        assert names["reconstruction"].shape == (8, 1, 32, 32)
        assert names["images"].shape == (1497, 1, 32, 32)
    if page == "python":
        assert len(logged) == 2
        assert all(numbers["loss"] > 0 for numbers in logged)
    if page == "export":
        assert names["reconstruction"].shape == names["images"].shape
        assert names["model"].latent_spec == names["spec"]
    if page == "metrics":
        assert set(names["scores"]) > {"factor_vae", "beta_vae", "mig", "sap"}


def _exported_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model as ONNX in a folder and as what the Hub has."""
    for library in ("onnxscript", "onnxruntime"):
        pytest.importorskip(library, reason="needs the extra onnx")
    model = JointVAE((1, 16, 16), {"cont": 10, "disc": [10]})
    save_onnx(model, folder)
    model.save_pretrained(folder / "hub")
    hub = SimpleNamespace(snapshot_download=lambda *_, **__: str(folder / "hub"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)  # type: ignore[arg-type]


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for code in [*blocks(TEXTS[page], "sh"), *inline_code(TEXTS[page])]:
        for target in re.findall(r"^make (\w[\w-]*)", code, flags=re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


@pytest.mark.parametrize(("page", "number"), [("types", 9), ("few-labels", 4), ("cpu", 8)])
def test_accuracies_and_errors_are_those_of_the_results_page(page: str, number: int) -> None:
    spreads = re.findall(r"[\d.]+ ± [\d.]+", TEXTS[page])
    assert len(spreads) == number
    assert [s for s in spreads if s not in (DOCS / "results.md").read_text()] == []
