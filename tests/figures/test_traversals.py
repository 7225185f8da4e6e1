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
