"""The kernels between two products of a network, and the gather of images, against float64."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import DEVICE, assert_as_exact, dtypes, kernels, many_examples
from torch import Tensor

from fastjvae import functional
from fastjvae.errors import ArgumentError, BackendError
from fastjvae.functional.backends import reference

pytest.importorskip("triton", reason="needs triton")

from fastjvae_kernels import blocks
from fastjvae_kernels.bias_gradients import bias_gradients
from fastjvae_kernels.bias_relu import Product, bias_relu, partial_rows, relu_backward

NAN = float("nan")


class Guarded:
    """Arrays in the midst of NaN, misaligned or not; :meth:`check` finds writes outside of them."""

    def __init__(self, shift: int) -> None:
        self._before = 64 + shift
        self._arrays: list[tuple[Tensor, slice]] = []

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
        size = math.prod(shape)
        larger = torch.full((size + 128 + 1,), NAN, device=DEVICE).to(dtype)
        inside = slice(self._before, self._before + size)
        self._arrays.append((larger, inside))
        return larger[inside].view(shape)

    def of(self, values: Tensor) -> Tensor:
        """A copy, side by side in the order of the dimensions."""
        return self.empty(tuple(values.shape), values.dtype).copy_(values)

    def check(self) -> None:
        for larger, inside in self._arrays:
            assert larger[: inside.start].isnan().all()
            assert larger[inside.stop :].isnan().all()


class Case(NamedTuple):
    """A product (N, P, C) as images, what its bias is, and how it lies in memory on both sides."""

    product: Product
    relu: bool
    dtype: torch.dtype
    values: str
    seed: int
    shift: int

    def random(self, generator: torch.Generator) -> Tensor:
        """(N, P, C)."""
        product = self.product
        shape = (product.images, product.pixels, product.channels)
        values = torch.randn(shape, generator=generator)
        if self.values == "large":
            values *= 10 ** torch.empty(shape).uniform_(-4, 4, generator=generator)
        elif self.values == "ties":
            values = values.round()
        return values.to(DEVICE, self.dtype)

    def lies(self, values: Tensor, *, behind: bool) -> Tensor:
        """Values (N, P, C) in the order of memory: planes where rows are meant."""
        rows = self.product.turned == ("flatten" if behind else "unflatten")
        return values.transpose(1, 2) if rows else values

    def read(self, array: Tensor, *, behind: bool) -> Tensor:
        """The inverse of :meth:`lies`."""
        return self.lies(array, behind=behind)

    def bias(self, generator: torch.Generator) -> Tensor:
        return torch.randn(self.product.columns, generator=generator).to(DEVICE)

    def spread(self, bias: Tensor) -> Tensor:
        """The bias of each element, (P, C) or (1, C)."""
        if self.product.turned == "unflatten":
            return bias.view(self.product.channels, self.product.pixels).T
        return bias[None]

    def summed(self, grad: Tensor) -> Tensor:
        """The gradient of the bias from that of the product (N, P, C)."""
        if self.product.turned == "unflatten":
            return grad.sum(0).T.flatten()
        return grad.sum((0, 1))


cases = st.builds(
    Case,
    product=st.builds(
        Product,
        images=st.sampled_from([0, 1, 2, 3, 5, 33, 70]),
        pixels=st.sampled_from([1, 2, 6, 16, 17, 35]),
        channels=st.sampled_from([1, 2, 3, 4, 5, 16, 17, 64, 70]),
        turned=st.sampled_from([None, None, "flatten", "unflatten"]),
    ),
    relu=st.booleans(),
    dtype=dtypes,
    values=st.sampled_from(["normal", "large", "ties"]),
    seed=st.integers(0, 2**31),
    shift=st.integers(0, 1),
)


def forward(case: Case, x: Tensor, bias: Tensor, guarded: Guarded) -> Tensor:
    """The kernel's result for a product (N, P, C), as (N, P, C)."""
    given_x = guarded.of(case.lies(x, behind=False))
    before = given_x.clone()
    y = given_x
    if case.product.turned:
        y = guarded.empty(tuple(case.lies(x, behind=True).shape), case.dtype)
    with kernels():
        bias_relu(given_x, guarded.of(bias), y, case.product, relu=case.relu)
    if y is not given_x:
        torch.testing.assert_close(given_x, before, rtol=0, atol=0, equal_nan=True)
    return case.read(y, behind=True)


@given(case=cases)
@many_examples
def test_bias_and_relu(case: Case):
    generator = torch.Generator().manual_seed(case.seed)
    x, bias = case.random(generator), case.bias(generator)
    guarded = Guarded(case.shift)
    y = forward(case, x, bias, guarded)
    guarded.check()

    def right(dtype: torch.dtype) -> Tensor:
        total = x.to(dtype) + case.spread(bias).to(dtype)
        return total.relu() if case.relu else total

    magnitude = x.double().abs() + case.spread(bias).double().abs()
    # What is a rounding away from 0 may be on either side of it.
    assert_as_exact(y, right(torch.float32).to(case.dtype), right(torch.float64), magnitude)
    if case.dtype == torch.float32:
        assert torch.equal(y, right(torch.float32))


def backward(
    case: Case, grad: Tensor, y: Tensor, guarded: Guarded
) -> tuple[Tensor, Tensor, Tensor]:
    """The kernels' gradients by the product (N, P, C) and by the bias, and the partial sums."""
    own = guarded.of(case.lies(grad, behind=True))
    before, out = own.clone(), own
    if case.product.turned or case.relu:
        out = guarded.empty(tuple(case.lies(grad, behind=False).shape), case.dtype)
    columns, rows = case.product.columns, partial_rows(case.product)
    partials = guarded.empty((1 + rows + 2, columns + 3))
    mine = partials[:, 2 : 2 + columns]
    passed = guarded.of(case.lies(y, behind=True)) if case.relu else None
    with kernels():
        relu_backward(own, passed, out, mine, case.product)
        by_bias = bias_gradients(mine.contiguous(), None)
    assert torch.equal(own, before)
    assert (mine[0] == rows).all()
    assert mine[: 1 + rows].isfinite().all()
    assert partials[1 + rows :].isnan().all()
    assert partials[:, :2].isnan().all()
    assert partials[:, 2 + columns :].isnan().all()
    return case.read(out, behind=False), by_bias, mine


@given(case=cases)
@many_examples
def test_gradients_of_bias_and_relu(case: Case):
    generator = torch.Generator().manual_seed(case.seed)
    grad, y = case.random(generator), case.random(generator).relu()
    guarded = Guarded(case.shift)
    by_x, by_bias, _ = backward(case, grad, y, guarded)
    guarded.check()
    passed = grad.where(y > 0, torch.zeros_like(grad)) if case.relu else grad
    assert torch.equal(by_x, passed)
    assert by_bias.dtype == torch.float32
    assert_as_exact(
        by_bias,
        case.summed(passed.float()),
        case.summed(passed.double()),
        case.summed(passed.double().abs()),
    )


@pytest.mark.parametrize("turned", [None, "flatten", "unflatten"])
@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_what_is_not_finite_stays_so(turned: str | None, bad: float):
    case = Case(Product(3, 6, 5, turned), True, torch.float32, "normal", 0, 0)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    x, bias = case.random(generator), case.bias(generator)
    x[1, 2, 3] = bad
    y = forward(case, x, bias, Guarded(0))
    right = (x + case.spread(bias)).relu()
    torch.testing.assert_close(y, right, rtol=0, atol=0, equal_nan=True)
    grad = torch.ones_like(x)
    grad[0, 1, 2] = bad
    y = torch.ones_like(x)
    y[2, 0, 0] = NAN  # as torch's own: the gradient passes
    own = case.lies(grad, behind=True).contiguous()
    out = torch.empty_like(case.lies(grad, behind=False), memory_format=torch.contiguous_format)
    partials = torch.empty(1 + partial_rows(case.product), case.product.columns, device=DEVICE)
    with kernels():
        relu_backward(own, case.lies(y, behind=True).contiguous(), out, partials, case.product)
        by_bias = bias_gradients(partials, None)
    right = torch.ops.aten.threshold_backward(grad, y, 0)
    found = case.read(out, behind=False)
    torch.testing.assert_close(found, right, rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(by_bias, case.summed(right), equal_nan=True)


def test_results_repeat_bitwise():
    generator = torch.Generator().manual_seed(0)
    for turned in (None, "flatten", "unflatten"):
        case = Case(Product(20, 16, 17, turned), True, torch.float32, "normal", 0, 0)  # type: ignore[arg-type]
        grad, y = case.random(generator), case.random(generator)
        first, second = (backward(case, grad, y, Guarded(0)) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first[:2], second[:2], strict=True))


def test_many_programs_share_the_rows(monkeypatch: pytest.MonkeyPatch):
    """However many groups a program takes, the sums are those of all."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for programs in (1, 3, 1000):
        monkeypatch.setattr(blocks, "FEW_PROGRAMS", programs)
        for turned in (None, "flatten", "unflatten"):
            case = Case(Product(20, 17, 9, turned), False, torch.float32, "normal", 0, 0)  # type: ignore[arg-type]
            grad = case.random(generator.manual_seed(1))
            _, by_bias, partials = backward(case, grad, grad, Guarded(0))
            torch.testing.assert_close(by_bias, case.summed(grad), rtol=1e-4, atol=1e-4)
            found.append(len(partials))
    assert len(set(found)) > 4


@given(
    columns=st.sampled_from([0, 1, 5, 64, 65, 200]),
    rows=st.sampled_from([0, 1, 31, 33, 100]),
    last=st.sampled_from([None, (0, 3), (1, 1), (40, 30), (65, 130)]),
    dtype=dtypes,
    seed=st.integers(0, 2**31),
    shift=st.integers(0, 1),
)
@many_examples
def test_biases_are_finished_together(
    columns: int,
    rows: int,
    last: tuple[int, int] | None,
    dtype: torch.dtype,
    seed: int,
    shift: int,
):
    if not columns and last is None:
        return
    generator, guarded = torch.Generator().manual_seed(seed), Guarded(shift)
    counts = torch.randint(0, rows + 1, (columns,), generator=generator).to(DEVICE)
    values = torch.randn(rows, columns, generator=generator).to(DEVICE)
    written = torch.arange(rows, device=DEVICE)[:, None] < counts
    partials = guarded.of(torch.cat([counts[None], values.where(written, NAN * values)]))
    matrix = None
    if last is not None:
        matrix = torch.randn(last, generator=generator).to(DEVICE, dtype)
    with kernels():
        found = bias_gradients(partials, None if matrix is None else guarded.of(matrix))
    guarded.check()
    of_partials = values.double().where(written, torch.zeros((), dtype=torch.double)).sum(0)
    of_matrix = [] if matrix is None else [matrix.double().sum(0)]
    exact = torch.cat([of_partials, *of_matrix])
    assert found.dtype == torch.float32
    magnitude = torch.cat([values.double().abs().sum(0), *(m.abs() + 9 for m in of_matrix)])
    assert_as_exact(found, exact.float(), exact, magnitude)


# --- gather ---------------------------------------------------------------------------------------


@given(
    images=st.integers(1, 5),
    taken=st.sampled_from([0, 1, 7]),
    size=st.sampled_from([(1, 1, 1), (1, 5, 7), (3, 4, 6), (4, 33, 32), (17, 3, 3)]),
    kind=st.sampled_from([torch.uint8, torch.float32, torch.bfloat16, torch.float64]),
    dtype=dtypes,
    seed=st.integers(0, 2**31),
    shift=st.integers(0, 1),
)
@many_examples
def test_gathered_images(
    images: int,
    taken: int,
    size: tuple[int, int, int],
    kind: torch.dtype,
    dtype: torch.dtype,
    seed: int,
    shift: int,
):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(0, 256, (images, *size), generator=generator)
    values = values.to(DEVICE, kind) if kind == torch.uint8 else (values / 255).to(DEVICE, kind)
    memory = torch.empty(shift + values.numel(), dtype=kind, device=DEVICE)
    pixels = memory[shift:].view(values.shape).copy_(values)
    index = torch.randint(0, images, (taken,), generator=generator).to(DEVICE)
    with kernels():
        found = functional.gather_images(pixels, index, dtype)
    right = reference.gather_images(pixels, index, dtype)
    assert (found.shape, found.dtype) == (right.shape, right.dtype)
    exact = reference.gather_images(values, index, torch.float64)
    assert_as_exact(found, right, exact, 1.0)
    if dtype == torch.float32 and kind != torch.float64:
        assert torch.equal(found, right)
    if kind != torch.float64:
        assert found.permute(0, 2, 3, 1).is_contiguous()


def test_the_reference_gathers_the_same():
    pixels = torch.arange(256, dtype=torch.uint8, device=DEVICE).view(2, 2, 8, 8)
    index = torch.tensor([1, 0, 1], device=DEVICE)
    found = reference.gather_images(pixels, index, torch.float64)
    assert torch.equal(found, pixels[index].double() / 255)


def test_what_is_not_contiguous_or_differentiable_goes_to_the_reference():
    pixels = torch.rand(3, 4, 4, 2, device=DEVICE).permute(0, 3, 1, 2)
    index = torch.tensor([2, 0], device=DEVICE)
    with kernels():
        assert torch.equal(functional.gather_images(pixels, index), pixels[index])
        constant = pixels.contiguous().requires_grad_()
        with pytest.raises(BackendError, match="no gradient of images"):
            functional.gather_images(constant, index)


@pytest.mark.parametrize(
    ("images", "index", "message"),
    [
        (torch.zeros(3, 4, 4), torch.zeros(2).long(), r"\(M, C, H, W\), .* got \(3, 4, 4\)"),
        (torch.zeros(3, 1, 4, 4).long(), torch.zeros(2).long(), "torch.int64"),
        (torch.zeros(3, 1, 4, 4), torch.zeros(2), r"\(N,\) int64, got \(2,\), torch.float32"),
        (torch.zeros(3, 1, 4, 4), torch.zeros(2, 1).long(), r"\(N,\) int64, got \(2, 1\)"),
        (torch.zeros(3, 1, 4, 4), torch.zeros(2, device="meta").long(), "index must be on cpu"),
    ],
)
def test_images_and_indices_that_cannot_be(images: Tensor, index: Tensor, message: str):
    with pytest.raises(ArgumentError, match=message):
        functional.gather_images(images, index)
