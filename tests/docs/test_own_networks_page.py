"""The residual networks of the examples work at both sizes, and the page has their numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT

import fastjvae
from benchmarks.own_networks import MARKS, Case, compared, table
from fastjvae.cli import main

EXAMPLES = ROOT / "docs" / "examples"
PAGE = (ROOT / "docs" / "own-networks.md").read_text(encoding="utf-8")
RESULTS = ROOT / "benchmarks" / "results" / "own-networks.json"


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)


def residual(width: int, **more: int) -> dict[str, Any]:
    args = {"width": width, **more}
    return {
        "encoder": "resnet:ResNetEncoder", "encoder_args": args,
        "decoder": "resnet:ResNetDecoder", "decoder_args": args,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("size", "stages"), [((1, 64, 64), 4), ((3, 128, 128), 5), ((1, 24, 40), 2), ((1, 28, 28), 2)]
)
def test_residual_networks_take_every_even_size(size: tuple[int, int, int], stages: int) -> None:
    model = fastjvae.JointVAE(size, {"cont": 3, "disc": [4]}, **residual(4, blocks=2))
    x = torch.rand(2, *size)
    model.loss(x, 1).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    strided = [m for m in model.encoder.modules() if getattr(m, "stride", None) == (2, 2)]
    assert len(strided) == stages
    assert model.encode_hidden(x).shape == (2, 256)


def test_sides_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(fastjvae.errors.ArgumentError, match="at least 8 pixels, got 27x27"):
        fastjvae.JointVAE((1, 27, 27), {"cont": 3}, **residual(4))


def test_the_command_of_the_page_trains_and_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = ["shape=0,1", "scale=5", "orientation=0", "x=0..31/6", "y=0..31/6"]
    names = ["--encoder", "resnet:ResNetEncoder", "--decoder", "resnet:ResNetDecoder"]
    args = ["--encoder-args", '{"width": 4}', "--decoder-args", '{"width": 4}']
    flags = ["--grid", *grid, "--steps", "2", "--batch-size", "8", "--no-figures"]
    out = ["--out", str(tmp_path / "run"), "--device", "cpu"]
    assert main(["train", "sprites", *names, *args, *flags, *out]) == 0
    capsys.readouterr()
    assert main(["evaluate", str(tmp_path / "run"), *names, "--scores", "none", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reconstruction"] > 0


def test_the_comparison_measures_both_on_the_same_images() -> None:
    standard, own = compared(Case(64, 2, 4))
    assert (standard["networks"], own["networks"]) == ("standard", "residual")
    for each in (standard, own):
        assert each["steps"] == 2
        assert (each["images"], each["held_out"]) == (1497, 300)
        assert each["mean_image"] == standard["mean_image"]
    assert standard["reconstruction"] != own["reconstruction"]
    assert standard["weights"] != own["weights"]


def test_the_page_has_what_was_measured() -> None:
    first, last = MARKS
    section = PAGE.partition(first)[2].partition(last)[0].strip()
    measured = RESULTS.exists()
    assert section == (table(json.loads(RESULTS.read_text())) if measured else "Not measured yet.")
