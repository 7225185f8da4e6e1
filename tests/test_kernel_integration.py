"""The kernels inside autograd, torch.compile, autocast and CUDA graphs; launches and host syncs."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import fastjvae
from fastjvae import (
    BetaObjective,
    Capacity,
    CCBetaObjective,
    JointObjective,
    JointVAE,
    LatentSpec,
    functional,
    reference,
)
from fastjvae.errors import ArgumentError, BackendError
from tests.kernel_cases import DEVICE, kernels

pytest.importorskip("triton", reason="needs triton")

from fastjvae import autograd
from fastjvae.operators import Operation
from fastjvae_kernels import launch

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
OBJECTIVE = JointObjective(cont=Capacity(0, 5, 100, 30), disc=Capacity(0, 5, 100, 30))
INFORMATION = JointObjective(
    cont=Capacity(0, 5, 100, 30), disc=Capacity(0, 1, 100, 30), disc_measure="information"
)


def small_model(spec: dict[str, Any] | None = None) -> JointVAE:
    return JointVAE((1, 16, 16), spec or {"cont": 3, "disc": [4, 2]}).to(DEVICE)


def images(rows: int = 6) -> Tensor:
    return torch.randint(0, 256, (rows, 1, 16, 16), dtype=torch.uint8, device=DEVICE)


def gradients(model: JointVAE, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.parameters())))


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
    normal = reference.philox_normal(key, 5, 2)
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
        (lambda x: functional.gumbel_softmax(x, torch.ones(2), seed=1), "one number on"),
        (
            lambda x: functional.kl_capacity_loss(x, {"disc": [3]}, torch.tensor(1.5)),
            "integer tensor",
        ),
        (lambda x: functional.kl_capacity_loss(x, {"disc": [3]}, torch.arange(2)), r"shape \(2,\)"),
        (lambda x: functional.kl_capacity_loss(x, {"disc": [3]}, -1), "at least 0, got -1"),
    ],
)
def test_scalars_that_cannot_be_right(call: Callable[[Tensor], Any], message: str):
    with kernels(), pytest.raises(ArgumentError, match=message):
        call(torch.randn(2, 3))


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


class _Counted:
    """A kernel that counts its launches; what the interpreter does inside is not the library's."""

    def __init__(self, kernel: Any, launches: Counter[str]) -> None:
        self.kernel, self.launches = kernel, launches

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def run(*args: Any, **options: Any) -> None:
            self.launches[self.kernel.fn.__name__.removesuffix("_kernel")] += 1
            with torch.utils._python_dispatch._disable_current_modes():
                self.kernel[grid](*args, **options)

        return run


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    counts: Counter[str] = Counter()
    for name in [name for name in vars(launch) if name.endswith("_kernel")]:
        monkeypatch.setattr(launch, name, _Counted(getattr(launch, name), counts))
    return counts


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
        "joint_objective": 1,
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


# --- torch.compile --------------------------------------------------------------------------------


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its dependencies
        yield
    torch._dynamo.reset()


@pytest.mark.parametrize("objective", [OBJECTIVE, INFORMATION, BetaObjective(4.0)])
def test_the_loss_compiles_whole_with_the_kernels(
    objective: fastjvae.objectives.Objective, fresh_compiler: None
):
    model, x = small_model(), images(12)
    step, seed = torch.tensor(5, device=DEVICE), torch.tensor([2], device=DEVICE)
    compiled = torch.compile(
        lambda x, step, seed: model.loss(x, step, objective, seed=seed),
        fullgraph=True,
        backend="aot_eager",
    )
    with kernels():
        # The last batch of an epoch is smaller; more sizes than torch compiles for at most.
        for rows in (6, 4, 3, 5, 2, 7, 8, 9, 10, 11, 12):
            out, right = (
                compiled(x[:rows], step, seed),
                model.loss(x[:rows], step, objective, seed=seed),
            )
            assert torch.equal(out.loss, right.loss)
            assert torch.equal(out.kl_disc, right.kl_disc)
            pairs = zip(gradients(model, out.loss), gradients(model, right.loss), strict=True)
            for mine, theirs in pairs:
                assert torch.allclose(mine, theirs, atol=1e-7)
        unseeded = torch.compile(
            lambda x: model.loss(x, step, objective).loss, fullgraph=True, backend="aot_eager"
        )
        assert unseeded(x) != unseeded(x)


def test_the_loss_compiles_whole_with_the_reference(fresh_compiler: None):
    model, x, seed = small_model(), images(), torch.tensor([2], device=DEVICE)
    compiled = torch.compile(
        lambda x, step, seed: model.loss(x, step, OBJECTIVE, seed=seed), fullgraph=True
    )
    with fastjvae.backend("reference"):
        out = compiled(x, torch.tensor(5, device=DEVICE), seed)
        right = model.loss(x, torch.tensor(5, device=DEVICE), OBJECTIVE, seed=seed)
        assert torch.allclose(out.loss, right.loss, atol=1e-6)
        for mine, theirs in zip(
            gradients(model, out.loss), gradients(model, right.loss), strict=True
        ):
            assert torch.allclose(mine, theirs, atol=1e-6)


def test_a_compiled_loss_follows_the_backend(fresh_compiler: None, launches: Counter[str]):
    model, x = small_model(), images()
    compiled = torch.compile(
        lambda x: model.loss(x, 5, OBJECTIVE, seed=1).loss, fullgraph=True, backend="aot_eager"
    )
    with fastjvae.backend("reference"):
        compiled(x)
    assert not launches
    with kernels():
        compiled(x)
    assert launches["latent_forward"] == 1


def test_every_single_operation_compiles(fresh_compiler: None):
    logits = torch.randn(5, 4, device=DEVICE, requires_grad=True)
    images_ = torch.randn(2, 1, 4, 4, device=DEVICE, requires_grad=True)
    seed = torch.tensor([2], device=DEVICE)

    def everything(logits: Tensor, images_: Tensor) -> Tensor:
        y = functional.gumbel_softmax(logits, 0.67, seed=seed)
        z = functional.gaussian_rsample(logits, logits, seed=seed)
        kl = functional.kl_gaussian(logits, logits).sum() + functional.kl_categorical(logits)
        loss = functional.bernoulli_reconstruction(images_, images_.detach().abs())
        return (y * z).sum() + kl + loss

    with kernels():
        compiled = torch.compile(everything, fullgraph=True, backend="aot_eager")
        ours = torch.autograd.grad(compiled(logits, images_), (logits, images_))
        right = torch.autograd.grad(everything(logits, images_), (logits, images_))
    for a, b in zip(ours, right, strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def _operator_arguments() -> list[tuple[Operation, tuple[Any, ...]]]:
    def leaf(*shape: int) -> Tensor:
        return torch.randn(*shape, device=DEVICE, requires_grad=True)

    seed, step = torch.tensor([2], device=DEVICE), torch.tensor(5, device=DEVICE)
    uint8 = images(3)
    normal, uniform = torch.randn(5, 2, device=DEVICE), torch.rand(5, 7, device=DEVICE)
    numbers = [0.0, 5.0, 0.0, 100.0, 3.0]
    return [
        (autograd._JOINT_LATENT, (leaf(5, 11), 2, [4, 3], None, 0.67, seed, None, None, "means")),
        (
            autograd._JOINT_LATENT,
            (leaf(5, 11), 2, [4, 3], step.float(), 0.0, None, normal, uniform, "partials"),
        ),
        (autograd._JOINT_LATENT, (leaf(5, 11), 2, [4, 3], None, 0.67, seed, None, None, "none")),
        (autograd._DIVERGENCES, (leaf(5, 2), leaf(5, 2), leaf(5, 7), [4, 3], "means")),
        (autograd._DIVERGENCES, (leaf(5, 2), leaf(5, 2), leaf(5, 7), [4, 3], "partials")),
        (autograd._GUMBEL_SOFTMAX, (leaf(5, 4), None, 0.67, seed, None)),
        (autograd._GAUSSIAN_RSAMPLE, (leaf(5, 4), leaf(5, 4), seed, None)),
        (autograd._RECONSTRUCTION, (leaf(3, 1, 16, 16), uint8, 10)),
        (
            autograd._JOINT_OBJECTIVE,
            (
                leaf(3, 1, 16, 16), uint8, leaf(1, 11), [4, 3], step, 0, numbers, None, 30.0,
                numbers, torch.tensor(3.0, device=DEVICE), 0.0, 5, 3, 256, True,
            ),
        ),
    ]  # fmt: skip


@pytest.mark.parametrize("case", range(9))
def test_opcheck(case: int, fresh_compiler: None):
    operation, arguments = _operator_arguments()[case]
    torch.library.opcheck(operation._operator, arguments)


@pytest.mark.parametrize("case", range(9))
def test_opcheck_of_the_backward_operators(case: int, monkeypatch: pytest.MonkeyPatch):
    """With the arguments that the backward pass gives them."""
    operation, arguments = _operator_arguments()[case]
    called: list[tuple[Any, ...]] = []
    backward = operation._backward_operator

    def keep(*inputs: Any) -> Any:
        called.append(inputs)
        return backward(*inputs)

    monkeypatch.setattr(operation, "_backward_operator", keep)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outputs = operation._operator(*arguments)
        outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        sum(o.sum() for o in outputs if o.requires_grad).backward()
        inputs = tuple(t.detach() if isinstance(t, Tensor) else t for t in called[0])
        torch.library.opcheck(backward, inputs)


# --- precision ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype):
    model, x, seed = small_model(), images(), torch.tensor([3], device=DEVICE)

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


# --- on a GPU -------------------------------------------------------------------------------------


@pytest.mark.gpu
@gpu
def test_a_step_is_captured_and_replayed_with_noise_of_its_own():
    model, x = small_model(), images()
    step = torch.tensor(5, device=DEVICE)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)

    def train() -> Tensor:
        optimizer.zero_grad(set_to_none=False)
        loss = model.loss(x, step, OBJECTIVE).loss
        loss.backward()
        return loss

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            train()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = train()
    losses = []
    for _ in range(4):
        graph.replay()
        losses.append(float(loss))
    assert len(set(losses)) == 4
    torch.cuda.manual_seed(1)
    graph.replay()
    first = float(loss)
    torch.cuda.manual_seed(1)
    graph.replay()
    assert float(loss) == first
    step.fill_(90)  # the schedule moves between replays
    torch.cuda.manual_seed(1)
    graph.replay()
    assert float(loss) != first


@pytest.mark.gpu
@gpu
def test_a_python_step_is_an_error_while_capturing():
    model, x = small_model(), images()
    model.loss(x, 5, OBJECTIVE)
    with (
        pytest.raises(ArgumentError, match="while a CUDA graph is captured"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        model.loss(x, 5, OBJECTIVE)


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("step", [5, "tensor"])
@pytest.mark.parametrize("noise", [{}, {"seed": 3}])
def test_the_host_never_waits(step: int | str, noise: dict[str, int]):
    model, x = small_model(), images()
    t = torch.tensor(5, device=DEVICE) if step == "tensor" else step
    model.loss(x, t, OBJECTIVE, **noise).loss.backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        model.loss(x, t, OBJECTIVE, **noise).loss.backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@gpu
def test_a_capture_before_the_first_call_says_what_to_do():
    spec = LatentSpec(2, (3, 5, 2))
    params = torch.randn(4, spec.num_params, device=DEVICE)
    with (
        pytest.raises(RuntimeError, match="run the operation once"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        functional.joint_latent(params, spec, 0.67)


@pytest.mark.gpu
@gpu
def test_a_scaler_trains_in_half_precision():
    model, x = small_model(), images()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler("cuda")
    losses = []
    for _ in range(30):
        with torch.autocast("cuda", torch.float16):
            loss = model.loss(x, 5, OBJECTIVE).loss
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        losses.append(float(loss))
    assert losses[-1] < losses[0]


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_a_gpu_that_is_not_the_current_one():
    model = small_model().to("cuda:1")
    with torch.cuda.device(0):
        out = model.loss(images().to("cuda:1"), 5, OBJECTIVE)
        out.loss.backward()
    assert out.loss.device == torch.device("cuda:1")
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.gpu
@gpu
def test_the_kernels_are_what_a_gpu_tensor_gets(launches: Counter[str]):
    model = small_model()
    model.loss(images(), 5, OBJECTIVE).loss.backward()
    assert sum(launches.values()) == 5


@pytest.mark.gpu
@gpu
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
@pytest.mark.parametrize("step", [5, "tensor"])
def test_compiled_by_inductor_on_the_gpu(mode: str, step: int | str, fresh_compiler: None):
    model, x = small_model({"cont": 3, "disc": [4, 2, 7]}), images()
    t = torch.tensor(5, device=DEVICE) if step == "tensor" else step
    seed = torch.tensor([2], device=DEVICE)
    compiled = torch.compile(
        lambda x, t, seed: model.loss(x, t, OBJECTIVE, seed=seed).loss, fullgraph=True, mode=mode
    )
    for _ in range(3):  # reduce-overhead warms up, records and replays
        torch.compiler.cudagraph_mark_step_begin()
        loss = compiled(x, t, seed)
        ours = [gradient.clone() for gradient in gradients(model, loss)]
    right = model.loss(x, t, OBJECTIVE, seed=seed).loss
    assert torch.allclose(loss, right, rtol=1e-4)
    for mine, theirs in zip(ours, gradients(model, right), strict=True):
        assert (mine - theirs).norm() <= 1e-3 * theirs.norm() + 1e-7
