"""The kernels of shared information, against the float64 reference."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from kernel_cases import (
    DEVICE,
    Layout,
    compare,
    dtypes,
    kernels,
    layouts,
    many_examples,
    random_params,
    seeds,
    sizes_of_variables,
    spreads,
)
from kernel_models import images
from torch import Tensor

import fastjvae
from fastjvae import Capacity, JointVAE, LatentSpec, functional
from fastjvae.errors import ArgumentError, BackendError
from fastjvae.functional.shared import joint_of
from fastjvae.objectives import SharedObjective

GAMMA, PIXELS, BALANCE = 7.0, 50, 0.3
FLOOR = 1e-8


def near_the_floor(logits: Tensor, group: int) -> bool:
    """Whether a joint probability is so near its bound that rounding decides about its gradient."""
    joint = joint_of(logits.double().softmax(dim=1), group)
    return bool(((joint / FLOOR - 1).abs() < 1e-3).any())


@given(
    groups=st.sampled_from([0, 1, 2, 5, 11]), group=st.integers(2, 5), cont=st.integers(0, 5),
    sizes=st.lists(sizes_of_variables, min_size=1, max_size=3),
    overclusters=st.sampled_from([0, 2, 6, 30, 65]), dtype=dtypes, seed=seeds, layout=layouts,
    spread=spreads, upstream=st.sampled_from(["random", "zero", "large"]), on_device=st.booleans(),
    hi=st.sampled_from([0.0, 0.5, 9.0]),
)  # fmt: skip
@many_examples
def test_the_loss_with_shared_information(
    groups: int,
    group: int,
    cont: int,
    sizes: list[int],
    overclusters: int,
    dtype: torch.dtype,
    seed: int,
    layout: Layout,
    spread: str,
    upstream: str,
    on_device: bool,
    hi: float,
):
    spec, rows = LatentSpec(cont, tuple(sizes)), groups * group
    generator = torch.Generator().manual_seed(seed % 2**63)
    params = layout.place(random_params(spec, rows, generator, spread).to(DEVICE, dtype))
    heads = [params[:, logits] for logits in spec.logits]
    further: tuple[Tensor, ...] = ()
    if overclusters:
        drawn = random_params(LatentSpec(0, (overclusters,)), rows, generator, spread)
        further = (layout.place(drawn.to(DEVICE, dtype)),)
    assume(not any(near_the_floor(head, group) for head in [*heads, *further]))
    base = torch.tensor(1.5, device=DEVICE)
    step: Any = torch.tensor(5, device=DEVICE) if on_device else 5
    gamma: Any = torch.tensor(GAMMA, device=DEVICE) if on_device else GAMMA
    disc = Capacity(0, hi, 10, gamma)

    def operation(base: Tensor, params: Tensor, *further: Tensor) -> tuple[Tensor, ...]:
        return functional.shared_loss(
            base, params, spec, step, disc=disc, group=group, pixels=PIXELS, balance=BALANCE,
            further=further[0] if further else None,
        )  # fmt: skip

    case = compare(operation, operation, (base, params, *further), upstream, generator)
    # J log J of the two marginals and of J cancel where there is no information.
    terms = [4 * math.log(size) + 4 for size in (*sizes, overclusters or 1)]
    total, capacity, information, imbalance, overclustered = range(5)
    case.check_output(total, 1.5 + GAMMA * sum(terms) / PIXELS)
    case.check_output(capacity, 0.0)
    case.check_output(information, sum(terms[:-1]))
    case.check_output(imbalance, sum(terms[:-1]))
    case.check_output(overclustered, terms[-1])
    case.check_gradient(0, 0.0)
    # Where I is C(t) but for roundings, they decide about the sign of its gradient.
    exact = case.exact.outputs
    assume(abs(float(exact[information] - exact[capacity])) > 1e-5)
    steepest = 300 * GAMMA / PIXELS * 40 / max(rows, 1)
    weights = torch.zeros_like(params, dtype=torch.float64)
    for logits in spec.logits:
        weights[:, logits] = params[:, logits].double().softmax(dim=1)
    case.check_gradient(1, steepest * weights)
    if overclusters:
        case.check_gradient(2, steepest * further[0].double().softmax(dim=1))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("in_further", [False, True])
@pytest.mark.parametrize("backend", ["triton", "reference"])
def test_what_is_not_finite_shows(bad: float, in_further: bool, backend: Any):
    spec = LatentSpec(2, (3, 4))
    params = torch.zeros(6, spec.num_params, device=DEVICE)
    further = torch.zeros(6, 5, device=DEVICE)
    (further if in_further else params)[3, -2] = bad
    params, further = params.requires_grad_(), further.requires_grad_()
    with kernels(), fastjvae.backend(backend):
        out = functional.shared_loss(
            torch.zeros((), device=DEVICE), params, spec, 1, disc=Capacity(0, 1, 1, 3.0), group=3,
            pixels=4, balance=BALANCE, further=further,
        )  # fmt: skip
        wrong = torch.autograd.grad(out.loss, (params, further))[int(in_further)]
    assert not out.loss.isfinite()
    told = out.overclustered_information if in_further else out.information
    assert not told.isfinite()
    assert not wrong[3, -4:].isfinite().all()


def shared_model(overclusters: int) -> tuple[JointVAE, SharedObjective]:
    model = JointVAE((1, 16, 16), {"cont": 3, "disc": [4, 3]}).to(DEVICE)
    objective = SharedObjective(
        model.spec, cont=Capacity(0, 5, 100, 30.0), disc=Capacity(0, 2, 100, 30.0), group=3,
        overclusters=overclusters,
    ).to(DEVICE)  # fmt: skip
    return model, objective


@pytest.mark.parametrize("overclusters", [0, 9])
def test_the_objective_is_the_same_on_both_backends(overclusters: int):
    model, objective = shared_model(overclusters)
    x, seed = images(), torch.tensor([3], device=DEVICE)
    found = []
    for backend in ("triton", "reference"):
        with kernels(), fastjvae.backend(backend):  # type: ignore[arg-type]
            out = model.loss(x, 7, objective, seed=seed)
            trained = [*model.parameters(), *objective.parameters()]
            found.append(([*out[:-1], *out.extra.values()], torch.autograd.grad(out.loss, trained)))
    for ours, theirs in zip(*found, strict=True):
        for mine, right in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, right, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("overclusters", [0, 9])
def test_three_launches_serve_all_heads(overclusters: int, launches: dict[str, int]):
    model, objective = shared_model(overclusters)
    with kernels():
        model.loss(images(), 7, objective, seed=1).loss.backward()
    found = {name: number for name, number in launches.items() if name.startswith("shared")}
    assert found == {"shared_joint": 1, "shared_loss": 1, "shared_backward": 1}


def test_results_repeat_bitwise_and_many_images_are_several_programs():
    spec, further = LatentSpec(2, (10, 20)), torch.randn(40, 70, device=DEVICE)
    params = torch.randn(40, spec.num_params, device=DEVICE, requires_grad=True)
    base = torch.zeros((), device=DEVICE)

    def once() -> tuple[Tensor, ...]:
        out = functional.shared_loss(
            base, params, spec, 3, disc=Capacity(0, 1, 9, 3.0), group=2, pixels=4, balance=BALANCE,
            further=further,
        )  # fmt: skip
        return *out, *torch.autograd.grad(out.loss, params)

    with kernels():
        for first, second in zip(once(), once(), strict=True):
            assert torch.equal(first, second)


def test_heads_beyond_the_kernels_go_to_the_reference():
    params = torch.randn(4, 300, device=DEVICE)

    def run() -> Tensor:
        return functional.shared_loss(
            torch.zeros((), device=DEVICE), params, LatentSpec(0, (300,)), 1,
            disc=Capacity(0, 1, 1, 3.0), group=2, pixels=4, balance=BALANCE,
        ).loss  # fmt: skip

    with kernels(), pytest.raises(BackendError, match="up to 256 categories and this one has 300"):
        run()
    assert run().isfinite()


@pytest.mark.parametrize(("rows", "group"), [(4, 3), (4, 1)])
def test_parts_of_groups_are_one_sentence(rows: int, group: int):
    with pytest.raises(ArgumentError, match=rf"groups of {group}, .* got 4 images"):
        functional.shared_loss(
            torch.zeros(()), torch.zeros(rows, 3), LatentSpec(0, (3,)), 1,
            disc=Capacity(0, 1, 1, 3.0), group=group, pixels=4, balance=BALANCE,
        )  # fmt: skip


def test_another_further_head_is_one_sentence():
    with pytest.raises(ArgumentError, match=r"4 of torch.float32, got 2 of torch.float32"):
        functional.shared_loss(
            torch.zeros(()), torch.zeros(4, 3), LatentSpec(0, (3,)), 1,
            disc=Capacity(0, 1, 1, 3.0), group=2, pixels=4, balance=BALANCE,
            further=torch.zeros(2, 3),
        )  # fmt: skip
