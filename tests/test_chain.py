from __future__ import annotations

import contextlib
import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fastjvae import JointVAE, backend, chain
from fastjvae.chain import run_chain

CHANNELS_LAST = torch.channels_last


def stack_of(widths: list[int], transposed: bool, relu_at_end: bool) -> nn.Sequential:
    layer = nn.ConvTranspose2d if transposed else nn.Conv2d
    modules: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        modules += [layer(inputs, outputs, 4, stride=2, padding=1), nn.ReLU()]
    stack = nn.Sequential(*(modules if relu_at_end else modules[:-1]))
    return stack.to(memory_format=CHANNELS_LAST)


def small_stack(transposed: bool = False) -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(0)
    stack = stack_of([3, 8, 2] if transposed else [1, 8, 4], transposed, not transposed)
    x = torch.randn(4, 3, 4, 4) if transposed else torch.randn(4, 1, 16, 16)
    return stack, x.contiguous(memory_format=CHANNELS_LAST).requires_grad_()


def taken_by_hand(output: Tensor) -> bool:
    return type(output.grad_fn).__name__ == "_ChainBackward"


def gradients(run: Any, stack: nn.Sequential, x: Tensor, upstream: Tensor) -> list[Tensor]:
    output = run(stack, x)
    wanted = [x, *stack.parameters()]
    return [output.detach(), *torch.autograd.grad(output, wanted, upstream)]


def plain(stack: nn.Sequential, x: Tensor) -> Tensor:
    return stack(x)  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("default")
@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    rows=st.integers(1, 5),
    side=st.integers(1, 3),
    transposed=st.booleans(),
    relu_at_end=st.booleans(),
    layout=st.sampled_from(["contiguous", "channels_last", "sliced"]),
    upstream=st.sampled_from(["random", "expanded", "channels_last"]),
)
def test_outputs_and_gradients_are_the_modules(
    widths: list[int],
    rows: int,
    side: int,
    transposed: bool,
    relu_at_end: bool,
    layout: str,
    upstream: str,
):
    torch.manual_seed(0)
    stack = stack_of(widths, transposed, relu_at_end)
    depth = len(widths) - 1
    height, width = (side, side + 1) if transposed else (side << depth, (side + 1) << depth)
    x = torch.randn(rows, widths[0], height, width + 3)[..., 3:]
    if layout != "sliced":
        order = CHANNELS_LAST if layout == "channels_last" else torch.contiguous_format
        x = x.contiguous(memory_format=order)
    x.requires_grad_()
    output = run_chain(stack, x)
    assert taken_by_hand(output)
    grad = torch.randn(output.shape)
    if upstream == "expanded":
        grad = torch.randn(rows, 1, 1, 1).expand(output.shape)
    elif upstream == "channels_last":
        grad = grad.contiguous(memory_format=CHANNELS_LAST)
    before = grad.clone()
    ours = gradients(run_chain, stack, x, grad)
    assert torch.equal(grad, before)  # written over only between the stack's own layers
    again = gradients(run_chain, stack, x, grad)
    assert all(torch.equal(one, other) for one, other in zip(ours, again, strict=True))
    theirs = gradients(plain, stack, x, grad)
    exact_stack = stack_of(widths, transposed, relu_at_end).double()
    exact_stack.load_state_dict(stack.state_dict())
    exact = gradients(plain, exact_stack, x.detach().double().requires_grad_(), grad.double())
    for mine, library, oracle in zip(ours, theirs, exact, strict=True):
        assert mine.shape == oracle.shape
        # ReLUs whose input is a rounding away from 0 may differ; none does at this seed.
        floor = 4e-6 * oracle.abs().max() + 1e-7
        assert (mine - oracle).abs().max() <= 2 * (library - oracle).abs().max() + floor


@pytest.mark.parametrize("transposed", [False, True])
def test_what_needs_no_gradient_gets_none(transposed: bool):
    stack, x = small_stack(transposed)
    x = x.detach()
    stack[0].weight.requires_grad_(False)
    run_chain(stack, x).sum().backward()
    assert stack[0].weight.grad is None
    found = [stack[0].bias.grad, stack[2].weight.grad, stack[2].bias.grad]
    stack.zero_grad()
    stack(x).sum().backward()
    for mine, layer in zip(found, (stack[0].bias, stack[2].weight, stack[2].bias), strict=True):
        torch.testing.assert_close(mine, layer.grad, rtol=1e-5, atol=1e-5)
    for parameter in stack.parameters():
        parameter.requires_grad_(False)
    assert not run_chain(stack, x).requires_grad


@pytest.mark.parametrize("transposed", [False, True])
def test_second_derivatives_are_pytorchs(transposed: bool):
    stack, x = small_stack(transposed)

    def penalty(run: Any) -> list[Tensor]:
        (slope,) = torch.autograd.grad(run(stack, x).square().sum(), x, create_graph=True)
        found = torch.autograd.grad(
            slope.square().sum(), [x, *stack.parameters()], allow_unused=True
        )
        return [slope, *(g for g in found if g is not None)]

    for mine, theirs in zip(penalty(run_chain), penalty(plain), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_a_graph_kept_gives_the_same_gradient_twice():
    stack, x = small_stack()
    output = run_chain(stack, x).sum()
    first = torch.autograd.grad(output, [x, *stack.parameters()], retain_graph=True)
    second = torch.autograd.grad(output, [x, *stack.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def _hooked(stack: nn.Sequential) -> Any:
    return stack[0].register_forward_hook(lambda *_: None)


def _replaced(stack: nn.Sequential) -> Any:
    stack[1] = nn.LeakyReLU()
    return contextlib.nullcontext()


@pytest.mark.parametrize(
    "context",
    [
        lambda _: torch.no_grad(),
        lambda _: backend("reference"),
        lambda _: torch.autocast("cpu", torch.bfloat16),
        _hooked,
        _replaced,
    ],
    ids=["no_grad", "reference", "autocast", "hook", "another layer"],
)
def test_modules_run_where_only_they_can(context: Any):
    stack, x = small_stack()
    with context(stack):
        output = run_chain(stack, x)
        assert not taken_by_hand(output)
        torch.testing.assert_close(output, stack(x))


def test_other_dtypes_and_empty_batches_are_left_to_the_modules():
    stack, x = small_stack()
    assert not taken_by_hand(run_chain(stack, x[:0]))
    assert not taken_by_hand(run_chain(stack.double(), x.double()))


def test_transforms_of_torch_func_work():
    stack, x = small_stack()
    parameters = dict(stack.named_parameters())

    def total(parameters: dict[str, Tensor], image: Tensor) -> Tensor:
        class Run(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.stack = stack

            def forward(self, image: Tensor) -> Tensor:
                return run_chain(self.stack, image)

        named = {f"stack.{name}": parameter for name, parameter in parameters.items()}
        return torch.func.functional_call(Run(), named, image[None]).sum()

    slopes = torch.func.vmap(torch.func.grad(total, argnums=1), (None, 0))(parameters, x.detach())
    (theirs,) = torch.autograd.grad(stack(x).sum(), x)
    torch.testing.assert_close(slopes, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_gradient_has_the_strides_of_its_weight(transposed: bool):
    """A weight of one channel may have two; DistributedDataParallel warns of the other one."""
    layer: Any = (nn.ConvTranspose2d if transposed else nn.Conv2d)(
        *((4, 1) if transposed else (1, 4)), 4, stride=2, padding=1
    )
    for order in (torch.contiguous_format, CHANNELS_LAST):
        layer.to(memory_format=order)
        weight = layer.weight
        run_chain([layer], torch.rand(2, 4 if transposed else 1, 8, 8)).sum().backward()
        assert weight.grad.stride() == weight.stride()
        weight.grad = None


def test_padding_to_whole_vectors_adds_no_channel():
    for channels in range(1, chain._FEW_CHANNELS + 1):
        layer = nn.ConvTranspose2d(5, channels, 4, stride=2, padding=1)
        x = torch.randn(2, 5, 3, 4)
        mine = chain._transposed_to_few_channels(x, layer.weight, layer.bias)
        torch.testing.assert_close(mine, layer(x), rtol=1e-5, atol=1e-5)
        assert mine.is_contiguous()


@pytest.mark.parametrize("img_size", [(1, 32, 32), (3, 64, 64), (2, 16, 24)])
def test_encoder_and_decoder_have_the_gradients_of_their_modules(img_size: tuple[int, int, int]):
    torch.manual_seed(0)
    model = JointVAE(img_size, {"cont": 3, "disc": [4]})
    exact = copy.deepcopy(model).double()
    images, sample = torch.rand(5, *img_size), torch.randn(5, 7, requires_grad=True)
    double = sample.detach().double().requires_grad_()
    for network, oracle, x, x64 in (
        (model.encoder, exact.encoder, images, images.double()),
        (model.decoder, exact.decoder, sample, double),
    ):
        output, right = network(x), oracle(x64)
        assert taken_by_hand(output)
        torch.testing.assert_close(output.double(), right, rtol=1e-5, atol=1e-5)
        upstream = torch.randn(output.shape)
        wanted, theirs = list(network.parameters()), list(oracle.parameters())
        if x.requires_grad:
            wanted, theirs = [x, *wanted], [x64, *theirs]
        ours = torch.autograd.grad(output, wanted, upstream)
        for mine, value in zip(
            ours, torch.autograd.grad(right, theirs, upstream.double()), strict=True
        ):
            assert (mine - value).abs().max() <= 1e-5 * value.abs().max()
