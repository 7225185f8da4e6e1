"""Chains by Triton's kernels: the modules' outputs and gradients, wherever they take a chain."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
import torch
from examples import some
from hypothesis import given
from hypothesis import strategies as st
from kernel_cases import DEVICE, kernels, many_examples
from kernel_models import OBJECTIVE, images
from torch import Tensor, nn

import fastjvae
from fastjvae import JointVAE
from fastjvae.errors import ArgumentError, BackendError
from fastjvae.functional.backends import choice
from fastjvae.model import triton_layers, triton_passes
from fastjvae.model.chain import run_chain

CHANNELS_LAST = torch.channels_last
SPEC = {"cont": 3, "disc": [4]}


def taken(output: Tensor) -> bool:
    return "_Chain" in type(output.grad_fn).__name__


def gradients(output: Tensor, wanted: list[Tensor], upstream: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(output, wanted, upstream.to(output.dtype)))


def by_kernels(modules: list[nn.Module], x: Tensor) -> Tensor:
    output = run_chain(modules, x, "triton")
    assert taken(output)
    return output


def assert_close(ours: list[Tensor], library: list[Tensor], exact: list[Tensor]) -> None:
    for mine, theirs, right in zip(ours, library, exact, strict=True):
        assert mine.shape == right.shape
        # ReLUs whose input is a rounding away from 0 may differ; none does at these seeds.
        floor = 4e-6 * right.abs().max() + 1e-7
        assert (mine - right).abs().max() <= 2 * (theirs - right).abs().max() + floor


@given(
    widths=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    features=st.lists(st.integers(1, 9), max_size=2),
    rows=st.integers(1, 5),
    side=st.integers(1, 2),
    order=st.sampled_from(["down", "up"]),
    relu_at_end=st.booleans(),
    layout=st.sampled_from(["contiguous", "channels_last", "sliced"]),
    upstream=st.sampled_from(["random", "expanded", "channels_last"]),
    channels_last=st.booleans(),
)
@many_examples
def test_outputs_and_gradients_are_the_modules(
    widths: list[int],
    features: list[int],
    rows: int,
    side: int,
    order: str,
    relu_at_end: bool,
    layout: str,
    upstream: str,
    channels_last: bool,
):
    torch.manual_seed(0)
    depth, modules = len(widths) - 1, list[nn.Module]()
    if order == "down":  # images, then rows
        for before, behind in pairwise(widths):
            modules += [nn.Conv2d(before, behind, 4, 2, 1), nn.ReLU()]
        modules += [nn.Flatten()] if features else []
        shape = (rows, widths[0], side << depth, (side + 1) << depth)
        for before, behind in pairwise([widths[-1] * side * (side + 1), *features]):
            modules += [nn.Linear(before, behind), nn.ReLU()]
    else:  # rows, then images
        inner = widths[0] * side * (side + 1)
        for before, behind in pairwise([*features, inner] if features else []):
            modules += [nn.Linear(before, behind), nn.ReLU()]
        modules += [nn.Unflatten(1, (widths[0], side, side + 1))] if features else []
        shape = (rows, features[0]) if features else (rows, widths[0], side, side + 1)  # type: ignore[assignment]
        for before, behind in pairwise(widths):
            modules += [nn.ConvTranspose2d(before, behind, 4, 2, 1), nn.ReLU()]
    chain = nn.Sequential(*(modules if relu_at_end else modules[:-1])).to(DEVICE)
    if channels_last:
        chain.to(memory_format=CHANNELS_LAST)
    x = torch.randn(*shape[:-1], shape[-1] + 3, device=DEVICE)[..., 3:]
    if layout != "sliced":
        is_last = layout == "channels_last" and x.dim() == 4
        x = x.contiguous(memory_format=CHANNELS_LAST if is_last else torch.contiguous_format)
    x.requires_grad_()
    before_x = x.detach().clone()
    with kernels():
        output = by_kernels([chain], x)
        grad = torch.randn(output.shape, device=DEVICE)
        if upstream == "expanded":
            grad = grad[:, :1].expand(output.shape)
        elif upstream == "channels_last" and grad.dim() == 4:
            grad = grad.contiguous(memory_format=CHANNELS_LAST)
        before_grad, wanted = grad.clone(), [x, *chain.parameters()]
        ours = gradients(output, wanted, grad)
        again = gradients(by_kernels([chain], x), wanted, grad)
    assert torch.equal(x, before_x)
    assert torch.equal(grad, before_grad)
    assert all(torch.equal(one, other) for one, other in zip(ours, again, strict=True))
    assert all(
        mine.stride() == p.stride() for mine, p in zip(ours[1:], chain.parameters(), strict=True)
    )
    library = chain(x)
    exact = copy.deepcopy(chain).double()
    double = x.detach().double().requires_grad_()
    right = exact(double)
    theirs = gradients(right, [double, *exact.parameters()], grad)
    assert_close(
        [output.detach(), *ours],
        [library.detach(), *gradients(library, wanted, grad)],
        [right.detach(), *theirs],
    )


def networks_of(size: tuple[int, int, int]) -> JointVAE:
    torch.manual_seed(0)
    model = JointVAE(size, SPEC).to(DEVICE, memory_format=CHANNELS_LAST)
    model.use_networks("triton")
    return model


@pytest.mark.parametrize("size", [(1, 32, 32), *some([(2, 16, 24), (3, 64, 64), (1, 64, 64)], 1)])
def test_encoder_and_decoder_have_the_gradients_of_their_modules(size: tuple[int, int, int]):
    model = networks_of(size)
    exact = copy.deepcopy(model).double()
    x, sample = torch.rand(3, *size, device=DEVICE), torch.randn(3, 7, device=DEVICE)
    for name, value in (("encoder", x), ("decoder", sample)):
        network, oracle = getattr(model, name), getattr(exact, name)
        leaf = value.requires_grad_()
        double = leaf.detach().double().requires_grad_()
        with kernels():
            output = network(leaf)
            assert taken(output)
            upstream = torch.randn(output.shape, device=DEVICE)
            ours = gradients(output, [leaf, *network.parameters()], upstream)
        with fastjvae.backend("reference"):
            library = network(leaf)
            assert not taken(library)
        right = oracle(double)
        assert not taken(right)
        assert_close(
            [output.detach(), *ours],
            [library.detach(), *gradients(library, [leaf, *network.parameters()], upstream)],
            [right.detach(), *gradients(right, [double, *oracle.parameters()], upstream)],
        )


def test_hidden_features_end_in_a_relu():
    model = networks_of((1, 16, 16))
    x = images(3)
    with kernels():
        hidden = model.encode_hidden(x)
        assert taken(hidden)
        ours = gradients(hidden, [model.encoder.hidden.bias], torch.ones_like(hidden))
    with fastjvae.backend("reference"):
        right = model.encode_hidden(x)
    theirs = gradients(right, [model.encoder.hidden.bias], torch.ones_like(right))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def small_chain() -> tuple[nn.Sequential, Tensor]:
    torch.manual_seed(0)
    chain = nn.Sequential(
        nn.Linear(5, 12), nn.ReLU(), nn.Unflatten(1, (3, 2, 2)), nn.ConvTranspose2d(3, 2, 4, 2, 1),
        nn.ReLU(), nn.Conv2d(2, 4, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3),
    )  # fmt: skip
    return chain.to(DEVICE), torch.randn(4, 5, device=DEVICE, requires_grad=True)


@pytest.mark.parametrize(
    "frozen", [["0.weight", "0.bias"], ["3.weight"], ["8.bias", "5.bias"], ["0.weight", "x"]]
)
def test_what_needs_no_gradient_gets_none(frozen: list[str]):
    chain, x = small_chain()
    x = x.detach().requires_grad_("x" not in frozen)
    for name, parameter in chain.named_parameters():
        parameter.requires_grad_(name not in frozen)
    wanted = {name: p for name, p in chain.named_parameters() if p.requires_grad}
    with kernels():
        by_kernels([chain], x).square().sum().backward()
    found = {name: p.grad for name, p in chain.named_parameters() if p.grad is not None}
    assert found.keys() == wanted.keys()
    assert (x.grad is None) == ("x" in frozen)
    right = torch.autograd.grad(chain(x).square().sum(), list(wanted.values()))
    for mine, theirs in zip(found.values(), right, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_many_rows_are_summed_by_many_programs(monkeypatch: pytest.MonkeyPatch):
    chain, x = small_chain()
    upstream = torch.randn(4, 3, device=DEVICE)
    wanted = [x, *chain.parameters()]
    with kernels():
        once = gradients(by_kernels([chain], x), wanted, upstream)
        monkeypatch.setattr(triton_passes, "MOST_ROWS", 3)
        other = gradients(by_kernels([chain], x), wanted, upstream)
    for mine, theirs in zip(once, other, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_second_derivatives_are_pytorchs():
    chain, x = small_chain()

    def penalty(output: Tensor) -> list[Tensor]:
        (slope,) = torch.autograd.grad(output.square().sum(), x, create_graph=True)
        wanted = [x, *chain.parameters()]
        found = torch.autograd.grad(slope.square().sum(), wanted, allow_unused=True)
        return [slope, *(g for g in found if g is not None)]

    with kernels():
        ours = penalty(by_kernels([chain], x))
    for mine, theirs in zip(ours, penalty(chain(x)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_many_gradients_at_once_are_pytorchs():
    chain, x = small_chain()
    basis = torch.eye(12, device=DEVICE).view(12, 4, 3)
    with kernels():
        output = by_kernels([chain], x)
        found = [torch.autograd.grad(output, x, basis, True, is_grads_batched=True)]
        found.append(torch.func.vmap(lambda v: torch.autograd.grad(output, x, v, True))(basis))
    (right,) = torch.autograd.grad(chain(x), x, basis, is_grads_batched=True)
    for (ours,) in found:
        torch.testing.assert_close(ours, right, rtol=1e-4, atol=1e-5)


def test_a_graph_kept_gives_the_same_gradient_twice():
    chain, x = small_chain()
    with kernels():
        output = by_kernels([chain], x).sum()
        first = torch.autograd.grad(output, [x, *chain.parameters()], retain_graph=True)
        second = torch.autograd.grad(output, [x, *chain.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_activations_can_be_computed_again_in_the_backward_pass(use_reentrant: bool):
    from torch.utils.checkpoint import checkpoint

    chain, x = small_chain()
    with kernels():
        once = torch.autograd.grad(by_kernels([chain], x).square().sum(), x)
        output = checkpoint(
            lambda x: run_chain([chain], x, "triton"), x, use_reentrant=use_reentrant
        )
        output.square().sum().backward()
    assert torch.equal(x.grad, once[0])  # type: ignore[arg-type]


# --- where the modules run ------------------------------------------------------------------------

CHANGES: dict[str, Any] = {
    "another layer": lambda chain: chain.__setitem__(1, nn.LeakyReLU()),
    "a kernel": lambda chain: chain.__setitem__(5, nn.Conv2d(2, 4, 2, 2)),
    "no bias": lambda chain: chain.__setitem__(8, nn.Linear(16, 3, bias=False)),
    "a size that is left open": lambda chain: chain.__setitem__(2, nn.Unflatten(1, (-1, 2, 2))),
    "shapes that follow one another": lambda chain: chain.insert(
        3, nn.Sequential(nn.Flatten(), nn.Unflatten(1, (3, 2, 2)))
    ),
    "a shape first": lambda chain: chain.insert(0, nn.Sequential(nn.Unflatten(1, (5, 1, 1)))),
    "a hook": lambda chain: chain[0].register_forward_hook(lambda *found: 2 * found[2]),
    "a hook before": lambda chain: chain[3].register_forward_pre_hook(lambda _, x: 2 * x[0]),
    "double weights": lambda chain: chain.double(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_chain_that_was_changed_computes_what_its_modules_do(change: Any):
    chain, x = small_chain()
    change(chain)
    if isinstance(chain[0], nn.Sequential):
        chain.insert(1, nn.Flatten())
    x = x.detach().to(next(chain.parameters()).dtype).requires_grad_()
    with kernels():
        output = run_chain([chain], x, "triton")
    assert not taken(output)
    torch.testing.assert_close(output, chain(x))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")  # of torch.jit
def test_modules_run_without_gradients_or_rows_and_where_they_were_asked_for():
    chain, x = small_chain()
    with kernels():
        assert not taken(run_chain([chain], x))
        assert not taken(run_chain([chain], x[:0], "triton"))
        with torch.no_grad():
            assert not taken(run_chain([chain], x, "triton"))
        with fastjvae.backend("reference"):
            assert not taken(run_chain([chain], x, "triton"))
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
            assert not taken(run_chain([chain], dual, "triton"))
    value, slope = torch.func.jvp(
        lambda x: run_chain([chain], x, "triton"), (x.detach(),), (torch.ones_like(x),)
    )
    assert slope.isfinite().all()
    assert torch.allclose(value, chain(x))


def test_kernels_that_cannot_run_say_why(monkeypatch: pytest.MonkeyPatch):
    model = JointVAE((1, 16, 16), SPEC)
    with pytest.raises(ArgumentError, match="'modules' or 'triton', got 'cudnn'"):
        model.use_networks("cudnn")  # type: ignore[arg-type]
    monkeypatch.setattr(choice, "interpreted", lambda: False)
    with pytest.raises(BackendError, match=r"'triton' .* CUDA or HIP tensors .* is on cpu"):
        model.use_networks("triton")
    assert model.encoder.networks == model.decoder.networks == "modules"
    monkeypatch.setattr(choice, "_TRITON_FOUND", False)
    with pytest.raises(BackendError, match="triton is not installed"):
        model.to("meta").use_networks("triton")


def test_rows_that_are_no_images_are_the_modules_error():
    chain, x = small_chain()
    chain[2] = nn.Unflatten(1, (2, 2, 2))
    with kernels(), pytest.raises(RuntimeError, match="unflatten"):
        run_chain([chain], x, "triton")


def test_own_networks_run_as_they_are():
    own = nn.Sequential(nn.Flatten(), nn.Linear(256, 10))
    model = JointVAE((1, 16, 16), SPEC, encoder=own).to(DEVICE)
    model.use_networks("triton")
    assert model.decoder.networks == "triton"
    with kernels():
        assert model.loss(images(2), 1).loss.requires_grad


# --- precision ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype: torch.dtype):
    model, x = networks_of((1, 16, 16)), images()
    sample = torch.randn(6, 7, device=DEVICE, requires_grad=True)

    def run() -> list[Tensor]:
        params, logits = model.encode_params(x), model.decode_logits(sample)
        loss = params.float().square().mean() + 16 * logits.float().square().mean()
        return [params, logits, *torch.autograd.grad(loss, [sample, *model.parameters()])]

    with fastjvae.backend("reference"):
        exact = run()
        with torch.autocast(DEVICE, dtype):
            low = run()
    with kernels(), torch.autocast(DEVICE, dtype):
        ours = run()
        assert taken(ours[0])
    for mine, theirs, right in zip(ours, low, exact, strict=True):
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        # The interpreter rounds toward 0 where it stores bfloat16, and a ReLU passes it on.
        floor = 16 * torch.finfo(dtype).eps * right.norm()
        assert (mine - right).norm() <= 2 * (theirs - right).norm() + floor


def test_a_scaled_loss_keeps_half_precision_gradients_alive():
    model, x = networks_of((1, 16, 16)), images()
    with kernels(), torch.autocast(DEVICE, torch.float16):
        params = model.encode_params(x)
        small, scaled = (
            torch.autograd.grad(
                s * params.float().mean(), model.encoder.head.bias, retain_graph=True
            )
            for s in (1.0, 1024.0)
        )
    assert torch.allclose(1024 * small[0], scaled[0], rtol=1e-2)


# --- compiled -------------------------------------------------------------------------------------


@pytest.mark.parametrize("autocasts", [False, True])
def test_the_loss_compiles_whole(autocasts: bool, fresh_compiler: None):
    model, x, seed = networks_of((1, 16, 16)), images(8), torch.tensor([2], device=DEVICE)
    step = torch.tensor(5, device=DEVICE)

    def loss(x: Tensor) -> Tensor:
        with torch.autocast(DEVICE, torch.bfloat16, enabled=autocasts):
            return model.loss(x, step, OBJECTIVE, seed=seed).loss

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    with kernels():
        for rows in (8, 5, 3):
            out, right = compiled(x[:rows]), loss(x[:rows])
            assert torch.equal(out, right)
            wanted = list(model.parameters())
            for mine, theirs in zip(
                torch.autograd.grad(out, wanted), torch.autograd.grad(right, wanted), strict=True
            ):
                assert torch.allclose(mine, theirs, atol=1e-7)


def test_a_compiled_loss_launches_the_kernels(fresh_compiler: None, launches: Counter[str]):
    model, x = networks_of((1, 16, 16)), images()
    compiled = torch.compile(
        lambda x: model.loss(x, 5, OBJECTIVE, seed=1).loss, fullgraph=True, backend="aot_eager"
    )
    with kernels():
        compiled(x).backward()
    assert launches["bias_relu"] == 3 + 4
    assert launches["relu_backward"] == 3 + 4
    assert launches["bias_gradients"] == 2
    with fastjvae.backend("reference"):
        launches.clear()
        compiled(x).backward()
    assert not launches


def _operator_arguments() -> tuple[Any, ...]:
    chain, x = small_chain()
    stages = triton_passes.stages_of(list(chain))
    assert stages is not None
    parameters = list(chain.parameters())
    return x, parameters[::2], parameters[1::2], [number for stage in stages for number in stage]


def test_opcheck(fresh_compiler: None):
    torch.library.opcheck(triton_layers._operator, _operator_arguments())


@pytest.mark.parametrize("needs", [[True] * 9, [False] * 5 + [True] * 4, [False] * 3 + [True] * 6])
def test_opcheck_of_the_backward_operator(needs: list[bool]):
    x, weights, biases, plan = _operator_arguments()
    with torch.no_grad():
        features = triton_layers._operator(x, weights, biases, plan)
    grad = torch.randn_like(features[-1])
    arguments = (grad, x.detach(), features, [w.detach() for w in weights], plan, needs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.library.opcheck(triton_layers._backward_operator, arguments)
