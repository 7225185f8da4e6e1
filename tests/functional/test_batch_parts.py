from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import pytest
import torch
import torch.distributed as dist
from multiprocess import run_processes
from relative_error import relative
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from fastjvae import (
    BetaObjective,
    Capacity,
    CCBetaObjective,
    JointObjective,
    JointVAE,
    LossOutput,
    functional,
)
from fastjvae.errors import ArgumentError
from fastjvae.functional import Noise, divergence_sums
from fastjvae.functional.batch_parts import part_of_batch

SPEC = {"cont": 3, "disc": [4, 2]}
TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5}


def objective_of(name: str, nats: tuple[float, float]) -> Any:
    """With these capacities of the units and of the variables."""
    cont, disc = (Capacity(c, c, 1, 30.0) for c in nats)
    return {
        "joint": JointObjective(cont, disc),
        "information": JointObjective(cont, disc, "sum", "information"),
        "drawn": JointObjective(cont, disc, drawn_gamma=20.0),
        "cc-beta": CCBetaObjective(Capacity(sum(nats), sum(nats), 1, 30.0)),
        "beta": BetaObjective(4.0),
    }[name]


class Problem:
    """A model and a batch whose halves have very different divergences."""

    def __init__(self, dtype: torch.dtype, images: int = 7) -> None:
        torch.manual_seed(0)
        self.model = JointVAE((1, 16, 16), SPEC).to(dtype)
        with torch.no_grad():
            self.model.encoder.head.weight.mul_(30)
        brightness = torch.linspace(0, 1, images)[:, None, None, None]
        self.images = (torch.rand(images, 1, 16, 16) * brightness).to(dtype)
        self.normal = torch.randn(images, 3).to(dtype)
        self.uniform = torch.rand(images, 6).to(dtype)

    def divergences(self, rows: slice) -> Tensor:
        """Sums of the KL of units and of variables of some images."""
        with torch.no_grad():
            params = self.model.encode_params(self.images[rows])
            sums = divergence_sums(params, self.model.spec) / len(params)
        return torch.stack([sums[:3].sum(), sums[3:5].sum()])

    def loss(self, objective: Any, rows: slice = slice(None)) -> LossOutput:
        noise = Noise(self.normal[rows], self.uniform[rows])
        return self.model.loss(self.images[rows], 5, objective, *noise)

    def gradients(self) -> list[Tensor]:
        found = [p.grad.clone() for p in self.model.parameters() if p.grad is not None]
        self.model.zero_grad()
        return found


def capacities() -> list[tuple[float, float]]:
    """Below every part's KL, above it, and between those of the first and the last images."""
    low, high = (Problem(torch.float64).divergences(s) for s in (slice(0, 3), slice(4, 7)))
    assert (low < 0.8 * high).all()
    cont, disc = ((low + high) / 2).tolist()
    return [(0.0, 0.0), (1e3, 1e3), (cont, disc)]


CASES = list(
    itertools.product(TOLERANCE, ["joint", "information", "drawn", "cc-beta", "beta"], range(3))
)


def reported(out: LossOutput) -> list[Tensor]:
    return [t.detach() for t in (out.loss, out.reconstruction, out.kl_cont, out.category_mean)]


@pytest.mark.parametrize(("dtype", "name", "capacity"), CASES)
@pytest.mark.parametrize("sizes", [[7], [3, 4], [1, 5, 1], [4, 0, 3]])
def test_parts_in_turn_add_up_to_the_batch(
    dtype: torch.dtype, name: str, capacity: int, sizes: list[int]
):
    problem = Problem(dtype)
    objective = objective_of(name, capacities()[capacity])
    whole = problem.loss(objective)
    whole.loss.backward()
    theirs = problem.gradients()
    edges = list(itertools.accumulate(sizes, initial=0))
    parts = [slice(*edge) for edge in itertools.pairwise(edges)]
    with torch.no_grad():
        rows = [problem.model.encode_params(problem.images[part]) for part in parts]
        sums = torch.stack([divergence_sums(params, problem.model.spec) for params in rows]).sum(0)
    outs = []
    for part in parts:
        with part_of_batch(7, sums=sums, first=part.start):
            outs.append(problem.loss(objective, part))
            outs[-1].loss.backward()
    assert relative(problem.gradients(), theirs) <= TOLERANCE[dtype]
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    reconstruction = torch.stack([out.reconstruction for out in outs]).sum()
    torch.testing.assert_close(reconstruction, whole.reconstruction, **tolerance)
    for out in outs:
        torch.testing.assert_close(out.kl_cont, whole.kl_cont, **tolerance)
        torch.testing.assert_close(out.category_mean, whole.category_mean, **tolerance)


def _compare_gradients(rank: int, world: int) -> None:
    """Every process has its part; DistributedDataParallel averages their gradients."""
    for dtype, name, capacity in CASES:
        objective = objective_of(name, capacities()[capacity])
        problem = Problem(dtype)
        whole = problem.loss(objective)
        whole.loss.backward()
        theirs = problem.gradients()
        rows = torch.arange(7).tensor_split(world)[rank]
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        out = _parallel_step(problem, objective, part, 7)
        assert relative(problem.gradients(), theirs) <= TOLERANCE[dtype], (dtype, name, capacity)
        for ours, expected in zip(reported(out), reported(whole), strict=True):
            torch.testing.assert_close(ours, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def _parallel_step(problem: Problem, objective: Any, part: slice, images: int) -> LossOutput:
    class Loss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = problem.model

        def forward(self) -> LossOutput:
            return problem.loss(objective, part)

    parallel = DistributedDataParallel(Loss())
    with part_of_batch(images, first=part.start):
        out: LossOutput = parallel()
    out.loss.backward()
    return out


def _empty_part(rank: int, world: int) -> None:
    """The last process has no image of the batch."""
    problem = Problem(torch.float64)
    objective = objective_of("joint", capacities()[2])
    problem.loss(objective, slice(0, 2)).loss.backward()
    theirs = problem.gradients()
    _parallel_step(problem, objective, slice(rank, min(rank + 1, 2)), 2)
    assert relative(problem.gradients(), theirs) <= 1e-10


@pytest.mark.parametrize(("world", "work"), [(2, _compare_gradients), (3, _compare_gradients)])
def test_processes_have_the_gradients_of_the_whole_batch(
    world: int, work: Callable[[int, int], None]
):
    run_processes(work, world)


def test_a_process_may_have_no_image():
    run_processes(_empty_part, 3)


@pytest.mark.parametrize("named", [False, True], ids=["enclosing", "named"])
def test_operations_of_their_own_are_the_whole_batchs(named: bool):
    problem = Problem(torch.float64)
    spec = problem.model.spec
    params = problem.model.encode_params(problem.images).detach()
    logits = torch.randn(7, 1, 16, 16, dtype=torch.float64)
    call = partial(functional.joint_latent, spec=spec, tau=0.5)
    whole = call(params, normal=problem.normal, uniform=problem.uniform)
    sums = divergence_sums(params, spec)
    shares = []
    for own in (slice(0, 2), slice(2, 7)):
        noise = {"normal": problem.normal[own], "uniform": problem.uniform[own]}
        # A part that is named counts, and not the one around the call.
        around = part_of_batch(99) if named else nullcontext()
        with part_of_batch(7, sums=sums) as part, around:
            given: Any = {"part": part} if named else {}
            found = call(params[own], **noise, **given)
            share = functional.bernoulli_reconstruction(logits[own], problem.images[own], **given)
            capacity = Capacity(1, 1, 1, 2.0)
            loss = functional.kl_capacity_loss(params[own], spec, 1, cont=capacity, **given)
        shares.append(share)
        assert torch.equal(found.sample, whole.sample[own])
        torch.testing.assert_close(found.kl_cont, whole.kl_cont)
        torch.testing.assert_close(loss.kl_disc, whole.kl_disc)
    total = functional.bernoulli_reconstruction(logits, problem.images)
    torch.testing.assert_close(shares[0] + shares[1], total)


def test_a_batch_has_images():
    with pytest.raises(ArgumentError, match="at least 1 image, got 0"), part_of_batch(0):
        pass
    assert not dist.is_initialized()
