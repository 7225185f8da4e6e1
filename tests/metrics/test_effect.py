"""The share of a picture that depends on each variable, of decoders for which it is known."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastjvae import JointVAE, metrics
from fastjvae.data import ImageData
from fastjvae.errors import ArgumentError
from fastjvae.files import to_json
from fastjvae.metrics.effect import LEAST_EFFECT, TELLING_NATS, is_without_effect
from fastjvae.metrics.evaluation import evaluate


class ReadPixels(nn.Module):
    """Pixel i is the probability at which the prior of unit i has its value; then one a variable.

    Images of uniform pixels are so encoded as the prior is distributed.
    """

    def __init__(self, cont: int, disc: list[int]) -> None:
        super().__init__()
        self.cont, self.disc = cont, disc

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.flatten(1)
        mean = torch.special.ndtri(pixels[:, : self.cont].clamp(1e-6, 1 - 1e-6))
        logits = []
        for pixel, size in zip(pixels.t()[self.cont :], self.disc, strict=False):
            category = (pixel * size).long().clamp(max=size - 1)
            logits.append(9.0 * torch.eye(size)[category])
        return torch.cat([mean, torch.full_like(mean, -9.0), *logits], dim=1)


class AddUp(nn.Module):
    """Every column of the sample row draws its own picture, and the pictures are added up."""

    def __init__(self, pictures: Tensor, size: tuple[int, int, int]) -> None:
        super().__init__()
        self.register_buffer("pictures", pictures)  # (L, pixels)
        self.size = size

    def forward(self, rows: Tensor) -> Tensor:
        return (0.5 + 0.01 * rows @ self.pictures).logit().view(-1, *self.size)


def model_of(pictures: Any, cont: int, disc: list[int], channels: int = 1) -> JointVAE:
    pictures = torch.as_tensor(pictures, dtype=torch.float32)
    size = (channels, 1, pictures.shape[1] // channels)
    spec = {"cont": cont, "disc": disc}
    return JointVAE(size, spec, encoder=ReadPixels(cont, disc), decoder=AddUp(pictures, size))


def images_of(model: JointVAE, number: int = 4_096) -> Tensor:
    return torch.rand(number, *model.img_size, generator=torch.Generator().manual_seed(3))


# Columns of the sample row: z0, z1, z2 and the categories of c0 and c1, each variable on a pixel of
# its own.
SEPARATE = torch.zeros(3 + 2 + 3, 5)
SEPARATE[0, 0], SEPARATE[1, 1] = 3.0, 1.0  # z2 draws nothing
SEPARATE[3:5, 3] = torch.tensor([0.0, 4.0])
SEPARATE[5:8, 4] = torch.tensor([0.0, 0.0, 3.0])


def test_the_shares_of_a_sum_are_those_of_its_variances():
    model = model_of(SEPARATE, 3, [2, 3])
    cont, disc = metrics.effect_on_images(model, images_of(model))
    variances = [9.0, 1.0, 0.0, 4.0, 2.0]  # of normals, of 0 or 4, and of 0, 0 or 3
    expected = [each / sum(variances) for each in variances]
    assert [*cont, *disc] == pytest.approx(expected, abs=0.06)
    assert sum([*cont, *disc]) == pytest.approx(1, abs=1e-6)
    assert cont[2] == 0


def test_the_shares_are_the_same_without_an_image():
    cont, disc = metrics.effect_on_samples(model_of(SEPARATE, 3, [2, 3]))
    variances = [9.0, 1.0, 0.0, 4.0, 2.0]
    expected = [each / sum(variances) for each in variances]
    assert [*cont, *disc] == pytest.approx(expected, abs=0.06)
    assert sum([*cont, *disc]) == pytest.approx(1, abs=1e-6)


def test_without_an_image_it_draws_its_own_numbers():
    model = model_of(SEPARATE, 3, [2, 3]).train()
    before = torch.get_rng_state()
    first = metrics.effect_on_samples(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert metrics.effect_on_samples(model) == first
    assert metrics.effect_on_samples(model, seed=1) != first
    with pytest.raises(ArgumentError, match="seed must be between 0 and"):
        metrics.effect_on_samples(model, seed=-1)
    still = metrics.effect_on_samples(model_of(torch.zeros(3, 2), 1, [2]))
    assert all(map(math.isnan, [*still.cont, *still.disc]))


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_it_is_of_any_channels(channels: int):
    pictures = torch.zeros(2, 3 * channels)
    pictures[0, :channels] = 2.0
    pictures[1, channels:] = 1.0
    cont, _ = metrics.effect_on_images(
        model := model_of(pictures, 2, [], channels), images_of(model)
    )
    assert cont == pytest.approx([4 / 6, 2 / 6], abs=0.06)


def test_one_variable_alone_has_all():
    units, categories = model_of([[1.0, 2.0]], 1, []), model_of([[1.0, 2.0], [0.0, 5.0]], 0, [2])
    assert metrics.effect_on_images(units, images_of(units)) == ([1.0], [])
    assert metrics.effect_on_images(categories, images_of(categories)) == ([], [1.0])


def test_variables_that_act_together_sum_to_more():
    class Product(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            return (0.1 * rows[:, :1] * rows[:, 1:2]).view(-1, 1, 1, 1)

    model = JointVAE(
        (1, 1, 2),
        {"cont": 2},
        encoder=ReadPixels(2, []),
        decoder=nn.Sequential(Product(), nn.Upsample(size=(1, 2))),
    )
    cont, _ = metrics.effect_on_images(model, images_of(model))
    # A new factor changes the product as much as two new factors do.
    assert cont == pytest.approx([1, 1], abs=0.25)


def test_a_unit_whose_codes_are_all_the_same_changes_half_as_much():
    """The others stay at what the images have, which need not be distributed as the prior."""
    model = model_of(torch.eye(2), 2, [])
    images = images_of(model)
    images[..., 1] = 0.5  # the code of z1 is 0
    assert metrics.effect_on_images(model, images).cont == pytest.approx([2 / 3, 1 / 3], abs=0.06)


def test_it_draws_its_own_numbers_and_restores_the_mode():
    model = JointVAE((1, 16, 16), {"cont": 2, "disc": [3]}).train()
    images = torch.randint(256, (5, 1, 16, 16), dtype=torch.uint8)
    before = torch.get_rng_state()
    first = metrics.effect_on_images(model, images)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training
    assert metrics.effect_on_images(model, images) == first
    assert metrics.effect_on_images(model, images, seed=1) != first


def test_few_images_are_taken_several_times():
    model = model_of(SEPARATE, 3, [2, 3])
    cont, disc = metrics.effect_on_images(model, images_of(model, 1))
    assert [*cont, *disc] != [0.0] * 5
    assert sum([*cont, *disc]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_it_is_no_number_where_nothing_changes_or_is_finite(value: float):
    model = model_of(torch.full((3, 2), value), 1, [2])
    cont, disc = metrics.effect_on_images(model, images_of(model))
    assert all(map(math.isnan, [*cont, *disc]))


def test_what_cannot_be_measured_is_said():
    model = model_of(SEPARATE, 3, [2, 3])
    with pytest.raises(ArgumentError, match=r"at least 1 image, got shape \(0, 1, 1, 5\)"):
        metrics.effect_on_images(model, images_of(model, 0))
    with pytest.raises(ArgumentError, match="seed must be between 0 and"):
        metrics.effect_on_images(model, images_of(model), seed=-1)


# --- in an evaluation -----------------------------------------------------------------------------


def data_of(model: JointVAE) -> ImageData:
    return ImageData("some", (images_of(model) * 255).to(torch.uint8))


def test_an_evaluation_has_it_and_names_what_has_none():
    pictures = SEPARATE.clone()
    pictures[3:5] = 0  # c0 draws nothing
    model = model_of(pictures, 3, [2, 3])
    evaluation = evaluate(model, data_of(model), scores="none")
    values = json.loads(to_json(evaluation.to_dict()))
    found = [*values["effect_cont"], *(each["effect"] for each in values["variables"])]
    assert found == pytest.approx([9 / 12, 1 / 12, 0, 0, 2 / 12], abs=0.06)
    assert values["without_effect"] == ["z2", "c0"]
    table = evaluation.table()
    assert "  z2, c0 have KL, but the picture hardly depends on them" in table
    assert f"effect            {100 * found[4]:.1f}% of the picture" in table
    assert f"nats, effect {100 * found[0]:.1f}%" in table


def test_a_decoder_that_draws_one_picture_has_null():
    model = model_of(torch.zeros(3, 2), 1, [2])
    evaluation = evaluate(model, data_of(model), scores="none")
    values = json.loads(to_json(evaluation.to_dict()))
    assert values["effect_cont"] == [None]
    assert values["variables"][0]["effect"] is None
    assert values["without_effect"] == []
    assert "effect            n/a" in evaluation.table()


def test_only_a_variable_with_kl_can_lack_an_effect():
    assert is_without_effect(2 * TELLING_NATS, LEAST_EFFECT / 2)
    assert not is_without_effect(TELLING_NATS / 2, 0.0)
    assert not is_without_effect(2 * TELLING_NATS, 2 * LEAST_EFFECT)
    assert not is_without_effect(2 * TELLING_NATS, math.nan)
    assert not is_without_effect(2 * TELLING_NATS, None)
