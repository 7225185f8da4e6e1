"""Where traversals start, and how far they go."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fastjvae import JointVAE
from fastjvae.errors import ArgumentError
from fastjvae.model.latent_moves import telling_categories, unit_values


class Pictures(nn.Module):
    """Draws the logits that a category has, plus what each unit adds in it."""

    def __init__(self, still: Tensor, moving: Tensor, cont: int) -> None:
        super().__init__()
        self.register_buffer("still", still)  # (K, pixels)
        self.register_buffer("moving", moving)  # (K, pixels), by the first unit
        self.cont = cont

    def forward(self, rows: Tensor) -> Tensor:
        categories = rows[:, self.cont : self.cont + len(self.still)]
        logits = categories @ self.still
        if self.cont:
            logits = logits + rows[:, :1] * (categories @ self.moving)
        return logits.view(len(rows), 1, 1, -1)


HALF = torch.tensor([8.0, 8.0, -8.0, -8.0])  # white and black
BLUR = torch.tensor([0.2, 0.1, -0.1, -0.2])  # all of it grey
LINE = torch.tensor([8.0, -8.0, -8.0, -8.0])
FIRST = torch.tensor([0.0, 8.0, 0.0, 0.0])  # a unit that draws the second pixel, or not


class Constant(nn.Module):
    """Parameter rows of zeros."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, images: Tensor) -> Tensor:
        return images.new_zeros(len(images), self.width)


def model_of(still: list[Tensor], moving: list[Tensor], cont: int, *more: int) -> JointVAE:
    decoder = Pictures(torch.stack(still), torch.stack(moving), cont)
    return JointVAE((1, 1, 4), {"cont": cont, "disc": [len(still), *more]}, decoder=decoder,
                    encoder=Constant(2 * cont + sum([len(still), *more])))  # fmt: skip


def category_of(model: JointVAE) -> int:
    row = telling_categories(model)
    assert row[: model.spec.cont].eq(0).all()
    return int(row[model.spec.categories[0]].argmax())


def test_a_clear_picture_is_taken_before_a_blur() -> None:
    nothing = torch.zeros(4)
    assert category_of(model_of([BLUR, HALF], [nothing, nothing], 0)) == 1
    # However little of it is bright.
    assert category_of(model_of([BLUR, LINE, BLUR], [nothing] * 3, 0)) == 1


def test_of_clear_pictures_that_which_units_change_is_taken() -> None:
    nothing = torch.zeros(4)
    assert category_of(model_of([HALF, LINE, BLUR], [nothing, FIRST, FIRST], 1)) == 1
    assert category_of(model_of([HALF, HALF, HALF], [FIRST / 4, FIRST, FIRST], 1)) == 1  # first
    assert category_of(model_of([BLUR, HALF], [FIRST / 2, FIRST / 2], 1)) == 1


def test_a_model_that_draws_nothing_starts_in_its_first_category() -> None:
    same = [torch.full((4,), value) for value in (0.0, 0.0, float("nan"))]
    assert category_of(model_of(same, [torch.zeros(4)] * 3, 1)) == 0


def test_given_categories_are_kept() -> None:
    model = model_of([BLUR, HALF], [FIRST, FIRST], 1, 3)
    assert telling_categories(model, {1: 2}).tolist() == [0, 0, 1, 0, 0, 1]
    assert telling_categories(model, {0: 0}).tolist() == [0, 1, 0, 1, 0, 0]
    with pytest.raises(ArgumentError, match="one of the 2 of variable c0, 0 to 1, got 2"):
        telling_categories(model, {0: 2})
    assert telling_categories(JointVAE((1, 16, 16), {"cont": 2})).tolist() == [0, 0]


def test_a_range_has_equal_steps_and_the_prior_equal_probabilities() -> None:
    assert unit_values(5, (-3, 1)).tolist() == [-3, -2, -1, 0, 1]
    assert unit_values(3, (1, -1)).tolist() == [1, 0, -1]
    assert torch.special.ndtr(unit_values(3)).tolist() == pytest.approx([0.05, 0.5, 0.95])
