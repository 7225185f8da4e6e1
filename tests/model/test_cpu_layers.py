from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fastjvae import JointVAE, backend
from fastjvae.model.chain import run_chain
from fastjvae.model.cpu_convolutions import (
    FEW_CHANNELS,
    transposed_to_few_channels,
    weight_gradient_of_patches,
)

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


@pytest.mark.parametrize(
    "context",
    [
        lambda: torch.no_grad(),
        lambda: backend("reference"),
        lambda: torch.autocast("cpu", torch.float16),
    ],
    ids=["no_grad", "reference", "autocast of another dtype"],
)
def test_modules_run_where_only_they_can(context: Any):
    stack, x = small_stack()
    with context():
        output = run_chain(stack, x)
        assert not taken_by_hand(output)
        torch.testing.assert_close(output, stack(x))


# --- bfloat16, which PyTorch emulates where a CPU has none ----------------------------------------


def half(run: Any) -> Any:
    """A chain's forward and backward pass under autocast."""

    def run_half(stack: Any, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return run(stack, x)  # type: ignore[no-any-return]

    return run_half


def rounded(stack: nn.Module, x: Tensor) -> tuple[nn.Module, Tensor]:
    """Both in float64, with weights and images as bfloat16 has them."""
    exact = copy.deepcopy(stack)
    with torch.no_grad():
        for parameter in exact.parameters():
            parameter.copy_(parameter.bfloat16())
    return exact.double(), x.detach().bfloat16().double().requires_grad_()


@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    rows=st.integers(1, 5),
    side=st.integers(1, 3),
    transposed=st.booleans(),
    relu_at_end=st.booleans(),
    layout=st.sampled_from(["contiguous", "channels_last", "sliced"]),
)
def test_bfloat16_is_as_near_to_float64_as_the_modules_are(
    widths: list[int], rows: int, side: int, transposed: bool, relu_at_end: bool, layout: str
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
    output = half(run_chain)(stack, x)
    assert taken_by_hand(output)
    assert output.dtype == torch.float32
    grad = torch.randn(output.shape)
    before = grad.clone()
    ours = gradients(half(run_chain), stack, x, grad)
    assert torch.equal(grad, before)
    again = gradients(half(run_chain), stack, x, grad)
    assert all(torch.equal(one, other) for one, other in zip(ours, again, strict=True))
    library = gradients(lambda stack, x: half(plain)(stack, x).float(), stack, x, grad)
    exact = gradients(plain, *rounded(stack, x), grad.double())
    for mine, theirs, oracle in zip(ours, library, exact, strict=True):
        assert mine.dtype == torch.float32
        # Roundings of 2^-9 in each layer, and ReLUs whose input is a rounding away from 0.
        floor = 2**-6 * oracle.norm() + 1e-6
        assert (mine - oracle).norm() <= 2 * (theirs - oracle).norm() + floor


def test_bfloat16_rounds_and_float32_does_not():
    stack, x = small_stack()
    exact = gradients(run_chain, stack, x, torch.ones(4, 4, 4, 4))
    found = gradients(half(run_chain), stack, x, torch.ones(4, 4, 4, 4))
    assert not torch.equal(found[0], exact[0])
    for mine, theirs in zip(found, exact, strict=True):
        assert (mine - theirs).norm() <= 2**-5 * theirs.norm()


def test_latent_parameters_and_masters_stay_float32_in_bfloat16():
    model = JointVAE((1, 32, 32), {"cont": 3, "disc": [4]})
    images, noise = torch.rand(4, 1, 32, 32), {"normal": torch.randn(4, 3)}
    noise["uniform"] = torch.rand(4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        params = model.encode_params(images)
        out = model.loss(images, 1, **noise)  # type: ignore[arg-type]
    assert params.dtype == out.loss.dtype == torch.float32
    assert not torch.equal(params, params.bfloat16().float())  # no number passed bfloat16 last
    out.loss.backward()
    for parameter in model.parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32
        assert parameter.stride() == parameter.grad.stride()
    exact = model.loss(images, 1, **noise)  # type: ignore[arg-type]
    torch.testing.assert_close(out.loss, exact.loss, rtol=1e-4, atol=0)


def test_a_changed_chain_is_left_to_autocast_in_bfloat16():
    stack, x = small_stack()
    stack[0].register_forward_hook(lambda *found: 2 * found[2])
    output = half(run_chain)(stack, x)
    assert not taken_by_hand(output)
    assert output.dtype == torch.bfloat16


def test_second_derivatives_of_bfloat16_are_near():
    stack, x = small_stack()

    def penalty(run: Any) -> Tensor:
        (slope,) = torch.autograd.grad(run(stack, x).square().sum(), x, create_graph=True)
        return torch.cat([g.flatten() for g in torch.autograd.grad(slope.square().sum(), [x])])

    mine, theirs = penalty(half(run_chain)), penalty(run_chain)
    assert (mine - theirs).norm() <= 2**-4 * theirs.norm()


@pytest.mark.parametrize("inputs", [1, 3, 8])
@pytest.mark.parametrize("size", [(2, 2), (4, 6), (8, 8)])
def test_patches_give_the_gradient_of_the_weight(inputs: int, size: tuple[int, int]):
    layer = nn.Conv2d(inputs, 5, 4, 2, 1).double()
    x = torch.randn(3, inputs, *size).double()
    output = layer(x)
    grad = torch.randn_like(output)
    (right,) = torch.autograd.grad(output, layer.weight, grad)
    torch.testing.assert_close(weight_gradient_of_patches(grad, x), right)


# --- chains that are not as built -----------------------------------------------------------------


def _replaced(place: int, layer: nn.Module) -> Any:
    return lambda stack: stack.__setitem__(place, layer)


def _weight_norm(stack: nn.Sequential) -> None:
    nn.utils.parametrizations.weight_norm(stack[0])
    with torch.no_grad():
        stack[0].parametrizations.weight.original0.mul_(2.0)


def _own_forward(stack: nn.Sequential) -> None:
    forward = stack[0].forward
    stack[0].forward = lambda x: 2 * forward(x)  # as accelerate's hooks do


class _Doubled(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


CHANGES: dict[str, Any] = {
    "reflect": _replaced(2, nn.Conv2d(8, 4, 4, 2, 1, padding_mode="reflect")),
    "dilation": _replaced(2, nn.Conv2d(8, 4, 3, 2, 2, dilation=2)),
    "dilation of a 4x4 kernel": _replaced(2, nn.Conv2d(8, 4, 4, 2, 1, dilation=2)),
    "groups": _replaced(2, nn.Conv2d(8, 4, 4, 2, 1, groups=4)),
    "kernel": _replaced(2, nn.Conv2d(8, 4, 5, 2, 2)),
    "stride": _replaced(2, nn.Conv2d(8, 4, 4, (2, 1), 1)),
    "padding by name": _replaced(2, nn.Conv2d(8, 4, 4, 2, "valid")),
    "transposed, output padding": _replaced(2, nn.ConvTranspose2d(8, 4, 4, 2, 1, output_padding=1)),
    "transposed, kernel": _replaced(2, nn.ConvTranspose2d(8, 4, 2, 2)),
    "no bias": _replaced(2, nn.Conv2d(8, 4, 4, 2, 1, bias=False)),
    "a class of one's own": _replaced(0, _Doubled(1, 8, 4, 2, 1)),
    "another layer": _replaced(1, nn.LeakyReLU()),
    "a linear layer over the columns": _replaced(2, nn.Linear(8, 4)),
    "flattened channels": _replaced(3, nn.Flatten(2)),
    "a ReLU first": lambda stack: stack.insert(0, nn.ReLU()),
    "weight norm": _weight_norm,
    "a forward of its own": _own_forward,
    "a hook": lambda stack: stack[0].register_forward_hook(lambda *found: 2 * found[2]),
    "a hook before": lambda stack: stack[2].register_forward_pre_hook(lambda _, x: 2 * x[0]),
    "a container's hook": lambda stack: stack.register_forward_hook(lambda *found: 2 * found[2]),
    "an inner container": _replaced(2, nn.Sequential(nn.Conv2d(8, 4, 4, 2, 1), nn.Tanh())),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_chain_that_was_changed_computes_what_its_modules_do(change: Any):
    stack = nn.Sequential(
        nn.Conv2d(1, 8, 4, 2, 1), nn.ReLU(), nn.Conv2d(8, 4, 4, 2, 1), nn.Flatten()
    )
    x = torch.randn(2, 1, 16, 16)
    assert taken_by_hand(run_chain([stack], x))
    change(stack)
    before = x.clone()
    output = run_chain([stack], x)
    assert not taken_by_hand(output)
    assert torch.equal(x, before)
    torch.testing.assert_close(output, stack(x), rtol=1e-5, atol=1e-5)
    output.sum().backward()


def test_another_first_layer_of_the_model_is_the_same_in_training_and_evaluation():
    model = JointVAE((3, 32, 32), {"cont": 2, "disc": [3]})
    model.encoder.features[0] = nn.Conv2d(3, 32, 4, 2, 1, padding_mode="circular")
    model.decoder.features_to_image[-1] = nn.ConvTranspose2d(32, 3, 6, 2, 2)
    x, sample = torch.rand(2, 3, 32, 32), torch.rand(2, 5)
    with torch.no_grad():
        expected = model.encode_params(x), model.decode_logits(sample)
    found = model.encode_params(x), model.decode_logits(sample)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "encoder",
        "encoder.features",
        "encoder.hidden",
        "decoder.latent_to_features",
        "decoder.latent_to_features.0",
        "decoder.to_images",
        "decoder.features_to_image",
    ],
)
def test_hooks_fire_wherever_they_hang(name: str):
    model = JointVAE((1, 16, 16), {"cont": 2, "disc": [3]})
    module, fired = model.get_submodule(name), []
    module.register_forward_pre_hook(lambda *_: fired.append("before"))
    module.register_forward_hook(lambda *_: fired.append("after"))
    module.register_full_backward_pre_hook(lambda *_: fired.append("gradient before"))
    module.register_full_backward_hook(lambda *_: fired.append("gradient after"))
    model.loss(torch.rand(2, 1, 16, 16, requires_grad=True), 1).loss.backward()
    assert fired == ["before", "after", "gradient before", "gradient after"]


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_activations_can_be_computed_again_in_the_backward_pass(use_reentrant: bool):
    from torch.utils.checkpoint import checkpoint

    model = JointVAE((1, 16, 16), {"cont": 2, "disc": [3]})
    x, noise = torch.rand(4, 1, 16, 16), {"normal": torch.randn(4, 2), "uniform": torch.rand(4, 3)}

    def loss(images: Tensor) -> Tensor:
        return model.loss(images, 1, **noise).loss  # type: ignore[arg-type]

    found = []
    for run in (loss, lambda images: checkpoint(loss, images, use_reentrant=use_reentrant)):
        images = x.clone().requires_grad_()
        found.append(torch.autograd.grad(run(images), images) if not use_reentrant else ())
        model.zero_grad()
        run(images).backward()
        found[-1] += (images.grad, *(p.grad for p in model.parameters()))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


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


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of torch.jit
def test_transforms_of_torch_func_take_the_model():
    model = JointVAE((1, 16, 16), {"cont": 2, "disc": [3]}).eval()
    x = torch.rand(3, 1, 16, 16)
    reconstruction, latent_dist = model(x)
    images, one_by_one = torch.func.vmap(lambda image: model(image[None]))(x)
    torch.testing.assert_close(images[:, 0], reconstruction, rtol=1e-4, atol=1e-5)
    for part in ("cont", "disc"):
        for mine, theirs in zip(one_by_one[part], latent_dist[part], strict=True):
            torch.testing.assert_close(mine[:, 0], theirs, rtol=1e-4, atol=1e-5)
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    called, _ = torch.func.functional_call(model, parameters, (x,))
    torch.testing.assert_close(called, reconstruction, rtol=1e-4, atol=1e-5)
    value, slope = torch.func.jvp(model.encode_params, (x,), (torch.ones_like(x),))
    above = model.encode_params(x + 1e-2)
    torch.testing.assert_close(value + 1e-2 * slope, above, rtol=1e-2, atol=1e-3)


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
    for channels in range(1, FEW_CHANNELS + 1):
        layer = nn.ConvTranspose2d(5, channels, 4, stride=2, padding=1)
        x = torch.randn(2, 5, 3, 4)
        mine = transposed_to_few_channels(x, layer.weight, layer.bias)
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
