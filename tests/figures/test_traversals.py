"""Traversals of every latent variable."""

from typing import Any

import numpy as np
import pytest
import torch
from figure_checks import (
    MINUS,
    QUANTILES,
    cells,
    column_labels,
    decoded,
    model_of,
    row_labels,
    title,
)

from fastjvae import JointVAE, figures
from fastjvae.metrics import effect_on_samples
from fastjvae.model.latent_moves import telling_categories


def test_traversal_rows_follow_the_kl_and_sweep_the_prior() -> None:
    model = model_of(3, 12, cont=3)
    figure = figures.traversals(model, torch.tensor([0.5, 1.518, 0.004]), kl_disc=[1.1, 2.4])
    cont, disc = figure.axes
    assert row_labels(cont) == ["z1  1.52 nats", "z0  0.50 nats", "z2  0.00 nats"]
    values = "-1.64 -1.04 -0.67 -0.39 -0.13 0.13 0.39 0.67 1.04 1.64"
    assert column_labels(cont) == values.replace("-", MINUS).split()
    assert row_labels(disc) == ["c0  1.10 nats", "c1  2.40 nats\nfirst 10 of 12"]
    assert column_labels(disc) == [str(k) for k in range(10)]

    start = telling_categories(model)
    first, second = int(start[3:6].argmax()), int(start[6:].argmax())
    assert title(cont) == f"from c0 = {first}, c1 = {second}"
    rows = start.repeat(3, 10, 1)
    for i, unit in enumerate([1, 0, 2]):
        rows[i, :, unit] = torch.tensor(QUANTILES)
    expected = decoded(model, rows.flatten(0, 1)).reshape(3, 10, 1, 16, 16)
    np.testing.assert_allclose(cells(cont), expected, atol=1e-6)

    above, below = cells(disc)
    other = torch.eye(12)[second].expand(3, -1)
    expected = decoded(model, torch.cat([torch.zeros(3, 3), torch.eye(3), other], dim=1))
    np.testing.assert_allclose(above[:3], expected, atol=1e-6)
    assert (above[3:] == 1).all()  # white where there is no category
    other = torch.eye(3)[first].expand(10, -1)
    expected = decoded(model, torch.cat([torch.zeros(10, 3), other, torch.eye(12)[:10]], dim=1))
    np.testing.assert_allclose(below, expected, atol=1e-6)


def test_traversals_start_from_the_base() -> None:
    model = model_of(3, cont=2)
    base = torch.tensor([0.7, -0.3, 0.0, 0.0, 1.0])
    cont, disc = figures.traversals(model, [0.1, 0.2], base=base, steps=3).axes
    assert title(cont) == ""
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


MANY = model_of(*[2] * 12, cont=32)


@pytest.mark.parametrize(
    ("model", "kl", "most", "rows", "note"),
    [
        (model_of(cont=1), [0.5], None, [1], ""),
        (model_of(4), [], None, [1], ""),
        (MANY, range(32), 10, [10, 10], "10 of 32 units, 10 of 12 discrete variables, from chosen"),
        (MANY, range(32), None, [32, 12], "from chosen categories of 12 variables"),
    ],
)
def test_traversals_of_few_and_of_many_variables(
    model: JointVAE, kl: Any, most: int | None, rows: list[int], note: str
) -> None:
    figure = figures.traversals(model, kl, steps=2, max_units=most)
    assert [cells(axes).shape[0] for axes in figure.axes] == rows
    above = title(figure.axes[0]).replace("\n", " ")
    assert above.startswith(note)
    assert bool(above) == bool(note)


def test_without_the_kl_units_are_in_the_order_of_their_effect() -> None:
    model = model_of(3, cont=4)
    effects = effect_on_samples(model).cont
    cont, disc = figures.traversals(model, steps=3).axes
    assert row_labels(cont) == [f"z{unit}" for unit in np.argsort(effects)[::-1]]
    assert row_labels(disc) == ["c0"]


def test_a_range_is_swept_in_equal_steps_and_in_its_direction() -> None:
    model = model_of(cont=1)
    (axes,) = figures.traversals(model, [1.0], steps=4, span=(3, -3)).axes
    assert column_labels(axes) == ["3.00", "1.00", f"{MINUS}1.00", f"{MINUS}3.00"]
    expected = decoded(model, torch.tensor([[3.0], [1], [-1], [-3]]))
    np.testing.assert_allclose(cells(axes)[0], expected, atol=1e-5)
