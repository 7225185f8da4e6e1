"""Every kernel, forward and backward, against the float64 reference on identical noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from examples import some
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import (
    DEVICE,
    Layout,
    assert_as_exact,
    compare,
    dtypes,
    images_in,
    kernels,
    layouts,
    many_examples,
    memory_formats,
    random_params,
    seeds,
    sizes_of_rows,
    specs,
    spreads,
    temperatures,
    upstreams,
)
from torch import Tensor

from fastjvae import Capacity, LatentSpec, functional
from fastjvae.errors import BackendError
from fastjvae.functional.backends import philox, reference
from fastjvae_kernels import blocks, reconstruction
from fastjvae_kernels.blocks import latent_blocks


class Noise(NamedTuple):
    """The numbers that a seed stands for, float64."""

    key: Tensor
    normal: Tensor
    uniform: Tensor


def noise_of(seed: int, rows: int, units: int, categories: int) -> Noise:
    key = torch.tensor([seed], device=DEVICE)
    normal = philox.philox_normal(key, rows, units)
    uniform = philox.philox_uniform(key, rows, categories, philox.GUMBEL_STREAM)
    return Noise(key, normal.double(), uniform.double())


def softmax_slack(logits: Tensor, tau: float, y: Tensor, dtype: torch.dtype) -> Tensor:
    """What float32 does to a softmax at temperature tau: exponents off by their last bits."""
    exponent = (2 * logits.abs().amax(dim=1, keepdim=True) + 40) / tau
    off = 4 * torch.finfo(torch.float32).eps * exponent
    return y * torch.expm1(off.clamp_max(600)) + 4 * torch.finfo(dtype).eps * y


def divergence_terms(logvar: Tensor) -> Tensor:
    """The terms exp(v) - 1 and v that nearly cancel in a Gaussian divergence, and its slope."""
    return logvar.double().expm1().abs() + logvar.double().abs()


def generator_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed % 2**63)


# --- single operations ----------------------------------------------------------------------------

of_gaussians = given(
    rows=sizes_of_rows, units=st.integers(1, 40), dtype=dtypes, seed=seeds, layout=layouts,
    spread=spreads, grad=upstreams,
)  # fmt: skip


def gaussians(
    rows: int,
    units: int,
    dtype: torch.dtype,
    layout: Layout,
    spread: str,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Means and log variances (N, Z) each."""
    params = random_params(LatentSpec(units), rows, generator, spread).to(DEVICE, dtype)
    return layout.place(params[:, :units]), layout.place(params[:, units:])


def logits_of(
    rows: int,
    size: int,
    dtype: torch.dtype,
    layout: Layout,
    spread: str,
    generator: torch.Generator,
) -> Tensor:
    """Logits (N, K) of one variable."""
    values = random_params(LatentSpec(0, (size,)), rows, generator, spread)
    return layout.place(values.to(DEVICE, dtype))


@given(
    rows=sizes_of_rows, size=st.integers(2, 40), tau=temperatures, dtype=dtypes, seed=seeds,
    layout=layouts, spread=spreads, grad=upstreams,
)  # fmt: skip
@many_examples
def test_gumbel_softmax(
    rows: int,
    size: int,
    tau: float,
    dtype: torch.dtype,
    seed: int,
    layout: Layout,
    spread: str,
    grad: str,
):
    generator = generator_of(seed)
    logits = logits_of(rows, size, dtype, layout, spread, generator)
    noise = noise_of(seed, rows, 0, size)
    case = compare(
        lambda logits: (functional.gumbel_softmax(logits, tau, seed=noise.key),),
        lambda logits: (reference.gumbel_softmax(logits, tau, noise.uniform),),
        (logits,),
        grad,
        generator,
    )
    y = case.exact.outputs[0]
    slack = softmax_slack(logits.double(), tau, y, dtype)
    case.check_output(0, 0.0, slack)
    steepest = 100 * 5 / tau  # |upstream| / tau
    case.check_gradient(0, steepest, 4 * steepest * slack.sum(dim=1, keepdim=True))
    if rows:
        assert (case.ours.outputs[0].sum(dim=1) - 1).abs().max() <= size * torch.finfo(dtype).eps


@of_gaussians
@many_examples
def test_gaussian_rsample(
    rows: int, units: int, dtype: torch.dtype, seed: int, layout: Layout, spread: str, grad: str
):
    generator = generator_of(seed)
    mean, logvar = gaussians(rows, units, dtype, layout, spread, generator)
    noise = noise_of(seed, rows, units, 0)
    case = compare(
        lambda mean, logvar: (functional.gaussian_rsample(mean, logvar, seed=noise.key),),
        lambda mean, logvar: (reference.gaussian_rsample(mean, logvar, noise.normal),),
        (mean, logvar),
        grad,
        generator,
    )
    spread_of_z = 6 * (0.5 * logvar.double()).exp()  # no normal of 24 bits is beyond 5.8
    case.check_output(0, mean.abs() + spread_of_z)
    case.check_gradient(0, 0.0)
    case.check_gradient(1, spread_of_z * case.exact.gradients[0].abs())


@of_gaussians
@many_examples
def test_kl_gaussian(
    rows: int, units: int, dtype: torch.dtype, seed: int, layout: Layout, spread: str, grad: str
):
    generator = generator_of(seed)
    mean, logvar = gaussians(rows, units, dtype, layout, spread, generator)
    case = compare(
        lambda mean, logvar: (functional.kl_gaussian(mean, logvar),),
        lambda mean, logvar: (reference.kl_gaussian(mean, logvar),),
        (mean, logvar),
        grad,
        generator,
    )
    terms = divergence_terms(logvar)
    case.check_output(0, terms.sum(dim=0) / max(rows, 1))
    case.check_gradient(0, 0.0)
    case.check_gradient(1, 500 * terms / max(rows, 1))


@given(
    rows=sizes_of_rows, size=st.integers(2, 40), dtype=dtypes, seed=seeds, layout=layouts,
    spread=spreads, grad=upstreams,
)  # fmt: skip
@many_examples
def test_kl_categorical(
    rows: int, size: int, dtype: torch.dtype, seed: int, layout: Layout, spread: str, grad: str
):
    generator = generator_of(seed)
    logits = logits_of(rows, size, dtype, layout, spread, generator)
    case = compare(
        lambda logits: (functional.kl_categorical(logits),),
        lambda logits: (reference.kl_categorical(logits),),
        (logits,),
        grad,
        generator,
    )
    case.check_output(0, math.log(size) + 2)
    case.check_gradient(0, 500 * math.log(size) / max(rows, 1))


# --- joint latent ---------------------------------------------------------------------------------


@given(
    rows=sizes_of_rows, spec=specs(), tau=temperatures, dtype=dtypes, seed=seeds, layout=layouts,
    spread=spreads, grad=upstreams, explicit=st.booleans(), tau_tensor=st.booleans(),
)  # fmt: skip
@many_examples
def test_joint_latent(
    rows: int,
    spec: LatentSpec,
    tau: float,
    dtype: torch.dtype,
    seed: int,
    layout: Layout,
    spread: str,
    grad: str,
    explicit: bool,
    tau_tensor: bool,
):
    generator = generator_of(seed)
    params = layout.place(random_params(spec, rows, generator, spread).to(DEVICE, dtype))
    noise = noise_of(seed, rows, spec.cont, spec.num_categories)
    source = (
        {"normal": layout.place(noise.normal.float()), "uniform": noise.uniform.float()}
        if explicit
        else {"seed": noise.key}
    )
    temperature = torch.tensor(tau, device=DEVICE) if tau_tensor else tau
    case = compare(
        lambda params: tuple(functional.joint_latent(params, spec, temperature, **source)),
        lambda params: tuple(
            reference.joint_latent(params, spec, tau, noise.normal, noise.uniform)
        ),
        (params,),
        grad,
        generator,
    )
    exact, logvar = case.exact.outputs[0], params[:, spec.logvar].double()
    spread_of_z = 6 * (0.5 * logvar).exp()
    slack = torch.zeros_like(exact)
    for logits, categories in zip(spec.logits, spec.categories, strict=True):
        y = exact[:, categories]
        slack[:, categories] = softmax_slack(params[:, logits].double(), tau, y, dtype)
    magnitude = torch.zeros_like(exact)
    magnitude[:, : spec.cont] = params[:, spec.mean].abs() + spread_of_z
    case.check_output(0, magnitude, slack)
    terms = divergence_terms(logvar)
    case.check_output(1, terms.sum(dim=0) / max(rows, 1))
    case.check_output(2, torch.tensor([math.log(size) + 2 for size in spec.disc]))
    case.check_output(3, 1.0)

    steepest = 500.0
    magnitude = torch.zeros_like(params, dtype=torch.float64)
    magnitude[:, spec.mean] = steepest * (1 + params[:, spec.mean].abs())
    magnitude[:, spec.logvar] = steepest * (spread_of_z + terms)
    slack = torch.zeros_like(magnitude)
    for logits, categories in zip(spec.logits, spec.categories, strict=True):
        magnitude[:, logits] = steepest * (1 / tau + 10)
        y = exact[:, categories]
        lost = softmax_slack(params[:, logits].double(), tau, y, dtype).sum(dim=1, keepdim=True)
        slack[:, logits] = 4 * steepest / tau * lost
    case.check_gradient(0, magnitude, slack)


# --- reconstruction -------------------------------------------------------------------------------


@given(
    rows=st.sampled_from([0, 1, 2, 3, 9]), channels=st.sampled_from([1, 2, 3]),
    sides=st.tuples(st.sampled_from([1, 4, 7, 16]), st.sampled_from([1, 4, 8, 17])),
    dtype=dtypes, seed=seeds, memory=memory_formats, target_memory=memory_formats,
    uint8=st.booleans(), scale=st.sampled_from([0.0, 1.0, 30.0, 1e4]),
    reduction=st.sampled_from(["mean", "sum"]), factor=st.sampled_from([1.0, -3.0, 0.0]),
)  # fmt: skip
@many_examples
def test_bernoulli_reconstruction(
    rows: int,
    channels: int,
    sides: tuple[int, int],
    dtype: torch.dtype,
    seed: int,
    memory: str,
    target_memory: str,
    uint8: bool,
    scale: float,
    reduction: str,
    factor: float,
):
    generator = generator_of(seed)
    shape = (rows, channels, *sides)
    values = (scale * torch.randn(shape, generator=generator)).clamp(-1e4, 1e4)
    logits = images_in(values.to(DEVICE, dtype), memory)
    bytes_ = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8).to(DEVICE)
    target = images_in(bytes_ if uint8 else (bytes_ / 255.0).to(dtype), target_memory)
    case = compare(
        lambda logits: (factor * functional.bernoulli_reconstruction(logits, target, reduction),),
        lambda logits: (factor * reference.bernoulli_reconstruction(logits, target, reduction),),
        (logits,),
        "random",
        generator,
    )
    case.check_output(0, 0.0)
    per_image = max(rows, 1) * (channels if reduction == "mean" else 1)
    case.check_gradient(0, 5 * abs(factor) / per_image)
    if memory != "every second":
        assert case.ours.gradients[0].stride() == logits.stride()


# --- the whole loss -------------------------------------------------------------------------------


@given(
    rows=st.sampled_from([1, 2, 5, 33]), spec=specs(), dtype=dtypes, seed=seeds, spread=spreads,
    measure=st.sampled_from(["kl", "information"]), step=st.integers(0, 200),
    on_device=st.booleans(), target=st.sampled_from([0.0, 0.5, 3.0, 50.0]),
)  # fmt: skip
@many_examples
def test_joint_loss(
    rows: int,
    spec: LatentSpec,
    dtype: torch.dtype,
    seed: int,
    spread: str,
    measure: str,
    step: int,
    on_device: bool,
    target: float,
):
    generator = generator_of(seed)
    params = random_params(spec, rows, generator, spread).to(DEVICE, dtype)
    shape = (rows, 2, 4, 6)
    logits = torch.randn(shape, generator=generator).to(DEVICE, dtype)
    image = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8).to(DEVICE)
    gamma = torch.tensor(7.0, device=DEVICE) if on_device else 7.0
    capacities = {
        "cont": Capacity(0.1, target, 100, gamma) if spec.cont else None,
        "disc": Capacity(0.1, target, 90, 3.0, start=20) if spec.disc else None,
    }
    time = torch.tensor(step, device=DEVICE) if on_device else step
    key = torch.tensor([seed], device=DEVICE)

    def loss(params: Tensor, logits: Tensor) -> tuple[Tensor, ...]:
        block = functional.latent_block(params, spec, 0.67, functional.Noise(seed=key))
        terms = functional.joint_loss(
            logits, image, block, spec, time, disc_measure=measure, **capacities
        )
        reported.append(terms)
        return (terms.loss,)

    reported: list[functional.JointLoss] = []
    case = compare(loss, loss, (params, logits), "random", generator)
    ours, low, exact = reported[1:]  # the first run only gave the shapes
    terms = divergence_terms(params[:, spec.logvar])
    sums = {
        "reconstruction": 0.0,
        "kl_cont": terms.sum(dim=0) / rows,
        "kl_disc": torch.tensor([math.log(size) + 2 for size in spec.disc]),
        "category_mean": 1.0,
        "capacity_cont": 1.0,
        "capacity_disc": 1.0,
    }
    for name, magnitude in sums.items():
        assert_as_exact(
            getattr(ours, name), getattr(low, name), getattr(exact, name).double(), magnitude
        )
    total = float(terms.sum() / rows + exact.kl_cont.sum() + 10 * len(spec.disc)) + target
    pixels = 24
    case.check_output(0, 10 * total / pixels)
    # Where KL and capacity agree within the rounding of float32, either side is right.
    near = 1e-5 * (total + 1)
    excess = [
        float(exact.kl_cont.sum() - exact.capacity_cont),
        float(
            exact.kl_disc.sum()
            - (functional.category_imbalance(exact.category_mean, spec).sum()
               if measure == "information" else 0.0)
            - exact.capacity_disc
        ),
    ]  # fmt: skip
    if all(abs(e) > near for e in excess):
        magnitude = torch.full_like(params, 20.0, dtype=torch.float64)
        magnitude[:, spec.logvar] += terms
        case.check_gradient(0, magnitude / (pixels * rows) * 5)
    case.check_gradient(1, 5 / (pixels * 2 * rows))


@pytest.mark.parametrize(
    ("spec", "rows"),
    [
        (LatentSpec(10, (10,)), 300),  # five tiles of rows to a program
        (LatentSpec(1500, (3,)), 3),  # two tiles of units
        (LatentSpec(0, (4096,)), 2),
        (LatentSpec(2, (10, 4096)), 2),  # a tile that begins at its own first column
        (LatentSpec(2, (1024, 1021, 7)), 3),
        (LatentSpec(4096), 2),
        (LatentSpec(1, (3,) * 40), 3),
    ],
    ids=str,
)
def test_loops_over_tiles(spec: LatentSpec, rows: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(blocks, "FEW_PROGRAMS", 2)
    monkeypatch.setattr(reconstruction, "MANY_PROGRAMS", 2)  # two blocks of the images to a program
    params = torch.randn(rows, spec.num_params, device=DEVICE)
    logits = torch.randn(3, 1, 32, 40, device=DEVICE)
    image = torch.rand(3, 1, 32, 40, device=DEVICE)
    noise = noise_of(5, rows, spec.cont, spec.num_categories)
    generator = generator_of(5)

    def run(draw: Callable[[Tensor], reference.JointLatent]) -> Callable[..., tuple[Tensor, ...]]:
        return lambda params, logits: (
            *draw(params),
            functional.bernoulli_reconstruction(logits, image.to(logits.dtype)),
        )

    case = compare(
        run(lambda params: functional.joint_latent(params, spec, 0.67, seed=noise.key)),
        run(lambda params: reference.joint_latent(params, spec, 0.67, *noise[1:])),
        (params, logits),
        "random",
        generator,
    )
    for i, magnitude in enumerate((10.0, 5.0, 15.0, 1.0, 1000.0)):
        case.check_output(i, magnitude)
    case.check_gradient(0, 500.0)
    case.check_gradient(1, 1.0)


@pytest.mark.parametrize("used", [0, 1])
def test_an_upstream_gradient_of_none_is_zero(used: int):
    class Cut(torch.autograd.Function):
        """Two tensors; the gradient of one of them is dropped."""

        @staticmethod
        def forward(ctx: object, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
            return a.clone(), b.clone()

        @staticmethod
        def backward(ctx: object, grad_a: Tensor, grad_b: Tensor) -> tuple[Tensor | None, ...]:
            return (grad_a, None) if used == 0 else (None, grad_b)

    mean, logvar, logits = (torch.randn(4, 3, device=DEVICE, requires_grad=True) for _ in range(3))
    with kernels():
        a, b = Cut.apply(
            functional.gaussian_rsample(mean, logvar, seed=1),
            functional.gumbel_softmax(logits, 0.67, seed=1),
        )
        gradients = torch.autograd.grad(
            a.square().sum() + b.square().sum(), (mean, logvar, logits), allow_unused=True
        )
    present = [gradient is not None for gradient in gradients]
    assert present == ([True, True, False] if used == 0 else [False, False, True])


def test_kl_capacity_loss_is_the_penalty_alone():
    spec = LatentSpec(5, (4, 3))
    params = torch.randn(9, spec.num_params, device=DEVICE)
    capacities = {"cont": Capacity(0, 5, 100, 3.0), "disc": Capacity(0, 1, 50, 2.0)}

    def penalty(params: Tensor) -> tuple[Tensor, ...]:
        terms = functional.kl_capacity_loss(params, spec, 10, **capacities)
        return (terms.loss, terms.kl_cont, terms.capacity_disc)

    with kernels():
        ours = penalty(params.requires_grad_())
    low, exact = penalty(params), penalty(params.double())
    for mine, theirs, right in zip(ours, low, exact, strict=True):
        assert_as_exact(mine, theirs, right.double(), 10.0)
    assert torch.allclose(
        torch.autograd.grad(ours[0], params)[0], torch.autograd.grad(low[0], params)[0], atol=1e-6
    )


def test_where_divergence_and_capacity_agree_the_slope_is_zero():
    params = torch.tensor([[2.0, 0.0]], device=DEVICE, requires_grad=True)  # KL = 2^2 / 2
    for capacity, slope in [(2.0, 0.0), (1.0, 2.0 * 3), (3.0, -2.0 * 3)]:
        with kernels():
            terms = functional.kl_capacity_loss(
                params, LatentSpec(1), 1, cont=Capacity(capacity, capacity, 1, 3.0)
            )
        (gradient,) = torch.autograd.grad(terms.loss, params)
        assert gradient.tolist() == [[slope, 0.0]]


def test_each_row_of_partial_sums_has_a_gradient_of_its_own():
    spec, rows = LatentSpec(3, (4, 2)), 100
    params = torch.randn(rows, spec.num_params, device=DEVICE, requires_grad=True)
    with kernels():
        sums = functional.latent_block(params, spec, 0.67, functional.Noise(seed=1)).sums
        assert len(sums) > 1
        weights = torch.randn(sums.shape, device=DEVICE)
        (ours,) = torch.autograd.grad((sums * weights).sum(), params)
    each = latent_blocks(rows, spec.cont, spec.disc).rows_per_program
    per_program = [
        len(part) * torch.cat(reference.divergences(part, spec)) for part in params.split(each)
    ]
    assert len(per_program) == len(sums)
    (right,) = torch.autograd.grad((torch.stack(per_program) * weights).sum(), params)
    assert torch.allclose(ours, right, atol=1e-5)


# --- derivatives beyond the oracle ----------------------------------------------------------------


def test_gradients_are_finite_differences_of_the_kernels_own_forward():
    spec = LatentSpec(3, (5, 2))
    params = torch.randn(4, spec.num_params, device=DEVICE)
    key = torch.tensor([3], device=DEVICE)
    weights = [torch.randn(4, spec.sample_dim), *map(torch.randn, (3, 2, 7))]

    def scalar(params: Tensor) -> Tensor:
        outputs = functional.joint_latent(params, spec, 0.67, seed=key)
        return sum((o.double() * w.to(DEVICE)).sum() for o, w in zip(outputs, weights, strict=True))  # type: ignore[return-value]

    with kernels():
        (gradient,) = torch.autograd.grad(scalar(params.requires_grad_()), params)
        h = 1e-2
        for index in some(range(params.numel()), 13):  # those of a row
            shift = torch.zeros(params.numel(), device=DEVICE).index_fill_(
                0, torch.tensor(index, device=DEVICE), h
            )
            up, down = (scalar(params.detach() + s * shift.view_as(params)) for s in (1, -1))
            slope = (up - down) / (2 * h)  # error h^2 |f'''| / 6 and eps |f| / h
            assert abs(slope - gradient.flatten()[index]) < 2e-3


def test_backward_twice_adds_up_and_upstream_may_be_shared():
    spec = LatentSpec(2, (3,))
    params = torch.randn(5, spec.num_params, device=DEVICE, requires_grad=True)
    with kernels():
        joint = functional.joint_latent(params, spec, 0.67, seed=1)
        loss = joint.sample.square().sum() + joint.kl_cont.sum() + joint.kl_disc.sum()
        (once,) = torch.autograd.grad(loss, params, retain_graph=True)
        (again,) = torch.autograd.grad(loss, params)
    assert torch.equal(once, again)


@pytest.mark.parametrize("used", ["sample", "kl_cont", "kl_disc", "category_mean"])
def test_each_output_alone_has_its_gradient(used: str):
    spec = LatentSpec(2, (3, 4))
    params = torch.randn(5, spec.num_params, device=DEVICE, requires_grad=True)

    def gradient() -> Tensor:
        output = getattr(functional.joint_latent(params, spec, 0.67, seed=1), used)
        return torch.autograd.grad(output.square().sum(), params)[0]

    with kernels():
        ours = gradient()
    assert torch.allclose(ours, gradient(), atol=1e-5)


def test_no_gradient_is_asked_for_under_no_grad():
    params = torch.randn(5, 7, device=DEVICE, requires_grad=True)
    with kernels(), torch.no_grad():
        joint = functional.joint_latent(params, LatentSpec(2, (3,)), 0.67, seed=1)
    assert not any(output.requires_grad for output in joint)


def test_second_derivatives_say_what_computes_them():
    params = torch.randn(5, 7, device=DEVICE, requires_grad=True)
    with kernels():
        sample = functional.joint_latent(params, LatentSpec(2, (3,)), 0.67, seed=1).sample
        (gradient,) = torch.autograd.grad(sample.square().sum(), params, create_graph=True)
        with pytest.raises(BackendError, match="no second derivative"):
            gradient.square().sum().backward()
