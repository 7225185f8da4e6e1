"""Operations under torch.compile: the custom operators, and whole losses without a break."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import pytest
import torch
from examples import EVERYTHING, some
from kernel_cases import DEVICE, kernels
from kernel_models import (
    BERNOULLI,
    FIXED,
    INFORMATION,
    LEARNED,
    OBJECTIVE,
    gradients,
    images,
    small_model,
)
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

import fastjvae
from fastjvae import BetaObjective, functional
from fastjvae.functional.backends.triton import latent, losses, samples, shared
from fastjvae.functional.backends.triton.operation import Operation


@pytest.mark.parametrize(
    ("objective", "likelihood"),
    some(
        [
            (OBJECTIVE, LEARNED),
            (OBJECTIVE, BERNOULLI),
            (INFORMATION, BERNOULLI),
            (BetaObjective(4.0), LEARNED),
            (BetaObjective(4.0), FIXED),
        ],
        2,
    ),
)
def test_the_loss_compiles_whole_with_the_kernels(
    objective: fastjvae.objectives.Objective, likelihood: dict[str, Any], fresh_compiler: None
):
    model, x = small_model(**likelihood), images(12)
    step, seed = torch.tensor(5, device=DEVICE), torch.tensor([2], device=DEVICE)
    compiled = torch.compile(
        lambda x, step, seed: model.loss(x, step, objective, seed=seed),
        fullgraph=True,
        backend="aot_eager",
    )
    with kernels():
        # The last batch of an epoch is smaller; more sizes than torch compiles for at most.
        for rows in some((6, 4, 3, 5, 2, 7, 8, 9, 10, 11, 12), 5):
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


@pytest.mark.parametrize("likelihood", [BERNOULLI, LEARNED])
def test_the_loss_compiles_whole_with_the_reference(
    likelihood: dict[str, Any], fresh_compiler: None
):
    model, x, seed = small_model(**likelihood), images(), torch.tensor([2], device=DEVICE)
    compiled = torch.compile(
        lambda x, step, seed: model.loss(x, step, OBJECTIVE, seed=seed),
        fullgraph=True,
        backend="inductor" if EVERYTHING else "aot_eager",
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
        return torch.randn(shape, device=DEVICE, requires_grad=True)

    seed, step = torch.tensor([2], device=DEVICE), torch.tensor(5, device=DEVICE)
    uint8 = images(3)
    normal, uniform = torch.randn(5, 2, device=DEVICE), torch.rand(5, 7, device=DEVICE)
    numbers = [0.0, 5.0, 0.0, 100.0, 3.0]
    return [
        (latent._JOINT_LATENT, (leaf(5, 11), 2, [4, 3], None, 0.67, seed, None, None, "means")),
        (
            latent._JOINT_LATENT,
            (leaf(5, 11), 2, [4, 3], step.float(), 0.0, None, normal, uniform, "partials"),
        ),
        (latent._JOINT_LATENT, (leaf(5, 11), 2, [4, 3], None, 0.67, seed, None, None, "none")),
        (latent._DIVERGENCES, (leaf(5, 2), leaf(5, 2), leaf(5, 7), [4, 3], "means")),
        (latent._DIVERGENCES, (leaf(5, 2), leaf(5, 2), leaf(5, 7), [4, 3], "partials")),
        (samples._GUMBEL_SOFTMAX, (leaf(5, 4), None, 0.67, seed, None)),
        (samples._GAUSSIAN_RSAMPLE, (leaf(5, 4), leaf(5, 4), seed, None)),
        (losses._RECONSTRUCTION, (leaf(3, 1, 16, 16), uint8, 10)),
        (
            losses._JOINT_LOSS,
            (
                leaf(3, 1, 16, 16), uint8, leaf(1, 11), [4, 3], step, 0, numbers, None, 30.0,
                numbers, torch.tensor(3.0, device=DEVICE), 0.0, 5, 3, 256, True, None, [],
            ),
        ),
        (
            shared._SHARED_LOSS,
            (
                leaf(), leaf(6, 11), leaf(6, 5), [4, 3], 3, step, 0, numbers,
                torch.tensor(3.0, device=DEVICE), 0.0, 0.3, 256,
            ),
        ),
        (
            shared._SHARED_LOSS,
            (leaf(), leaf(6, 11), None, [4, 3], 2, None, 5, numbers, None, 3.0, 0.3, 256),
        ),
        (losses._GAUSSIAN, (leaf(3, 1, 16, 16), uint8, None, -1.0, [0.0, 1.0], 10)),
        (losses._GAUSSIAN, (leaf(3, 1, 16, 16), uint8, leaf(), 0.0, [-1.0, 2.0], 10)),
        (
            losses._JOINT_LOSS,
            (
                leaf(3, 1, 16, 16), uint8, leaf(1, 11), [4, 3], step, 0, numbers, None, 30.0,
                numbers, None, 3.0, 5, 3, 256, True, leaf(), [0.0, -1.0, 2.0],
            ),
        ),
    ]  # fmt: skip


@pytest.mark.parametrize("case", [*range(7), 9, 10])
def test_the_table_of_the_variables_is_made_while_tracing(
    case: int, monkeypatch: pytest.MonkeyPatch
):
    """A compiled program may first run inside a CUDA graph, which takes its memory back."""
    operation, arguments = _operator_arguments()[case]
    real = []

    def table(sizes: tuple[int, ...], device: torch.device) -> Tensor:
        made = torch.zeros(len(sizes), 2, device=device)
        real.append(not isinstance(made, FakeTensor))
        return made

    monkeypatch.setattr("fastjvae.functional.backends.triton.operation.variables_table", table)
    with FakeTensorMode(allow_non_fake_inputs=True):
        operation._operator(*arguments)
    assert real == [True]


@pytest.mark.parametrize("case", range(14))
def test_opcheck(case: int, fresh_compiler: None):
    operation, arguments = _operator_arguments()[case]
    torch.library.opcheck(operation._operator, arguments)


@pytest.mark.parametrize("case", range(14))
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
