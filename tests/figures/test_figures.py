"""Promises of all figures: models are left as they were, and wrong input is one sentence."""

import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from figure_checks import (
    cells,
    growth,
    model_of,
    record,
)
from matplotlib.figure import Figure
from torch import nn

from fastjvae import JointVAE, figures
from fastjvae.errors import ArgumentError


def test_models_are_shown_in_evaluation_mode_and_left_in_their_own() -> None:
    torch.manual_seed(0)
    decoder = nn.Sequential(
        nn.Linear(5, 64), nn.Dropout(0.5), nn.Linear(64, 256), nn.Unflatten(1, (1, 16, 16))
    )
    model = JointVAE((1, 16, 16), {"cont": 2, "disc": [3]}, decoder=decoder)
    model.encoder.eval()  # a frozen part of a model in training
    before = {name: module.training for name, module in model.named_modules()}
    batches: list[int] = []
    handle = decoder.register_forward_hook(lambda _, rows, __: batches.append(len(rows[0])))

    images = torch.rand(4, 1, 16, 16)
    draw: list[Callable[[], Figure]] = [
        lambda: figures.reconstructions(model, images),
        lambda: figures.traversals(model, [1, 2]),
        lambda: figures.samples_by_category(model, samples=100),
    ]
    for function in draw:
        first, again = (np.asarray(function().axes[0].images[0].get_array()) for _ in range(2))
        assert (first == again).all()  # no dropout
        assert {name: module.training for name, module in model.named_modules()} == before
    handle.remove()
    assert max(batches) == 256  # of 300 rows
    assert all(parameter.grad is None for parameter in model.parameters())

    model.decoder = nn.Sequential(nn.Linear(1, 1))
    before = {name: module.training for name, module in model.named_modules()}
    with pytest.raises(RuntimeError):
        figures.traversals(model, [1, 2])
    assert {name: module.training for name, module in model.named_modules()} == before


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_models_of_other_dtypes(dtype: torch.dtype) -> None:
    model = model_of(3, cont=2).to(dtype)
    figures.reconstructions(model, torch.rand(2, 1, 16, 16))
    figures.traversals(model, torch.ones(2, dtype=dtype, requires_grad=True))
    figures.samples_by_category(model)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_models_on_a_gpu() -> None:
    model, images = model_of(3, cont=2), torch.rand(2, 1, 16, 16)
    on_gpu = model_of(3, cont=2).cuda()
    base = torch.tensor([0.7, -0.3, 0.0, 0.0, 1.0])
    pairs = [
        (figures.reconstructions(model, images), figures.reconstructions(on_gpu, images.cuda())),
        (figures.reconstructions(model, images), figures.reconstructions(on_gpu, images)),
        (
            figures.traversals(model, [1, 2], base=base),
            figures.traversals(on_gpu, torch.tensor([1, 2]).cuda(), base=base.cuda()),
        ),
        (figures.samples_by_category(model), figures.samples_by_category(on_gpu)),
    ]
    for ours, theirs in pairs:
        for a, b in zip(ours.axes, theirs.axes, strict=True):
            np.testing.assert_allclose(cells(a), cells(b), atol=5e-3)  # TF32 convolutions


def test_matplotlib_is_imported_only_when_a_figure_is_drawn_and_pyplot_never() -> None:
    code = """if True:
        import sys
        from fastjvae import figures
        assert "matplotlib" not in sys.modules
        figures.kl_growth([{"step": 1, "kl_cont": [1.0, 2.0]}])
        assert "matplotlib.pyplot" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)


SMALL = model_of(3, cont=2)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: figures.reconstructions(SMALL, torch.zeros(0, 1, 16, 16)), "at least one image"),
        (
            lambda: figures.reconstructions(SMALL, torch.zeros(2, 3, 16, 16)),
            r"got \(2, 3, 16, 16\)",
        ),
        (
            lambda: figures.reconstructions(SMALL, torch.zeros(2, 1, 16, 16), max_images=0),
            "max_images must be at least 1, got 0",
        ),
        (lambda: figures.traversals(SMALL, [1.0]), r"kl_cont .* shape \(2,\), got shape \(1,\)"),
        (lambda: figures.traversals(SMALL, [[1.0, 2.0]]), r"kl_cont .* got shape \(1, 2\)"),
        (lambda: figures.traversals(SMALL, [1, 2], kl_disc=[]), r"kl_disc .* got shape \(0,\)"),
        (
            lambda: figures.traversals(model_of(cont=1), [1], kl_disc=[0.5]),
            r"kl_disc .* shape \(0,\), got shape \(1,\)",
        ),
        (lambda: figures.traversals(SMALL, [1, 2], steps=1), "steps must be at least 2, got 1"),
        (lambda: figures.traversals(SMALL, [1, 2], max_units=0), "max_units must be at least 1"),
        (
            lambda: figures.traversals(SMALL, [1, 2], base=torch.zeros(1, 5)),
            r"base .* shape \(5,\), got \(1, 5\)",
        ),
        (
            lambda: figures.traversals(model_of(cont=1, size=(2, 16, 16)), [1]),
            r"1 channel \(grey\) or 3 \(RGB\), these have 2",
        ),
        (lambda: figures.samples_by_category(model_of(cont=1)), "0 discrete variables, got 0"),
        (lambda: figures.samples_by_category(SMALL, variable=1), "1 discrete variables, got 1"),
        (lambda: figures.samples_by_category(SMALL, variable=-1), "got -1"),
        (lambda: figures.samples_by_category(SMALL, samples=0), "samples must be at least 1"),
        (
            lambda: figures.samples_by_category(SMALL, names=["a"]),
            "one name per category, 3, got 1",
        ),
        (lambda: figures.samples_by_category(SMALL, shares=[1.0]), r"shares .* got shape \(1,\)"),
        (lambda: figures.samples_by_category(SMALL, shares=[5, 1, 0]), "got values from 0 to 5"),
        (lambda: figures.kl_growth([]), "at least one record"),
        (lambda: figures.kl_growth([{"kl_cont": [1.0]}]), "record 0 has no 'step'"),
        (lambda: figures.kl_growth([{"step": 1}]), "neither kl_cont nor kl_disc"),
        (
            lambda: figures.kl_growth([record(1, [1.0], []), {"step": 2, "kl_cont": [1.0]}]),
            "record 1 has no 'capacity_cont'",
        ),
        (
            lambda: figures.kl_growth([record(1, [1.0], []), record(2, [1.0, 2.0], [])]),
            r"equally many values of 'kl_cont', got \[1, 2\]",
        ),
        (lambda: figures.kl_growth(growth(1, 1), max_units=0), "max_units must be at least 1"),
        (lambda: figures.traversal(SMALL), "got unit None and variable None"),
        (lambda: figures.traversal(SMALL, unit=0, variable=0), "got unit 0 and variable 0"),
        (lambda: figures.traversal(SMALL, unit=2), "2 continuous units, got 2"),
        (lambda: figures.traversal(SMALL, unit=-1), "2 continuous units, got -1"),
        (lambda: figures.traversal(SMALL, variable=1), "1 discrete variables, got 1"),
        (lambda: figures.traversal(SMALL, unit=0, steps=1), "steps must be at least 2, got 1"),
        (
            lambda: figures.traversal(SMALL, unit=0, base=torch.zeros(2, 4)),
            r"shape \(5,\), got \(4,\)",
        ),
        (lambda: figures.traversal(SMALL, unit=0, base=torch.zeros(0, 5)), "at least one sample"),
        (lambda: figures.traversal_grid(SMALL, "c0", "z2"), "2 continuous units, got 2"),
        (lambda: figures.traversal_grid(SMALL, "c0", "c0"), "two latent variables, both are c0"),
        (lambda: figures.traversal_grid(SMALL, "x0", "z0"), "such as z3 or c0, got 'x0'"),
        (lambda: figures.traversal_grid(SMALL, "c0", "z"), "such as z3 or c0, got 'z'"),
        (lambda: figures.traversal_grid(SMALL, "c0", "z0", steps=1), "steps must be at least 2"),
        (
            lambda: figures.traversal_grid(SMALL, "c0", "z0", max_categories=0),
            "max_categories must be at least 1",
        ),
        (
            lambda: figures.traversals(SMALL, span=(1, 1)),
            "range of a unit is two different numbers, .* got 1 and 1",
        ),
        (lambda: figures.traversal(SMALL, unit=0, span=(0, math.inf)), "got 0 and inf"),
        (lambda: figures.traversal_grid(SMALL, "c0", "z0", span=(math.nan, 1)), "got nan and 1"),
        (lambda: figures.ranked_units(SMALL, [1, 2], [1], span=(2, 2)), "got 2 and 2"),
        (
            lambda: figures.ranked_units(SMALL, [1, 2], [1], base=torch.zeros(4)),
            r"base .* shape \(5,\), got \(4,\)",
        ),
        (lambda: figures.side_by_side({}), "at least one model"),
        (lambda: figures.side_by_side({"a": SMALL}, kl={"b": [1]}), "models a, got it of b"),
        (lambda: figures.side_by_side({"a": SMALL}, kl={"a": [1]}), r"of a, shape \(3,\), got"),
        (lambda: figures.side_by_side({"a": SMALL}, steps=1), "steps must be at least 2"),
        (lambda: figures.ranked_units(SMALL, [1.0], [1.0]), r"kl_cont .* shape \(2,\)"),
        (lambda: figures.ranked_units(SMALL, [1.0, 2.0]), r"kl_disc .* shape \(1,\), got"),
        (lambda: figures.ranked_units(SMALL, [1, 2], [1], max_units=0), "at least 1, got 0"),
        (
            lambda: figures.traversal(model_of(cont=1, size=(2, 16, 16)), unit=0),
            r"1 channel \(grey\) or 3 \(RGB\), these have 2",
        ),
    ],
)
def test_wrong_input_is_one_clear_sentence(draw: Callable[[], Figure], message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as error:
        draw()
    assert "\n" not in str(error.value)
