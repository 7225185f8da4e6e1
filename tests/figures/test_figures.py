"""Figures: what they show, not only that they exist."""

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn import (
    MINUS,
    QUANTILES,
    assert_texts_apart,
    cells,
    column_labels,
    decoded,
    model_of,
    row_labels,
    title,
)
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from torch import Tensor, nn

from fastjvae import JointVAE, figures
from fastjvae.errors import ArgumentError, RunError
from fastjvae.figures.image_grid import mosaic


def record(step: int, cont: list[float], disc: list[float], **entries: Any) -> dict[str, Any]:
    capacities = {"capacity_cont": 0.01 * step, "capacity_disc": 0.005 * step}
    return {"step": step, "kl_cont": cont, "kl_disc": disc, **capacities, **entries}


def growth(cont: int, disc: int, n: int = 5, **entries: Any) -> list[dict[str, Any]]:
    return [
        record(
            100 * t,
            [t * (1 + i % 7) / 7 for i in range(cont)],
            [t / (d + 2) for d in range(disc)],
            **{name: [0.9 * t / (d + 2) for d in range(disc)] for name in entries},
        )
        for t in range(1, n + 1)
    ]


# --- reconstructions ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 16, 16), (3, 16, 24)])
@pytest.mark.parametrize("as_bytes", [True, False])
def test_reconstructions_stand_below_their_inputs(
    size: tuple[int, int, int], as_bytes: bool
) -> None:
    model = model_of(3, cont=2, size=size)
    images = torch.randint(0, 256, (13, *size), dtype=torch.uint8)
    unit = images.float() / 255
    figure = figures.reconstructions(model, images if as_bytes else unit, title="Run 7")
    assert title(figure.axes[0]) == "Run 7"
    with torch.no_grad():
        expected = model(images)[0].numpy()
    assert len(figure.axes) == 2  # 7 + 6 images
    for axes, part in zip(figure.axes, (slice(0, 7), slice(7, 13)), strict=True):
        assert row_labels(axes) == ["input", "reconstruction"]
        above, below = cells(axes, size)
        np.testing.assert_allclose(above, unit[part], atol=1e-6)
        np.testing.assert_allclose(below, expected[part], atol=1e-6)


def test_reconstructions_say_how_many_are_shown() -> None:
    images = torch.zeros(40, 1, 16, 16)
    model = model_of(cont=1)
    assert title(figures.reconstructions(model, images).axes[0]) == "32 of 40 images"
    figure = figures.reconstructions(model, images, title="MNIST", max_images=3)
    assert title(figure.axes[0]) == "MNIST (3 of 40 images)"
    assert cells(figure.axes[0]).shape[:2] == (2, 3)


# --- traversals -----------------------------------------------------------------------------------


def test_traversal_rows_follow_the_kl_and_sweep_the_prior() -> None:
    model = model_of(3, 12, cont=3)
    figure = figures.traversals(model, torch.tensor([0.5, 1.518, 0.004]), kl_disc=[1.1, 2.4])
    cont, disc = figure.axes
    assert row_labels(cont) == ["z1  1.52 nats", "z0  0.50 nats", "z2  0.00 nats"]
    values = "-1.64 -1.04 -0.67 -0.39 -0.13 0.13 0.39 0.67 1.04 1.64"
    assert column_labels(cont) == values.replace("-", MINUS).split()
    assert row_labels(disc) == ["c0  1.10 nats", "c1  2.40 nats\nfirst 10 of 12"]
    assert column_labels(disc) == [str(k) for k in range(10)]

    rows = torch.zeros(3, 10, 18)
    rows[:, :, [3, 6]] = 1  # the first category of either variable
    for i, unit in enumerate([1, 0, 2]):
        rows[i, :, unit] = torch.tensor(QUANTILES)
    expected = decoded(model, rows.flatten(0, 1)).reshape(3, 10, 1, 16, 16)
    np.testing.assert_allclose(cells(cont), expected, atol=1e-6)

    first, second = cells(disc)
    other = torch.eye(12)[:1].expand(3, -1)
    expected = decoded(model, torch.cat([torch.zeros(3, 3), torch.eye(3), other], dim=1))
    np.testing.assert_allclose(first[:3], expected, atol=1e-6)
    assert (first[3:] == 1).all()  # white where there is no category
    other = torch.eye(3)[:1].expand(10, -1)
    expected = decoded(model, torch.cat([torch.zeros(10, 3), other, torch.eye(12)[:10]], dim=1))
    np.testing.assert_allclose(second, expected, atol=1e-6)


def test_traversals_start_from_the_base() -> None:
    model = model_of(3, cont=2)
    base = torch.tensor([0.7, -0.3, 0.0, 0.0, 1.0])
    cont, disc = figures.traversals(model, [0.1, 0.2], base=base, steps=3).axes
    assert row_labels(disc) == ["c0"]
    assert column_labels(cont) == [f"{MINUS}1.64", "0.00", "1.64"]
    rows = base.repeat(2, 3, 1)
    rows[0, :, 1] = rows[1, :, 0] = torch.tensor([QUANTILES[0], 0.0, QUANTILES[-1]])
    expected = decoded(model, rows.flatten(0, 1)).reshape(2, 3, 1, 16, 16)
    np.testing.assert_allclose(cells(cont), expected, atol=1e-6)
    rows = base.repeat(3, 1)
    rows[:, 2:] = torch.eye(3)
    np.testing.assert_allclose(cells(disc)[0], decoded(model, rows), atol=1e-6)
    assert base.tolist() == pytest.approx([0.7, -0.3, 0.0, 0.0, 1.0])


@pytest.mark.parametrize(
    ("model", "kl", "rows", "note"),
    [
        (model_of(cont=1), [0.5], [1], ""),
        (model_of(4), [], [1], ""),
        (model_of(*[2] * 12, cont=128), range(128), [10, 10], "10 of 128 units, 10 of 12 discrete"),
    ],
)
def test_traversals_of_few_and_of_many_variables(
    model: JointVAE, kl: Any, rows: list[int], note: str
) -> None:
    figure = figures.traversals(model, kl)
    assert [cells(axes).shape[0] for axes in figure.axes] == rows
    assert title(figure.axes[0]).startswith(note)
    assert bool(title(figure.axes[0])) == bool(note)


# --- samples by category --------------------------------------------------------------------------


def test_columns_of_samples_share_everything_but_the_category() -> None:
    model = model_of(4, 3, cont=2)
    figure = figures.samples_by_category(model, variable=1, samples=6)
    assert title(figure.axes[0]) == "variable c1"
    assert row_labels(figure.axes[0]) == ["category 0", "category 1", "category 2"]
    drawn: list[Tensor] = []
    handle = model.decoder.register_forward_pre_hook(lambda _, rows: drawn.append(rows[0]))
    grid = cells(figures.samples_by_category(model, variable=1, samples=6).axes[0])
    handle.remove()
    rows = torch.cat(drawn).reshape(3, 6, 9)
    assert (rows[:, :, :6] == rows[:1, :, :6]).all()
    assert len(rows[0, :, 0].unique()) == 6
    assert (rows[:, :, 2:6].sum(dim=2) == 1).all()
    assert (rows[:, :, 6:] == torch.eye(3)[:, None]).all()
    expected = decoded(model, rows.flatten(0, 1)).reshape(3, 6, 1, 16, 16)
    np.testing.assert_allclose(grid, expected, atol=1e-6)


def test_samples_are_repeatable_and_leave_the_generators_alone() -> None:
    model = model_of(3, cont=2)
    state = torch.get_rng_state()
    first, again, other = (
        cells(figures.samples_by_category(model, seed=seed).axes[0]) for seed in (5, 5, 6)
    )
    assert (first == again).all()
    assert (first != other).any()
    assert torch.equal(torch.get_rng_state(), state)


def test_sample_rows_carry_names_and_shares() -> None:
    axes = figures.samples_by_category(
        model_of(3), samples=2, shares=torch.tensor([0.096, 0.9, 0.004]), names=["cat", "dog", "?"]
    ).axes[0]
    assert row_labels(axes) == [
        "category 0: cat    9.6%",
        "category 1: dog   90.0%",
        "category 2: ?    0.4%",
    ]


def test_of_many_categories_the_first_or_the_most_frequent_are_shown() -> None:
    model = model_of(1000, cont=1)
    axes = figures.samples_by_category(model, samples=1, title="Run 7").axes[0]
    assert title(axes) == "Run 7 (the first 20 of 1000 categories)"
    assert row_labels(axes)[-1] == "category 19"
    shares = np.zeros(1000)
    shares[[7, 900, 30]] = 0.2, 0.5, 0.3
    axes = figures.samples_by_category(model, samples=1, shares=shares, max_categories=2).axes[0]
    assert title(axes) == "the most frequent 2 of 1000 categories"
    assert row_labels(axes) == ["category 30   30.0%", "category 900   50.0%"]


# --- the growth of the KL -------------------------------------------------------------------------


def test_kl_growth_draws_every_entry_of_the_records() -> None:
    records = [
        record(100, [0.5, 0.1, 0.0], [0.2], information=[0.1]),
        record(200, [0.8, 2.0, 0.001], [0.6], information=[0.5]),
    ]
    figure = figures.kl_growth(records, title="Run 7")
    units, total, discrete = figure.axes
    lines = [np.asarray(line.get_xydata()).tolist() for line in units.lines]
    assert lines == [
        [[100, 0.5], [200, 0.8]],
        [[100, 0.1], [200, 2.0]],
        [[100, 0.0], [200, 0.001]],
    ]
    ends = {text.get_text(): text for text in units.texts}
    assert list(ends) == ["z0", "z1", "Run 7"]  # z2 carries nothing
    assert title(units) == "Continuous units (2 of 3 labelled)"
    for line, name in zip(units.lines, ("z0", "z1"), strict=False):
        assert line.get_color() == ends[name].get_color()
        height = line.get_ydata()[-1] / units.get_ylim()[1]
        assert ends[name].get_position()[1] == pytest.approx(height)
    named = {line.get_label(): np.asarray(line.get_ydata()) for line in total.lines}
    assert list(named) == ["sum of KL", "capacity"]
    np.testing.assert_allclose(named["sum of KL"], [0.6, 2.801])
    np.testing.assert_allclose(named["capacity"], [1.0, 2.0])
    drawn = [np.asarray(line.get_ydata()).tolist() for line in discrete.lines]
    assert drawn == [[0.2, 0.6], [0.1, 0.5], [], [], [0.5, 1.0]]
    legend = discrete.get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.get_texts()] == ["KL", "information", "capacity"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"training steps"}
    assert {axes.get_ylabel() for axes in figure.axes} == {"KL (nats)"}


@pytest.mark.parametrize(
    ("cont", "disc", "panels"),
    [(1, 0, 1), (10, 0, 2), (0, 1, 1), (0, 3, 2), (1, 1, 2), (10, 1, 3), (128, 12, 4)],
)
def test_kl_growth_has_a_panel_for_each_part(cont: int, disc: int, panels: int) -> None:
    assert len(figures.kl_growth(growth(cont, disc)).axes) == panels


def test_kl_growth_without_capacity_draws_none() -> None:
    records = [{"step": s, "kl_cont": [0.1 * s, 0.2], "capacity_cont": 0.0} for s in (1, 2)]
    assert [line.get_label() for line in figures.kl_growth(records).axes[1].lines] == ["sum of KL"]


def test_kl_growth_labels_the_most_informative_units() -> None:
    records = [record(1, [float(i) for i in range(32)], [])]
    units = figures.kl_growth(records, max_units=3).axes[0]
    assert [text.get_text() for text in units.texts] == ["z29", "z30", "z31"]
    grey = units.lines[0].get_color()
    assert sum(line.get_color() != grey for line in units.lines) == 3
    assert title(units) == "Continuous units (3 of 32 labelled)"


# --- the page -------------------------------------------------------------------------------------

PAGES: dict[str, Callable[[], Figure]] = {
    "reconstructions": lambda: figures.reconstructions(
        model_of(cont=1), torch.zeros(3, 1, 16, 16), title="A title wider than three small images"
    ),
    "traversals": lambda: figures.traversals(
        model_of(2, 30, cont=120), range(120), kl_disc=[0.6, 3.0], title="Traversals"
    ),
    "wide": lambda: figures.traversals(model_of(300, cont=2, size=(3, 16, 48)), [1, 2], steps=15),
    "samples": lambda: figures.samples_by_category(
        model_of(12), shares=[1 / 12] * 12, names=["a long name of a class"] * 12
    ),
    "growth": lambda: figures.kl_growth(growth(10, 1, information=True), title="Growth"),
    "growth of many": lambda: figures.kl_growth(growth(128, 12, information=True), max_units=40),
    "one record": lambda: figures.kl_growth(growth(4, 2, n=1)),
    "all zero": lambda: figures.kl_growth([record(0, [0.0] * 9, [0.0])]),
}


@pytest.mark.parametrize("name", PAGES)
def test_texts_lie_on_the_page_and_apart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_texts_apart(PAGES[name](), monkeypatch)


@pytest.mark.parametrize("name", PAGES)
def test_saved_pages_have_a_white_border(name: str, tmp_path: Path) -> None:
    figures.save(PAGES[name](), tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as png:
        pixels = np.asarray(png.convert("L"))
        assert png.info["dpi"] == pytest.approx((150, 150), abs=0.1)
    for edge in (pixels[:6], pixels[-6:], pixels[:, :6], pixels[:, -6:]):
        assert (edge == 255).all()
    inner = pixels[6:-6, 6:-6]
    assert all((edge < 255).any() for edge in (inner[:6], inner[-6:], inner[:, :6], inner[:, -6:]))


@pytest.mark.parametrize("size", [(1, 16, 16), (3, 16, 24), (1, 64, 64), (1, 48, 96)])
def test_saved_images_are_exact(size: tuple[int, int, int], tmp_path: Path) -> None:
    model = model_of(cont=1, size=size)
    images = torch.randint(0, 256, (5, *size), dtype=torch.uint8)
    figure = figures.reconstructions(model, images)
    figures.save(figure, tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as png:
        pixels = np.asarray(png.convert("RGB"), dtype=np.int64)
    picture = np.asarray(figure.axes[0].images[0].get_array())
    picture = np.broadcast_to(picture.reshape(*picture.shape[:2], -1), (*picture.shape[:2], 3))
    scale = max(math.ceil(42 / size[1]), math.ceil(54 / size[2]))
    height, width = scale * picture.shape[0], scale * picture.shape[1]
    # The picture is the lowest and rightmost thing on the page. Versions of matplotlib differ by a
    # pixel in its margin and at the edges of its squares, so their centres are compared.
    shown = [
        pixels[-height - below : -below, -width - right : -right]
        for below in (7, 8, 9)
        for right in (7, 8, 9)
    ]
    centres = [crop[scale // 2 :: scale, scale // 2 :: scale] for crop in shown]
    apart = min(np.abs(centre - 255 * picture).max() for centre in centres)
    assert apart <= 2  # of 255: the colour map has 256 greys


def test_saving_replaces_the_file_or_leaves_it(tmp_path: Path) -> None:
    figure = figures.kl_growth(growth(2, 0))
    path = tmp_path / "new folder" / "growth.png"
    figures.save(figure, path)
    before = path.read_bytes()
    assert before.startswith(b"\x89PNG")
    figure.axes[0].set_title("$\\notacommand$")
    with pytest.raises(ValueError, match="notacommand"):
        figures.save(figure, path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(RunError, match="cannot write"):
        figures.save(figures.kl_growth(growth(2, 0)), path / "below a file.png")


BEGINNINGS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.mark.parametrize("suffix", ["png", "PNG", "pdf", "svg"])
def test_the_format_is_the_suffix(suffix: str, tmp_path: Path) -> None:
    figures.save(figures.kl_growth(growth(2, 0)), tmp_path / f"a.{suffix}")
    content = (tmp_path / f"a.{suffix}").read_bytes()
    assert content.startswith(BEGINNINGS[suffix.lower()])


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.png.bak"])
def test_another_suffix_is_one_sentence(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=rf"ends in \.png, \.pdf or \.svg, got .*{name}"):
        figures.save(figures.kl_growth(growth(2, 0)), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_notebook_shows_a_figure_as_it_is_saved(tmp_path: Path) -> None:
    figure: Any = figures.kl_growth(growth(2, 0))
    figures.save(figure, tmp_path / "a.png")
    assert figure._repr_png_() == (tmp_path / "a.png").read_bytes()


def test_a_dollar_begins_no_formula(tmp_path: Path) -> None:
    odd = r"a$\frac$"
    model = JointVAE((1, 16, 16), {"cont": 1, "disc": [2]})
    pages = [
        figures.side_by_side({odd: model, "b": model}, title=odd),
        figures.samples_by_category(model, names=[odd, "b"], title=odd),
        figures.metric_comparison({odd: [1.0, 2.0], "b": [1.0]}, metric=odd, title=odd),
        figures.kl_growth(growth(2, 0), title=odd),
        figures.traversals(model, [1.0], title=odd),
    ]
    for number, page in enumerate(pages):
        figures.save(page, tmp_path / f"{number}.png")
        texts = [text.get_text() for text in page.findobj(Text)]  # type: ignore[attr-defined]
        assert any(odd in text for text in texts)


def test_mosaic_has_white_gaps() -> None:
    image = np.zeros((1, 2, 3), dtype=np.float32)
    picture = mosaic([image[None].repeat(2, axis=0), image[None]], gap=1)
    assert picture.tolist() == [
        [0, 0, 0, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0, 0],
        [1, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 1, 1, 1, 1],
        [0, 0, 0, 1, 1, 1, 1],
    ]


# --- the model is left as it was ------------------------------------------------------------------


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


# --- wrong input ----------------------------------------------------------------------------------

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
    ],
)
def test_wrong_input_is_one_clear_sentence(draw: Callable[[], Figure], message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as error:
        draw()
    assert "\n" not in str(error.value)


def test_the_growth_of_a_kl_with_a_null_and_with_words():
    records = [{"step": step, "kl_cont": [kl, 1.0]} for step, kl in ((1, 0.5), (2, None))]
    figures.kl_growth(records)
    with pytest.raises(ArgumentError, match="'kl_cont' must be numbers in every record"):
        figures.kl_growth([{"step": 1, "kl_cont": ["x", 1.0]}])
