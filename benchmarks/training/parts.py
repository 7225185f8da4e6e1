"""The parts of a training step on a CPU beside their limits, and what else was tried for them.

    python -m benchmarks.training.parts --json benchmarks/results/parts.json

The step is fastjvae's at 32x32x1 on one thread: of two images, which is its fixed cost, and of 64.
The limit of what multiplies is its operations at the rate of a product of two 2048 x 2048 float32
matrices; that of Adam is its bytes at the rate of a copy. The other parts have none worth a name.

A try is a form of one part that could take another's place; both alternate in one process, which
keeps freed memory.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.environment import environment
from benchmarks.layers import GEOMETRY, in_turns
from benchmarks.training.loops import MATMUL_SIDE
from benchmarks.training.problems import Problem, batch_of, flops_per_image, problem_of
from benchmarks.training.processes import Spread, spread
from benchmarks.training.steps import FastTraining
from fastjvae import LatentSpec, functional
from fastjvae.files import write_json
from fastjvae.functional import Noise
from fastjvae.functional.backends import cpu, reference
from fastjvae.model.cpu_convolutions import (
    convolution_gradients,
    patches_of,
    weight_gradient_of_patches,
)
from fastjvae.model.layers_as_built import layers_as_built
from fastjvae.model.networks import Decoder, Encoder
from fastjvae.objectives import JointObjective
from fastjvae.training.adam import AdamOnCPU
from fastjvae.training.allocator import keep_freed_memory
from fastjvae.training.device import autocast, cpu_has_bfloat16

BATCHES = 2, 64
SIZE = "32x32x1"


def step_in_parts(problem: Problem, rounds: int) -> dict[str, Spread]:
    """Milliseconds of the parts of a step, in their order."""
    training = FastTraining(problem.config, problem.img_size, "cpu")
    model, objective, noise = training.model, training.objective, Noise(generator=training.noise)
    assert isinstance(objective, JointObjective)
    images = batch_of(problem)
    times: dict[str, list[float]] = {}
    since = 0.0

    def part(name: str) -> None:
        nonlocal since
        now = time.perf_counter()
        times.setdefault(name, []).append(1e3 * (now - since))
        since = now

    for _ in range(rounds):
        since = time.perf_counter()
        with autocast(torch.device("cpu"), problem.config.precision):
            x = functional.unit_interval(images, torch.float32)
            step = training.device_step.add_(1)
            part("images")
            params = model.encode_params(x)
            part("encoder")
            block = functional.latent_block(params, model.spec, model.temperature, noise)
            part("latent variables")
            logits = model.decode_logits(block.sample)
            part("decoder")
            out = functional.joint_loss(
                logits, x, block, model.spec, step, cont=objective.cont, disc=objective.disc
            )
            part("loss")
        training.optimizer.zero_grad()
        out.loss.backward()  # type: ignore[no-untyped-call]
        part("backward pass")
        training.optimizer.step()
        part("Adam")
    warm = rounds // 4
    return {name: spread(of_one[warm:]) for name, of_one in times.items()}


def limits(problem: Problem, flops_per_ms: float, bytes_per_ms: float) -> dict[str, float]:
    """Milliseconds below which a part that multiplies, and Adam, cannot come."""
    training = FastTraining(problem.config, problem.img_size, "cpu")
    # Forward a pass over all weights, backward two; encoder and decoder are mirrors.
    third = problem.config.batch_size * flops_per_image(problem) / 3 / flops_per_ms
    weights = sum(p.numel() for p in training.model.parameters())
    return {
        "encoder": third / 2,
        "decoder": third / 2,
        "backward pass": 2 * third,
        # Reads weight, gradient and two moments and writes three of them, 4 bytes each.
        "Adam": 7 * 4 * weights / bytes_per_ms,
    }


# --- tries ----------------------------------------------------------------------------------------


def tries(rows: int = 64) -> dict[str, dict[str, Callable[[], Any]]]:
    """By part, its form here ("fastjvae") and others by name."""
    torch.manual_seed(0)
    last = torch.channels_last
    x = torch.randn(rows, 32, 16, 16).contiguous(memory_format=last)
    weight = torch.randn(64, 32, 4, 4).contiguous(memory_format=last)
    bias = torch.randn(64)
    logits, target = torch.randn(rows, 1, 32, 32), torch.rand(rows, 1, 32, 32)
    terms = reference.LossTerms(1, LatentSpec(1, ()), None, None)
    found: dict[str, dict[str, Callable[[], Any]]] = {
        "cross-entropy of 64 images, forward": {
            "fastjvae": lambda: cpu.joint_loss(logits, target, torch.zeros(1), terms),
            "PyTorch's": lambda: F.binary_cross_entropy_with_logits(
                logits, target, reduction="sum"
            ),
        },
        "convolution 32 -> 64 at 16x16 and ReLU": {
            "fastjvae": lambda: torch.convolution(
                x, weight, bias, *GEOMETRY, False, [0, 0], 1
            ).relu_(),
            "oneDNN's one call": lambda: torch.ops.mkldnn._convolution_pointwise.default(
                x, weight, bias, [1, 1], [2, 2], [1, 1], 1, "relu", [], ""
            ),
        },
        "first convolution of 64x64x3 and its weight's gradient": _first_convolutions(rows),
        "Adam over 20 tensors": _adams(20),
        "looking whether the layers are as they were built": {"fastjvae": _layer_checks()},
    }
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        for outputs, inputs, side in ((64, 32, 16), (64, 64, 8)):
            found[f"gradient of {outputs}x{inputs}x4x4 at {side}x{side}, {name}"] = _gradients(
                outputs, inputs, side, rows, dtype
            )
    if not cpu_has_bfloat16():
        found = {name: forms for name, forms in found.items() if "bfloat16" not in name}
    return found


def _gradients(
    outputs: int, inputs: int, side: int, rows: int, dtype: torch.dtype
) -> dict[str, Callable[[], Tensor]]:
    x = torch.randn(rows, inputs, side, side, dtype=dtype)
    grad = torch.randn(rows, outputs, side // 2, side // 2, dtype=dtype)
    x, grad = (t.contiguous(memory_format=torch.channels_last) for t in (x, grad))
    weight = torch.empty(outputs, inputs, 4, 4, dtype=dtype)
    weight = weight.contiguous(memory_format=torch.channels_last)
    return {
        "oneDNN's": lambda: torch.ops.aten.convolution_backward(
            grad, x, weight, None, *GEOMETRY, False, [0, 0], 1, [False, True, False]
        )[1],
        "patches, one product": lambda: weight_gradient_of_patches(grad, x),
    }


def _first_convolutions(rows: int) -> dict[str, Callable[[], Tensor]]:
    x = torch.rand(rows, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    grad = torch.randn(rows, 32, 32, 32).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(32, 3, 4, 4).contiguous(memory_format=torch.channels_last)

    def convolved() -> Tensor:
        torch.convolution(x, weight, None, *GEOMETRY, False, [0, 0], 1)
        return convolution_gradients(grad, x, weight, [False, True, False])[1]

    def of_patches() -> Tensor:
        patches = patches_of(x)
        torch.mm(patches, weight.permute(2, 3, 1, 0).reshape(-1, 32))
        product = grad.permute(0, 2, 3, 1).reshape(-1, 32).t() @ patches
        return product.view(32, 4, 4, 3).permute(0, 3, 1, 2)

    return {"fastjvae": convolved, "patches once, two products": of_patches}


def _layer_checks() -> Callable[[], Any]:
    problem = problem_of(SIZE, 1)
    model = FastTraining(problem.config, problem.img_size, "cpu").model
    assert isinstance(model.encoder, Encoder)
    assert isinstance(model.decoder, Decoder)
    chains = (model.encoder.chain(), 4), (model.decoder.chain(), 2)
    return lambda: [layers_as_built(*chain) for chain in chains]


def _adams(number: int, weights: int = 700_000) -> dict[str, Callable[[], Any]]:
    def optimizer(kind: type[torch.optim.Adam], tensors: int) -> torch.optim.Adam:
        params = [torch.randn(weights // tensors, requires_grad=True) for _ in range(tensors)]
        for p in params:
            p.grad = torch.randn_like(p)
        return kind(params, lr=1e-4, fused=True)

    return {
        "fastjvae": optimizer(AdamOnCPU, number).step,
        "PyTorch's, fused": optimizer(torch.optim.Adam, number).step,
        "one flat buffer": optimizer(AdamOnCPU, 1).step,
    }


# --- the command ----------------------------------------------------------------------------------


def measure(rounds: int = 40, side: int = MATMUL_SIDE) -> dict[str, Any]:
    """The parts of every kind of step, and the tries.

    Args:
        rounds: steps of each kind; a try has a quarter as many runs.
        side: of the square matrices whose product gives the limit.
    """
    a, b = torch.rand(2, side, side)
    into = torch.empty_like(a)
    basis = in_turns(
        {"product": lambda: (torch.mm(a, b, out=into),), "copy": lambda: (into.copy_(a),)},
        max(3, rounds // 10),
    )
    flops_per_ms = 2 * side**3 / basis["product"].median
    bytes_per_ms = 2 * 4 * side**2 / basis["copy"].median
    parts = []
    for rows in BATCHES:
        for precision in ("fp32", "bf16") if cpu_has_bfloat16() else ("fp32",):
            problem = problem_of(SIZE, rows).with_precision(precision)  # type: ignore[arg-type]
            least = limits(problem, flops_per_ms, bytes_per_ms)
            for name, of_one in step_in_parts(problem, rounds).items():
                parts.append(
                    {
                        "batch_size": rows,
                        "precision": precision,
                        "part": name,
                        "ms": of_one.to_json(),
                        "limit_ms": least.get(name),
                    }
                )
    tried = []
    for part, forms in tries().items():
        for form, of_one in in_turns(forms, max(3, rounds // 4)).items():
            tried.append({"part": part, "form": form, "ms": of_one.to_json()})
    return {"environment": environment(), "parts": parts, "tries": tried}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    torch.set_num_threads(1)
    found = measure()
    for row in found["parts"]:
        print(row["batch_size"], row["precision"], row["part"], f"{row['ms']['median']:.3f} ms")
    for row in found["tries"]:
        print(f"{row['part']}: {row['form']} {row['ms']['median']:.3f} ms")
    if options.json:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
