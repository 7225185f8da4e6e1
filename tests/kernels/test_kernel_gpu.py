"""What only a GPU can show: graphs, host syncs, half precision training, several devices."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from kernel_cases import DEVICE
from kernel_models import OBJECTIVE, gradients, images, small_model
from torch import Tensor

from fastjvae import LatentSpec, backend, functional
from fastjvae.errors import ArgumentError
from fastjvae.training.capture import refused_waiting

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


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


def test_a_python_step_is_an_error_while_capturing():
    model, x = small_model(), images()
    model.loss(x, 5, OBJECTIVE)
    with (
        pytest.raises(ArgumentError, match="while a CUDA graph is captured"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        model.loss(x, 5, OBJECTIVE)


@pytest.mark.parametrize("step", [5, "tensor"])
@pytest.mark.parametrize("noise", [{}, {"seed": 3}])
def test_the_host_never_waits(step: int | str, noise: dict[str, int]):
    model, x = small_model(), images()
    t = torch.tensor(5, device=DEVICE) if step == "tensor" else step
    model.loss(x, t, OBJECTIVE, **noise).loss.backward()
    with refused_waiting():
        model.loss(x, t, OBJECTIVE, **noise).loss.backward()


def test_the_reference_draws_what_the_kernels_draw_from_a_generator():
    model, x = small_model(), images()
    losses = []
    for name in ("triton", "reference"):
        generator = torch.Generator(DEVICE).manual_seed(7)
        with backend(name):  # type: ignore[arg-type]
            losses += [model.loss(x, 5, OBJECTIVE, generator=generator).loss for _ in range(2)]
    assert losses[0] != losses[1]
    torch.testing.assert_close(losses[:2], losses[2:], rtol=1e-5, atol=0)


def test_a_capture_before_the_first_call_says_what_to_do():
    spec = LatentSpec(2, (3, 5, 2))
    params = torch.randn(4, spec.num_params, device=DEVICE)
    with (
        pytest.raises(RuntimeError, match="run the operation once"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        functional.joint_latent(params, spec, 0.67)


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


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_a_gpu_that_is_not_the_current_one():
    model = small_model().to("cuda:1")
    with torch.cuda.device(0):
        out = model.loss(images().to("cuda:1"), 5, OBJECTIVE)
        out.loss.backward()
    assert out.loss.device == torch.device("cuda:1")
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_kernels_are_what_a_gpu_tensor_gets(launches: Counter[str]):
    model = small_model()
    model.loss(images(), 5, OBJECTIVE).loss.backward()
    assert sum(launches.values()) == 5


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
