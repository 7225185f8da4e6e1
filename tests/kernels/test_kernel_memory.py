"""Where the kernels read and write: never outside their arrays, everywhere inside, any distance."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import pytest
import torch
from examples import some
from kernel_cases import DEVICE, kernels
from torch import Tensor

from fastjvae import Capacity, LatentSpec, functional
from fastjvae.functional import Noise

pytest.importorskip("triton", reason="needs triton")

from fastjvae_kernels.affine import random_affine
from fastjvae_kernels.column_sums import column_sums
from fastjvae_kernels.joint_loss import Ramp, joint_loss
from fastjvae_kernels.latent_launch import (
    LatentNoise,
    LatentParams,
    latent_backward,
    latent_forward,
)
from fastjvae_kernels.reconstruction import (
    DivergenceSlopes,
    Gaussian,
    reconstruction_backward,
    reconstruction_forward,
)
from fastjvae_kernels.shared_launch import Heads, shared_backward, shared_loss

NAN = float("nan")
SPECS = [
    LatentSpec(10, (10,)),
    LatentSpec(3, (2, 5, 7)),
    LatentSpec(0, (3,)),
    LatentSpec(5),
    LatentSpec(8, (8, 4)),
    LatentSpec(1, (63, 2)),
]


class Guarded:
    """Arrays inside larger ones full of NaN; :meth:`check` finds whatever was written outside."""

    def __init__(self) -> None:
        self.buffers: list[tuple[Tensor, Tensor]] = []

    def array(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        size = 1
        for side in shape:
            size *= side
        buffer = torch.full((size + 128,), NAN, device=DEVICE, dtype=dtype)
        inside = buffer[64 : 64 + size].view(shape)
        self.buffers.append((buffer, inside))
        return inside

    def check(self) -> None:
        for buffer, inside in self.buffers:
            assert inside.isfinite().all(), "an element was not written, or a read went outside"
            inside.fill_(NAN)
            assert buffer.isnan().all(), "a write went outside"


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    """Everything that the launchers allocate is guarded; checked when the test ends."""
    guard = Guarded()

    plain = Tensor.new_empty

    def new_empty(like: Tensor, *shape: object, dtype: torch.dtype | None = None, **rest: object):
        if rest:  # the interpreter's own
            return plain(like, *shape, dtype=dtype, **rest)
        sizes = shape[0] if shape and isinstance(shape[0], tuple) else shape
        return guard.array(*sizes, dtype=dtype or like.dtype)  # type: ignore[misc]

    monkeypatch.setattr(Tensor, "new_empty", new_empty)
    monkeypatch.setattr(torch, "empty", lambda size, dtype, device: guard.array(size, dtype=dtype))
    monkeypatch.setattr(torch, "empty_like", lambda x: guard.array(*x.shape, dtype=x.dtype))
    yield guard
    guard.check()


def _filled(guard: Guarded, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    array = guard.array(*shape, dtype=dtype)
    return array.copy_(torch.randn(shape))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", some([129, 1, 7, 64]))
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_latent_kernels_stay_inside_and_fill_everything(
    spec: LatentSpec, rows: int, dtype: torch.dtype, guarded: Guarded
):
    params = _filled(guarded, rows, spec.num_params, dtype=dtype)
    normal = _filled(guarded, rows, spec.cont)
    uniform = guarded.array(rows, spec.num_categories).copy_(torch.rand(rows, spec.num_categories))
    sample, grad = guarded.array(rows, spec.sample_dim), guarded.array(rows, spec.num_params)
    key = torch.tensor([3], device=DEVICE)

    def parts(row: Tensor) -> LatentParams:
        z = spec.cont
        return LatentParams(row[:, :z], row[:, z : 2 * z], row[:, 2 * z :])

    z, y = sample[:, : spec.cont], sample[:, spec.cont :]
    with kernels():
        for noise in (LatentNoise(key), LatentNoise(None, normal, uniform)):
            partials = latent_forward(parts(params), spec.disc, noise, 0.67, z, y, diverge=True)
            grad_sample = _filled(guarded, rows, spec.sample_dim)
            latent_backward(
                parts(params), spec.disc, noise, 0.67, y, grad_sample[:, : spec.cont],
                grad_sample[:, spec.cont :], partials, 0.1, parts(grad),
            )  # fmt: skip
        column_sums(partials, 1 / rows)


@pytest.mark.parametrize("learned", [None, False, True], ids=["bernoulli", "fixed", "learned"])
@pytest.mark.parametrize("rgb", [False, True])
@pytest.mark.parametrize("information", [False, True])
@pytest.mark.parametrize("spec", [*SPECS, LatentSpec(200, (150, 3))], ids=str)
def test_objective_kernels_stay_inside_and_fill_everything(
    spec: LatentSpec, information: bool, rgb: bool, learned: bool | None, guarded: Guarded
):
    columns = spec.cont + len(spec.disc) + spec.num_categories
    # 1,200 elements: two programs, the second not full; for RGB in another order than the targets.
    logits = _filled(guarded, 3, 8, 25, 2).permute(0, 3, 1, 2)
    target = guarded.array(3, 2, 8, 25).copy_(torch.rand(3, 2, 8, 25))
    if not rgb:
        logits, target = (_filled(guarded, 3, 1, 16, 25) for _ in range(2))
    scale = guarded.array().fill_(-1.0) if learned else -1.0
    gaussian = None if learned is None else Gaussian(scale, 0.0, 1.0)
    with kernels():
        partials = guarded.array(5, columns).copy_(torch.rand(5, columns))
        sums = reconstruction_forward(logits, target, gaussian)
        ramp = Ramp(0.0, 1.0, 0, 10, 9.0, 3.0)
        loss, report = joint_loss(
            partials, sums, spec.disc, 4, ramp, ramp, scale=0.2, reconstruction_scale=0.3,
            log_sizes=1.0, pixels=400, information=information,
        )  # fmt: skip
        slopes = DivergenceSlopes(report, spec.disc, 0.2, information)
        reconstruction_backward(logits, target, loss, 0.3, slopes, gaussian, report, 0.1)


@pytest.mark.parametrize("group", [2, 5])
@pytest.mark.parametrize("overclusters", [0, 3, 33])
@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.disc], ids=str)
def test_shared_kernels_stay_inside_and_fill_everything(
    spec: LatentSpec, overclusters: int, group: int, guarded: Guarded
):
    rows = 7 * group
    params = _filled(guarded, rows, spec.num_params)
    further = _filled(guarded, rows, overclusters) if overclusters else None
    base, upstream = _filled(guarded), _filled(guarded)
    heads = Heads(params, spec.disc, further, group)
    ramp = Ramp(0.0, 1.0, 0, 10, 9.0, 3.0)
    with kernels():
        _, report, joint = shared_loss(base, heads, 4, ramp, balance=0.3, pixels=400)
        shared_backward(heads, report, joint, upstream)


@pytest.mark.parametrize("size", [(1, 5, 7), (3, 16, 17)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_affine_kernel_stays_inside_and_fills_everything(
    size: tuple[int, int, int], dtype: torch.dtype, guarded: Guarded
):
    images = guarded.array(3, *size, dtype=dtype).copy_(torch.rand(3, *size))
    uniform = guarded.array(3, 6).copy_(torch.rand(3, 6))
    largest = guarded.array(6).fill_(2.0)
    with kernels():
        random_affine(images, uniform, largest)


def test_results_repeat_bitwise():
    spec = LatentSpec(10, (10, 4))
    params = torch.randn(700, spec.num_params, device=DEVICE, requires_grad=True)
    logits = torch.randn(700, 1, 8, 8, device=DEVICE, requires_grad=True)
    target = torch.rand(700, 1, 8, 8, device=DEVICE)
    key = torch.tensor([5], device=DEVICE)

    def step() -> tuple[Tensor, ...]:
        block = functional.latent_block(params, spec, 0.67, Noise(seed=key))
        terms = functional.joint_loss(
            logits, target, block, spec, 3, cont=Capacity(0, 5, 9, 3), disc=Capacity(0, 5, 9, 3)
        )
        loss = terms.loss + block.sample.square().mean()
        return *terms, *torch.autograd.grad(loss, (params, logits))

    with kernels():
        for first, second in zip(step(), step(), strict=True):
            assert torch.equal(first, second)


# --- distances beyond 2^31 ------------------------------------------------------------------------


def _far_apart(elements: int) -> Tensor:
    """A float32 array of addresses that take no memory until they are touched."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    try:
        memory = mmap.mmap(-1, 4 * elements, flags=flags)
    except (OSError, OverflowError) as error:
        pytest.skip(f"{4 * elements / 2**30:.0f} GiB of addresses are not to be had: {error}")
    return torch.frombuffer(memory, dtype=torch.float32)


@pytest.mark.skipif(DEVICE != "cpu", reason="addresses without memory exist on the host only")
@pytest.mark.parametrize("strides", [(2**31 + 8, 1), (1, 2**28 + 4)], ids=["rows", "columns"])
def test_matrices_may_reach_beyond_2_to_the_31_elements(strides: tuple[int, int]):
    spec = LatentSpec(1, (10,))
    rows, columns = 2, spec.num_params
    extent = strides[0] * (rows - 1) + strides[1] * (columns - 1) + 1
    far = _far_apart(extent).as_strided((rows, columns), strides)
    far.copy_(torch.randn(rows, columns))
    near = far.clone(memory_format=torch.contiguous_format)

    def run(params: Tensor) -> tuple[Tensor, ...]:
        z = spec.cont
        sample, grad = torch.empty(rows, spec.sample_dim), torch.empty(rows, columns)
        parts = LatentParams(params[:, :z], params[:, z : 2 * z], params[:, 2 * z :])
        noise, y = LatentNoise(torch.tensor([1])), sample[:, z:]
        sums = latent_forward(parts, spec.disc, noise, 0.67, sample[:, :z], y, diverge=True)
        latent_backward(
            parts, spec.disc, noise, 0.67, y, sample[:, :z], y, sums, 1.0,
            LatentParams(grad[:, :z], grad[:, z : 2 * z], grad[:, 2 * z :]),
        )  # fmt: skip
        return sample, sums, grad

    with kernels():
        for ours, right in zip(run(far), run(near), strict=True):
            assert torch.equal(ours, right)


@pytest.mark.skipif(DEVICE != "cpu", reason="addresses without memory exist on the host only")
def test_images_may_reach_beyond_2_to_the_31_elements():
    shape, strides = (2, 1, 3, 4), (2**31 + 16, 12, 4, 1)
    far = _far_apart(strides[0] + 12).as_strided(shape, strides)
    far.copy_(torch.randn(shape))
    near, upstream = far.clone(memory_format=torch.contiguous_format), torch.tensor(1.0)
    with kernels():
        assert torch.equal(
            reconstruction_forward(far, near.abs()),
            reconstruction_forward(near, near.abs()),
        )
        grad = torch.autograd.grad(
            functional.bernoulli_reconstruction(near.requires_grad_(), near.detach().abs()), near
        )[0]
        right = reconstruction_backward(near.detach(), far.abs(), upstream, 0.5)[0]
    assert torch.allclose(grad, right)


@pytest.mark.skipif(DEVICE != "cpu", reason="addresses without memory exist on the host only")
@pytest.mark.parametrize("strides", [(2**31 + 16, 12, 4, 1), (12, 12, 2**30 + 8, 1)])
def test_images_that_are_moved_may_reach_beyond_2_to_the_31_elements(strides: tuple[int, ...]):
    shape, uniform = (2, 1, 3, 4), torch.rand(2, 6)
    far = _far_apart(sum(s * (n - 1) for s, n in zip(strides, shape, strict=True)) + 1)
    far = far.as_strided(shape, strides)
    far.copy_(torch.rand(shape))
    near, largest = far.clone(memory_format=torch.contiguous_format), torch.ones(6)
    with kernels():
        assert torch.equal(
            random_affine(far, uniform, largest), random_affine(near, uniform, largest)
        )
