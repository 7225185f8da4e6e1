"""The information that images of one group share, and the objective that bounds it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fastjvae import Capacity, JointObjective, JointVAE, LatentSpec, SharedObjective
from fastjvae.errors import ArgumentError
from fastjvae.objectives import shared_information

GROUP = 2
FREE = Capacity(0.0, 0.0, 1, 0.0)


def pair_by_pair(p: Tensor, group: int) -> tuple[float, float]:
    """Information and imbalance of probabilities (N, K), from the definition."""
    categories = p.shape[1]
    joint, pairs = torch.zeros(categories, categories, dtype=p.dtype), 0
    for first in range(0, len(p), group):
        for one in range(first, first + group):
            for other in range(first, first + group):
                if one != other:
                    joint += torch.outer(p[one], p[other])
                    pairs += 1
    joint /= pairs
    mean = joint.sum(dim=0)
    expected = torch.outer(joint.sum(dim=1), mean)
    information = torch.xlogy(joint, joint / expected).sum()
    return float(information), float((mean * (mean * categories).log()).sum())


@given(
    groups=st.integers(1, 5),
    group=st.integers(2, 4),
    disc=st.lists(st.integers(2, 7), min_size=1, max_size=3),
    scale=st.sampled_from([0.1, 1.0, 5.0]),
    seed=st.integers(0, 2**20),
)
def test_it_is_that_of_every_pair(
    groups: int, group: int, disc: list[int], scale: float, seed: int
):
    spec = LatentSpec(1, tuple(disc))
    generator = torch.Generator().manual_seed(seed)
    params = scale * torch.randn(
        groups * group, spec.num_params, generator=generator, dtype=torch.float64
    )
    rights = [pair_by_pair(params[:, logits].softmax(dim=1), group) for logits in spec.logits]
    ours = shared_information(params, spec, group)
    for name, value in (("information", 0), ("imbalance", 1)):
        right = sum(parts[value] for parts in rights)
        assert float(getattr(ours, name)) == pytest.approx(right, abs=1e-5), name
        single = float(getattr(shared_information(params.float(), spec, group), name))
        assert single == pytest.approx(right, abs=1e-5), name
    assert -1e-5 < float(ours.information) < sum(map(math.log, disc)) + 1e-5


def test_its_gradient():
    spec = LatentSpec(1, (3, 4))
    params = torch.randn(6, spec.num_params, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: tuple(shared_information(p, spec, 3)), (params,))


def test_autocast_takes_no_digits_from_it():
    spec = LatentSpec(0, (10,))
    params = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    right = shared_information(params, spec, GROUP)
    with torch.autocast("cpu", torch.bfloat16):
        ours = shared_information(params, spec, GROUP)
    assert [float(value) for value in ours] == [float(value) for value in right]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sure_categories_have_a_finite_gradient(dtype: torch.dtype):
    spec = LatentSpec(0, (4,))
    params = torch.eye(4, dtype=dtype).repeat_interleave(2, dim=0).mul(1e4).requires_grad_()
    shared = shared_information(params, spec, GROUP)
    assert float(shared.information.detach()) == pytest.approx(math.log(4), abs=1e-5)
    (3 * shared.information - shared.imbalance).backward()
    assert params.grad is not None
    assert params.grad.isfinite().all()


def test_what_tells_the_images_of_a_group_apart_is_no_part_of_it():
    spec = LatentSpec(0, (2,))
    by_image = 50.0 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(2, 1)
    by_group = by_image[[0, 2, 1, 3]]
    assert float(shared_information(by_image, spec, GROUP).information) < math.log(2) + 1e-6
    # Members that always differ say as much of each other as members that always agree; members
    # that differ in half of the groups say nothing.
    mixed = torch.cat([by_image, by_group])
    assert float(shared_information(mixed, spec, GROUP).information) == pytest.approx(0, abs=1e-6)
    assert float(shared_information(by_group, spec, GROUP).information) == pytest.approx(
        math.log(2), abs=1e-6
    )


def test_one_category_for_all_images_is_all_imbalance():
    spec = LatentSpec(0, (8,))
    shared = shared_information(torch.eye(8)[:1].mul(60).repeat(4, 1), spec, GROUP)
    assert float(shared.information) == pytest.approx(0, abs=1e-5)
    assert float(shared.imbalance) == pytest.approx(math.log(8), abs=1e-4)


@pytest.mark.parametrize(("images", "group"), [(5, 2), (4, 1), (4, 3)])
def test_batches_that_are_no_groups_are_an_error(images: int, group: int):
    spec = LatentSpec(0, (2,))
    with pytest.raises(ArgumentError, match=f"groups of {group}, .* got {images} images"):
        shared_information(torch.zeros(images, 2), spec, group)


# --- the objective --------------------------------------------------------------------------------


@pytest.fixture
def model() -> JointVAE:
    torch.manual_seed(0)
    model = JointVAE((1, 16, 16), {"cont": 2, "disc": [3, 2]}).double()
    with torch.no_grad():
        model.encoder.head.weight.mul_(20)
    return model


@pytest.mark.parametrize("overclusters", [0, 5])
def test_the_loss_has_the_penalties_of_shared_information_and_imbalance(
    model: JointVAE, overclusters: int
):
    cont, disc = Capacity(0.0, 1.0, 10, 30.0), Capacity(0.0, 0.4, 10, 7.0)
    images = torch.rand(6, 1, 16, 16, dtype=torch.float64)
    noise = {
        "normal": torch.randn(6, 2, dtype=torch.float64),
        "uniform": torch.rand(6, 5, dtype=torch.float64),
    }
    objective = SharedObjective(
        model.spec, cont=cont, disc=disc, group=3, overclusters=overclusters
    ).double()
    out = model.loss(images, 5, objective, **noise)
    free = JointObjective(cont, Capacity(0.0, 0.0, 1, 0.0))
    rest = model.loss(images, 5, free, **noise)
    shared = shared_information(model.encode_params(images), model.spec, 3)
    penalty = 7.0 * ((shared.information - 0.2).abs() + 0.3 * shared.imbalance)
    if objective.head is not None:
        p = objective.head(model.encode_hidden(images)).softmax(dim=1)
        further = shared_information(p.log(), LatentSpec(0, (5,)), 3)
        penalty = penalty + 7.0 * (math.log(5) - further.information + 0.3 * further.imbalance)
        information, _ = pair_by_pair(p.detach(), 3)
        assert float(out.extra["overclustered_information"]) == pytest.approx(information, abs=1e-5)
    right_loss = rest.loss + penalty / 256
    torch.testing.assert_close(out.loss, right_loss, rtol=1e-12, atol=0)
    assert float(out.capacity_disc) == pytest.approx(0.2)
    torch.testing.assert_close(out.extra["shared_information"], shared.information.detach())
    torch.testing.assert_close(out.extra["imbalance"], shared.imbalance.detach())
    torch.testing.assert_close(out.kl_disc, rest.kl_disc)
    parameters = [*model.parameters(), *objective.parameters()]
    ours = torch.autograd.grad(2 * out.loss, parameters)
    right = torch.autograd.grad(2 * right_loss, parameters)
    for one, other in zip(ours, right, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-15)


def test_its_capacity_ends_at_what_the_categories_can_hold(model: JointVAE):
    objective = SharedObjective(
        model.spec, cont=Capacity(0, 0, 1, 0.0), disc=Capacity(9.0, 9.0, 1, 1.0), group=2
    )
    out = model.loss(torch.rand(4, 1, 16, 16, dtype=torch.float64), 1, objective)
    assert float(out.capacity_disc) == pytest.approx(math.log(6))


def test_the_further_head_is_of_the_seed_and_no_part_of_the_model(model: JointVAE):
    settings = {"cont": FREE, "disc": FREE, "group": 2, "overclusters": 7}
    one, same, other = (SharedObjective(model.spec, **settings, seed=seed) for seed in (3, 3, 4))
    assert one.head is not None
    assert same.head is not None
    assert other.head is not None
    assert torch.equal(one.head.weight, same.head.weight)
    assert not torch.equal(one.head.weight, other.head.weight)
    (group,) = one.parameter_groups()
    assert [tuple(each.shape) for each in group["params"]] == [(7, 256), (7,)]
    plain = SharedObjective(model.spec, cont=FREE, disc=FREE, group=2)
    assert plain.parameter_groups() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group": 1}, "at least 2 images, got groups of 1"),
        ({"spec": {"cont": 2}}, "categorical variables, got {'cont': 2"),
        ({"disc": None}, "the objective has no disc=Capacity"),
        ({"cont": None}, "the objective has no cont=Capacity"),
        ({"overclusters": 1}, "must be 0 or at least 2 categories, got 1"),
        ({"channel_reduction": "max"}, "channel_reduction must be"),
        ({"seed": -1}, "seed must be between 0 and 2147483647, got -1"),
    ],
)
def test_an_objective_that_cannot_be_is_an_error(changes: dict[str, Any], message: str):
    settings = {"spec": {"cont": 2, "disc": [3]}, "cont": FREE, "disc": FREE, "group": 2}
    with pytest.raises(ArgumentError, match=message):
        SharedObjective(**{**settings, **changes})


def test_models_that_do_not_fit_are_an_error(model: JointVAE):
    images = torch.rand(4, 1, 16, 16, dtype=torch.float64)
    objective = SharedObjective({"disc": [3]}, disc=FREE, group=2)
    with pytest.raises(ArgumentError, match=r"for the latent variables .* the model has"):
        model.loss(images, 1, objective)
    own = JointVAE(
        (1, 16, 16), {"disc": [3]}, encoder=nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
    )
    overclustering = SharedObjective(own.spec, disc=FREE, group=2, overclusters=6)
    with pytest.raises(ArgumentError, match="the model has its own, a Sequential"):
        own.loss(images.float(), 1, overclustering)
    assert own.loss(images.float(), 1, objective).loss.isfinite()
