"""The kernels inside a loss: both backends agree; launches, host syncs, autocast."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from kernel_cases import DEVICE, kernels
from kernel_models import (
    BERNOULLI,
    INFORMATION,
    LEARNED,
    OBJECTIVE,
    gradients,
    images,
    small_model,
)
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import fastjvae
from fastjvae import (
    BetaObjective,
    Capacity,
    CCBetaObjective,
    JointObjective,
    LatentSpec,
    functional,
)
from fastjvae.errors import ArgumentError, BackendError
from fastjvae.functional.backends import philox, reference

# --- the model on both backends -------------------------------------------------------------------


@pytest.mark.parametrize(
    "objective", [OBJECTIVE, INFORMATION, BetaObjective(4.0), CCBetaObjective(Capacity(0, 5, 9, 3))]
)
@pytest.mark.parametrize("spec", [{"cont": 3, "disc": [4, 2]}, {"cont": 2}, {"disc": [5]}])
@pytest.mark.parametrize("training", [True, False])
def test_the_loss_is_the_same_on_both_backends(
    objective: fastjvae.objectives.Objective, spec: dict[str, Any], training: bool
):
    model, x, seed = small_model(spec).train(training), images(), torch.tensor([3], device=DEVICE)
    with kernels():
        ours = model.loss(x, 7, objective, seed=seed)
        ours_gradients = gradients(model, ours.loss)
    with fastjvae.backend("reference"):
        theirs = model.loss(x, 7, objective, seed=seed)
    for name in ours._fields:
        if name != "extra":
            mine, right = getattr(ours, name), getattr(theirs, name)
            assert torch.allclose(mine, right, atol=1e-5), name
            assert mine.requires_grad == (name == "loss")
    for mine, right in zip(ours_gradients, gradients(model, theirs.loss), strict=True):
        assert torch.allclose(mine, right, atol=1e-6)


def test_upstream_of_the_loss_is_heeded():
    model, x, seed = small_model(), images(), torch.tensor([3], device=DEVICE)
    with kernels():
        loss = model.loss(x, 7, OBJECTIVE, seed=seed).loss
        once = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
        scaled = torch.autograd.grad(-2.5 * loss, list(model.parameters()))
    for a, b in zip(once, scaled, strict=True):
        assert torch.allclose(-2.5 * a, b, atol=1e-7)


def test_an_empty_batch_has_no_share_in_the_loss():
    model = small_model()
    with kernels():
        out = model.loss(images(0), 7, OBJECTIVE, seed=1)
        for gradient in gradients(model, out.loss):
            assert torch.equal(gradient, torch.zeros_like(gradient))
    with fastjvae.backend("reference"):
        assert torch.allclose(out.loss, model.loss(images(0), 7, OBJECTIVE, seed=1).loss)


def test_what_is_not_finite_shows_in_every_output():
    spec = LatentSpec(2, (3,))
    for bad in (float("nan"), float("inf"), -float("inf")):
        for column in range(spec.num_params):
            params = torch.zeros(4, spec.num_params, device=DEVICE)
            params[1, column] = bad
            with kernels():
                joint = functional.joint_latent(params, spec, 0.67, seed=1)
            assert not joint.sample.isfinite().all()
            kl = joint.kl_cont if column < 4 else joint.kl_disc
            assert not kl.isfinite().all()
        logits = torch.zeros(2, 1, 4, 4, device=DEVICE)
        logits[1, 0, 2, 3] = bad
        with kernels():
            loss = functional.bernoulli_reconstruction(logits, torch.full_like(logits, 0.5))
        assert not loss.isfinite()


# --- what the kernels leave to the reference ------------------------------------------------------


def test_float64_goes_to_the_reference():
    params = torch.randn(5, 7, dtype=torch.float64, device=DEVICE)
    key = torch.tensor([1], device=DEVICE)
    with kernels():
        sample = functional.joint_latent(params, LatentSpec(2, (3,)), 0.67, seed=key).sample
    normal = philox.philox_normal(key, 5, 2)
    right = reference.gaussian_rsample(params[:, :2], params[:, 2:4], normal)
    assert torch.equal(sample[:, :2], right)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda t: functional.gumbel_softmax(torch.randn(2, 3, device=DEVICE), t, seed=1), "tau"),
        (
            lambda t: functional.gaussian_rsample(
                torch.randn(2, 3, device=DEVICE), torch.randn(2, 3, device=DEVICE),
                normal=t.expand(2, 3),
            ),
            "normal",
        ),
        (
            lambda t: functional.bernoulli_reconstruction(
                torch.randn(1, 1, 2, 2, device=DEVICE), t.expand(1, 1, 2, 2)
            ),
            "target",
        ),
    ],
)  # fmt: skip
def test_gradients_of_constants_are_an_obstacle(call: Callable[[Tensor], Tensor], name: str):
    constant = torch.tensor(0.5, device=DEVICE, requires_grad=True)
    with kernels(), pytest.raises(BackendError, match=f"no gradient of {name}"):
        call(constant)
    assert torch.autograd.grad(call(constant).sum(), constant)[0].isfinite()
    with kernels(), torch.no_grad():
        call(constant)


def test_torch_func_is_an_obstacle_that_the_reference_does_not_have():
    params, spec = torch.randn(5, 7, device=DEVICE), LatentSpec(2, (3,))

    def divergence(params: Tensor) -> Tensor:
        return functional.joint_latent(params, spec, 0.67, seed=1).kl_cont.sum()

    with kernels(), pytest.raises(BackendError, match=r"transforms of torch\.func"):
        torch.func.grad(divergence)(params)
    right = torch.autograd.grad(divergence(params.requires_grad_()), params)[0]
    assert torch.allclose(torch.func.grad(divergence)(params.detach()), right)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: functional.gumbel_softmax(x, x.new_ones(2), seed=1), "one number on"),
        (
            lambda x: functional.kl_capacity_loss(x, {"disc": [3]}, x.new_tensor(1.5)),
            "integer tensor",
        ),
        (
            lambda x: functional.kl_capacity_loss(x, {"disc": [3]}, x.new_ones(2).long()),
            r"shape \(2,\)",
        ),
        (lambda x: functional.kl_capacity_loss(x, {"disc": [3]}, -1), "at least 0, got -1"),
    ],
)
def test_scalars_that_cannot_be_right(call: Callable[[Tensor], Any], message: str):
    with kernels(), pytest.raises(ArgumentError, match=message):
        call(torch.randn(2, 3, device=DEVICE))


# --- launches and the host ------------------------------------------------------------------------

# Operations that wait for the device, or copy between it and the host.
SYNCS = ("_local_scalar_dense", "item", "equal", "nonzero", "is_nonzero", "unique", "lift_fresh")


class Operators(TorchDispatchMode):
    """Counts the operators that run inside the block."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket._qualified_op_name] += 1
        return func(*args, **(kwargs or {}))


VIEWS = {
    "aten::view", "aten::slice", "aten::select", "aten::expand", "aten::detach", "aten::split",
    "aten::split_with_sizes", "aten::_unsafe_view", "aten::t", "aten::transpose", "aten::alias",
    "aten::as_strided", "aten::unsqueeze", "aten::squeeze", "aten::reshape",
}  # fmt: skip
ALLOCATIONS = {"aten::new_empty", "aten::empty", "aten::empty_like", "aten::empty_strided"}


@pytest.mark.parametrize("objective", [OBJECTIVE, INFORMATION])
def test_a_step_is_six_launches_beside_the_networks(
    objective: JointObjective, launches: Counter[str]
):
    spec = LatentSpec(3, (4, 2))
    params = torch.randn(6, spec.num_params, device=DEVICE, requires_grad=True)
    weight = torch.randn(spec.sample_dim, 256, device=DEVICE, requires_grad=True)
    step = torch.tensor(5, device=DEVICE)
    x = images()

    def run() -> None:
        block = functional.latent_block(params, spec, 0.67)
        logits = (block.sample @ weight).view(6, 1, 16, 16)
        terms = functional.joint_loss(
            logits, x, block, spec, step,
            cont=objective.cont, disc=objective.disc, disc_measure=objective.disc_measure,
        )  # fmt: skip
        terms.loss.backward()

    with kernels():
        run()  # tables of the variables and the compiled kernels stay from here on
        launches.clear()
        with Operators() as operators:
            run()
    assert launches == {
        "latent_forward": 1,
        "reconstruction_forward": 1,
        "joint_loss": 1,
        "reconstruction_backward": 1,
        "latent_backward": 1,
    }
    left = {n: c for n, c in operators.counts.items() if n not in VIEWS | ALLOCATIONS}
    networks = {"aten::mm": left.pop("aten::mm")}
    autograd_own = {
        name: left.pop(name, 0)
        for name in ("aten::ones_like", "aten::add", "aten::add_", "aten::clone", "aten::copy_")
    }
    assert networks == {"aten::mm": 3}
    assert sum(autograd_own.values()) <= 4, autograd_own  # the seed of backward(), sums into .grad
    assert left == {"aten::randint": 1}, left


def test_own_networks_are_modules_between_the_fused_kernels(launches: Counter[str]):
    own = {"encoder": "own_nets:ByViews", "decoder": "own_nets:Decoder"}
    model = fastjvae.JointVAE((1, 16, 16), {"cont": 3, "disc": [4, 2]}, **own).to(DEVICE)
    model.use_networks("triton")
    x, seed = images(), torch.tensor([3], device=DEVICE)
    launches.clear()
    with kernels():
        loss = model.loss(x, 7, OBJECTIVE, seed=seed).loss
        ours = gradients(model, loss)
    assert launches == {
        "latent_forward": 1,
        "reconstruction_forward": 1,
        "joint_loss": 1,
        "reconstruction_backward": 1,
        "latent_backward": 1,
    }
    with fastjvae.backend("reference"):
        theirs = model.loss(x, 7, OBJECTIVE, seed=seed).loss
    assert torch.allclose(loss, theirs, atol=1e-5)
    for mine, right in zip(ours, gradients(model, theirs), strict=True):
        assert torch.allclose(mine, right, atol=1e-6)


@pytest.mark.parametrize(
    "objective", [OBJECTIVE, BetaObjective(2.0), CCBetaObjective(OBJECTIVE.cont)]
)
@pytest.mark.parametrize("noise", [{}, {"seed": 3}])
def test_nothing_in_the_loss_waits_for_the_device(
    objective: fastjvae.objectives.Objective, noise: dict[str, int]
):
    model, x = small_model(), images()
    for step in (5, torch.tensor(5, device=DEVICE)):
        for backend in (kernels(), fastjvae.backend("reference")):
            with backend:
                model.loss(x, step, objective, **noise).loss.backward()
                with Operators() as operators:
                    model.loss(x, step, objective, **noise).loss.backward()
            assert not [n for n in operators.counts if n.removeprefix("aten::") in SYNCS]


# --- precision ------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", [BERNOULLI, LEARNED], ids=["bernoulli", "gaussian"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype, likelihood: dict[str, Any]):
    model, x = small_model(**likelihood), images()
    seed = torch.tensor([3], device=DEVICE)

    def run() -> list[Tensor]:
        loss = model.loss(x, 7, OBJECTIVE, seed=seed).loss
        assert loss.dtype == torch.float32
        return [loss, *gradients(model, loss)]

    with fastjvae.backend("reference"):
        exact = run()
        with torch.autocast(DEVICE, dtype):
            low = run()
    with kernels(), torch.autocast(DEVICE, dtype):
        ours = run()
    for mine, theirs, right in zip(ours, low, exact, strict=True):
        # The interpreter rounds toward 0 where it stores bfloat16, and a ReLU passes it on.
        floor = 16 * torch.finfo(dtype).eps * right.norm()
        assert (mine - right).norm() <= 2 * (theirs - right).norm() + floor


def test_a_scaled_loss_keeps_half_precision_gradients_alive():
    logits = torch.full((1, 1, 4, 4), 12.0, device=DEVICE, dtype=torch.float16)
    target = torch.ones_like(logits)
    with kernels():
        loss = functional.bernoulli_reconstruction(logits.requires_grad_(), target) / 1024
        (small,) = torch.autograd.grad(loss, logits, retain_graph=True)
        (scaled,) = torch.autograd.grad(2.0**16 * loss, logits)
    assert torch.equal(small, torch.zeros_like(small))  # 6e-9 is below float16
    exact = -(2.0**6) / (1 + torch.tensor(12.0).exp())
    assert torch.allclose(scaled.float(), exact.to(DEVICE).expand_as(scaled), rtol=1e-2)
