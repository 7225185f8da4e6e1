"""The information about c that pictures drawn with it hold."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from relative_error import relative
from torch import nn

from fastjvae import Capacity, JointObjective, JointVAE, LatentSpec, SharedObjective, metrics
from fastjvae.errors import ArgumentError
from fastjvae.functional import Noise, part_of_batch
from fastjvae.objectives import drawn_information
from fastjvae.objectives.drawn import drawn_categories

SPEC = {"cont": 3, "disc": [4, 2]}
NONE = torch.zeros(())
CONT, DISC = Capacity(0, 5, 100, 30), Capacity(0, 1, 100, 30)


class Problem:
    """A model whose pictures depend visibly on every variable, and a batch."""

    def __init__(self, dtype: torch.dtype = torch.float64, images: int = 6) -> None:
        torch.manual_seed(0)
        self.model = JointVAE((1, 16, 16), SPEC)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.mul_(2)
        self.model = self.model.to(dtype)
        self.images = torch.rand(images, 1, 16, 16, dtype=torch.float64).to(dtype)
        noise = torch.randn(images, 3), torch.rand(images, 6)
        self.noise = Noise(*(each.to(dtype) for each in noise))

    def loss(self, objective: object, step: int | torch.Tensor = 7) -> tuple[torch.Tensor, dict]:
        out = self.model.loss(self.images, step, objective, *self.noise)  # type: ignore[arg-type]
        return out.loss, out.extra

    def value(self, objective: object) -> float:
        return float(self.loss(objective)[0].detach())

    def gradients(self, loss: torch.Tensor) -> list[torch.Tensor]:
        return list(torch.autograd.grad(loss, list(self.model.parameters())))


@pytest.mark.parametrize("step", [1, 7, torch.tensor(7), torch.tensor([7])])
def test_every_combination_is_drawn_as_often(step: int | torch.Tensor):
    spec = LatentSpec.from_dict(SPEC)
    hot = drawn_categories(spec, 8, step, torch.zeros(1, dtype=torch.float64))
    assert hot.dtype == torch.float64
    assert hot.shape == (8, 6)
    assert (hot[:, :4].sum(dim=1) == 1).all()
    assert (hot[:, 4:].sum(dim=1) == 1).all()
    pairs = zip(hot[:, :4].argmax(dim=1).tolist(), hot[:, 4:].argmax(dim=1).tolist(), strict=True)
    assert sorted(pairs) == sorted(itertools.product(range(4), range(2)))


def test_an_image_does_not_keep_its_category():
    spec = LatentSpec(0, (10,))
    drawn = [drawn_categories(spec, 64, step, NONE).argmax(dim=1) for step in range(1, 11)]
    assert all(len(set(row)) >= 5 for row in torch.stack(drawn, dim=1).tolist())


def test_a_part_has_the_rows_of_the_whole_batch():
    spec = LatentSpec.from_dict(SPEC)
    whole = drawn_categories(spec, 7, 3, NONE)
    with part_of_batch(7, first=2):
        assert torch.equal(drawn_categories(spec, 3, 3, NONE), whole[2:5])


def test_it_is_the_bound_of_infogan():
    problem = Problem()
    model, sample = problem.model, torch.randn(6, 9, dtype=torch.float64)
    with torch.no_grad():
        found = drawn_information(model, sample, 7)
    total = 0.0
    for row in range(6):
        count = row + 7 * 6
        first, second = count % 4, count // 4 % 2
        latent = torch.cat([sample[row, :3], torch.eye(4)[first], torch.eye(2)[second]])
        with torch.no_grad():
            read = model.encode(model.decode(latent[None]))["disc"]
        total += math.log(read[0][0, first]) + math.log(read[1][0, second])
    assert float(found) == pytest.approx(math.log(8) + total / 6, rel=1e-9)


def test_the_loss_has_what_is_missing():
    problem = Problem()
    plain, with_it = (JointObjective(CONT, DISC, drawn_gamma=gamma) for gamma in (0.0, 3.0))
    assert problem.loss(plain)[1] == {}
    missing = math.log(8) - float(problem.loss(with_it)[1]["drawn_information"])
    added = 3.0 * missing / 256
    assert problem.value(with_it) - problem.value(plain) == pytest.approx(added, rel=1e-9)
    plain, with_it = (
        SharedObjective(SPEC, cont=CONT, disc=DISC, group=2, drawn_gamma=gamma)
        for gamma in (0.0, 3.0)
    )
    assert problem.value(with_it) - problem.value(plain) == pytest.approx(added, rel=1e-9)
    assert sorted(problem.loss(with_it)[1]) == [
        "drawn_information",
        "imbalance",
        "shared_information",
    ]


def test_its_gradient():
    objective = JointObjective(CONT, DISC, drawn_gamma=50.0)
    exact, single = Problem(torch.float64), Problem(torch.float32)
    theirs = exact.gradients(exact.loss(objective)[0])
    assert relative(single.gradients(single.loss(objective)[0]), theirs) <= 1e-4


@pytest.mark.parametrize("network", ["encoder", "decoder"])
def test_it_is_differentiable_by_reader_and_decoder_and_not_by_the_units(network: str):
    model = Problem().model
    sample = torch.randn(6, 9, dtype=torch.float64, requires_grad=True)
    drawn_information(model, sample, 7).backward()
    assert sample.grad is None
    weight = next(getattr(model, network).parameters())
    place = int(weight.grad.abs().argmax())
    values = []
    with torch.no_grad():
        for change in (1e-6, -2e-6):
            weight.view(-1)[place] += change
            values.append(float(drawn_information(model, sample, 7)))
    slope = (values[0] - values[1]) / 2e-6
    assert slope == pytest.approx(float(weight.grad.view(-1)[place]), rel=1e-5)


def test_models_without_categories_have_none():
    model = JointVAE((1, 16, 16), {"cont": 2})
    out = model.loss(torch.rand(4, 1, 16, 16), 1, JointObjective(CONT, drawn_gamma=3.0))
    assert out.extra == {}


def test_a_weight_that_cannot_be_is_an_error():
    with pytest.raises(ArgumentError, match="drawn_gamma must be a finite number of at least 0"):
        JointObjective(CONT, DISC, drawn_gamma=-1.0)
    with pytest.raises(ArgumentError, match="drawn_gamma must be a finite number of at least 0"):
        SharedObjective(SPEC, cont=CONT, disc=DISC, group=2, drawn_gamma=math.nan)


class Line(nn.Module):
    """One linear map between images of 1 x 1 x 8 and rows."""

    def __init__(self, inputs: int, outputs: int, image: bool) -> None:
        super().__init__()
        self.map, self.image = nn.Linear(inputs, outputs), image

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.map(x.flatten(1))
        return found.view(-1, 1, 1, 8) if self.image else found


def test_the_effect_grows_with_it():
    """Units that hold all there is: without it the decoder need not look at c."""
    torch.manual_seed(0)
    images = (torch.rand(256, 1, 1, 8) > 0.5).float()
    effects = []
    for gamma in (0.0, 3.0):
        torch.manual_seed(1)
        model = JointVAE(
            (1, 1, 8),
            {"cont": 8, "disc": [2]},
            encoder=Line(8, 18, image=False),
            decoder=Line(10, 8, image=True),
        )
        free = Capacity(0.0, 0.0, 1, 0.0)
        objective = JointObjective(free, free, drawn_gamma=gamma)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        generator = torch.Generator().manual_seed(2)
        for step in range(1, 301):
            optimizer.zero_grad()
            model.loss(images, step, objective, generator=generator).loss.backward()
            optimizer.step()
        effects.append(metrics.effect_on_images(model, images).disc[0])
    assert effects[1] > 5 * effects[0]
    assert effects[1] > 0.05
