"""Many categories merged into few: which belong together, by what they share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fastjvae.training.merging import merged


def ring(arcs: int, beyond: float) -> Tensor:
    """P(c, c') of images on a ring of as many categories, of which neighbours may have the next."""
    joint = (1 - 2 * beyond) * torch.eye(arcs)
    for arc in range(arcs):
        joint[arc, (arc + 1) % arcs] += beyond
        joint[(arc + 1) % arcs, arc] += beyond
    return joint / arcs


@pytest.mark.parametrize(("rings", "arcs"), [(3, 10), (10, 5)])
def test_types_are_found_whole_however_long_their_chain_of_neighbours(
    rings: int, arcs: int
) -> None:
    joint = torch.block_diag(*[ring(arcs, 0.25) / rings for _ in range(rings)])
    order = torch.randperm(rings * arcs, generator=torch.Generator().manual_seed(0))
    groups = merged(joint[order][:, order], rings)
    types = order // arcs
    assert len(set(zip(types.tolist(), groups.tolist(), strict=True))) == rings
    assert sorted(groups.unique().tolist()) == list(range(rings))
    assert groups[0] == 0


def test_as_many_groups_as_categories_keep_them_apart() -> None:
    assert merged(torch.eye(4) / 4, 4).tolist() == [0, 1, 2, 3]
    assert merged(torch.eye(4) / 4, 1).tolist() == [0, 0, 0, 0]


def test_an_empty_category_and_numbers_that_are_not_exact_are_merged_too() -> None:
    joint = torch.zeros(5, 5)
    joint[:2, :2] = joint[2:4, 2:4] = 0.125
    joint += 1e-9 * torch.rand(5, 5, generator=torch.Generator().manual_seed(0))
    groups = merged((joint + joint.T) / 2, 2)
    assert groups[0] == groups[1] != groups[2]
    assert groups[2] == groups[3]
