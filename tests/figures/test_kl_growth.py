"""The growth of the KL."""

import numpy as np
import pytest
from figure_checks import (
    assert_texts_apart,
    growth,
    record,
    title,
)

from fastjvae import figures
from fastjvae.errors import ArgumentError


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


def test_the_growth_of_a_kl_with_a_null_and_with_words():
    records = [{"step": step, "kl_cont": [kl, 1.0]} for step, kl in ((1, 0.5), (2, None))]
    figures.kl_growth(records)
    with pytest.raises(ArgumentError, match="'kl_cont' must be numbers in every record"):
        figures.kl_growth([{"step": 1, "kl_cont": ["x", 1.0]}])


def test_a_line_stands_where_a_phase_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    records = growth(3, 1)  # steps 100 to 500
    figure = figures.kl_growth(
        [{**r, "phase": "types" if r["step"] <= 200 else "style"} for r in records]
    )
    for axes in figure.axes:
        upright = [line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1]
        assert upright == [200]
        assert axes.get_xlabel() == "training steps: types | style"
    assert_texts_apart(figure, monkeypatch)
    plain = figures.kl_growth(records)
    assert {axes.get_xlabel() for axes in plain.axes} == {"training steps"}
