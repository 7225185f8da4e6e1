"""The kernel that moves images, against affine_grid and grid_sample."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import DEVICE, kernels, many_examples, seeds
from torch import Tensor

import fastjvae
from fastjvae.data.batches.augment import LARGEST, NUMBERS, RandomAffine
from fastjvae.errors import ArgumentError, BackendError
from fastjvae.functional import random_affine

memories = st.sampled_from(["contiguous", "channels last", "transposed", "every second", "one"])


def placed(images: Tensor, memory: str) -> Tensor:
    """The same images, otherwise in memory; unused elements are 255 or NaN."""
    unused: Any = 255 if images.dtype == torch.uint8 else math.nan
    if memory == "channels last":
        return images.contiguous(memory_format=torch.channels_last)
    if memory == "transposed":
        return images.transpose(2, 3).contiguous().transpose(2, 3)
    if memory == "every second":
        larger = images.new_full((*images.shape[:3], 2 * images.shape[3]), unused)
        larger[..., ::2] = images
        return larger[..., ::2]
    if memory == "one" and len(images):  # of stride 0 along the batch
        return images[:1].expand_as(images)
    return images


@given(
    count=st.sampled_from([0, 1, 2, 5]), channels=st.sampled_from([1, 3]),
    height=st.sampled_from([1, 2, 5, 16, 33]), width=st.sampled_from([1, 3, 16, 17]),
    dtype=st.sampled_from([torch.uint8, torch.float32, torch.bfloat16, torch.float16]),
    memory=memories, sliced=st.booleans(), strength=st.sampled_from([0.0, 0.3, 1.0, 4.0, 100.0]),
    seed=seeds,
)  # fmt: skip
@many_examples
def test_images_move_as_grid_sample_moves_them(
    count: int,
    channels: int,
    height: int,
    width: int,
    dtype: torch.dtype,
    memory: str,
    sliced: bool,
    strength: float,
    seed: int,
):
    generator = torch.Generator().manual_seed(seed % 2**63)
    images = torch.randint(0, 256, (count, channels, height, width), generator=generator)
    images = images.to(torch.uint8) if dtype == torch.uint8 else (images / 255).to(dtype)
    images = placed(images.to(DEVICE), memory)
    uniform = torch.rand(count, 2 * NUMBERS, generator=generator).to(DEVICE)
    uniform = uniform[:, ::2] if sliced else uniform[:, :NUMBERS].contiguous()
    largest = strength * torch.tensor(LARGEST, device=DEVICE)
    with kernels():
        ours = random_affine(images, uniform, largest)
    theirs = random_affine(images, uniform, largest)
    exact = random_affine(images.double(), uniform.double(), largest.double())
    exact = exact / 255 if dtype == torch.uint8 else exact
    assert (ours.shape, ours.dtype) == (images.shape, torch.float32)
    assert ours.is_contiguous(memory_format=torch.channels_last)
    # A place is off by roundings of what it is a sum of, and a value by its slope times that.
    off = 30 * 2**-24 * (1 + strength) ** 3 * max(height, width)
    if theirs.numel():
        assert (theirs - exact).abs().max() <= off
        assert (ours - exact).abs().max() <= off


def test_a_whole_batch_is_one_launch(launches: dict[str, int]):
    images = torch.randint(0, 256, (3, 3, 20, 20), dtype=torch.uint8, device=DEVICE)
    transform = RandomAffine(0.5, images.device, torch.float32)
    uniform = torch.rand(3, NUMBERS, device=DEVICE)
    with kernels():
        first, second = (transform(images, uniform) for _ in range(2))
    assert torch.equal(first, second)
    assert launches == {"random_affine": 2}
    torch.testing.assert_close(first, transform(images, uniform), rtol=0, atol=2e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_shows(bad: float):
    images = torch.zeros(1, 1, 4, 4, device=DEVICE)
    images[0, 0, 1, 2] = bad
    middle = torch.full((1, NUMBERS), 0.5, device=DEVICE)
    with kernels():
        assert (
            not random_affine(images, middle, torch.ones(NUMBERS, device=DEVICE)).isfinite().all()
        )


def test_a_gradient_of_images_is_the_references():
    images = torch.rand(2, 1, 4, 4, device=DEVICE, requires_grad=True)
    uniform, largest = torch.rand(2, NUMBERS, device=DEVICE), torch.ones(NUMBERS, device=DEVICE)
    with kernels(), pytest.raises(BackendError, match="no gradient of images"):
        random_affine(images, uniform, largest)
    assert torch.autograd.grad(random_affine(images, uniform, largest).sum(), images)[0].any()


@pytest.mark.parametrize("shape", [(2, 5), (3, 6)])
def test_other_shapes_are_one_sentence(shape: tuple[int, int]):
    with pytest.raises(ArgumentError, match=r"uniform \(N, 6\) and largest \(6,\), got \(2, 1, 4,"):
        random_affine(torch.zeros(2, 1, 4, 4), torch.zeros(shape), torch.zeros(6))


@pytest.mark.parametrize("name", ["random_affine", "record_row"])
def test_they_compile_whole(name: str, fresh_compiler: None):
    images, uniform = torch.rand(2, 1, 4, 4, device=DEVICE), torch.rand(2, NUMBERS, device=DEVICE)
    largest = torch.ones(NUMBERS, device=DEVICE)

    def affine() -> Tensor:
        return random_affine(images, uniform, largest)

    def record() -> Tensor:
        rows, following = torch.zeros(2, 6, device=DEVICE), torch.ones(1, device=DEVICE).long()
        fastjvae.functional.record_row(rows, following, [largest], factors=[2.0], counts=following)
        return rows

    function = {"random_affine": affine, "record_row": record}[name]
    with kernels():
        found = torch.compile(function, fullgraph=True, backend="aot_eager")()
        assert torch.equal(found, function())
