"""Every convolution of the networks: PyTorch's own against fastjvae's, and the arithmetic's limit.

    python -m benchmarks.layers --json benchmarks/results/layers.json

Three passes of each layer at 32x32x1 and 64x64x3 in batches of 64: forward, gradient of the input,
gradient of weight and bias. "pytorch" is what autograd runs for the module in channels_last,
"fastjvae" what ``fastjvae/model/cpu_layers.py`` runs on a CPU. The limit is the pass's operations
at the rate that a product of two 2048 x 2048 matrices reaches in the same run. Only an algorithm
with fewer operations than the convolution's can take less.

Both alternate in one process, which keeps freed memory. Before that their results are compared.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.environment import environment
from benchmarks.training.baselines import widths
from benchmarks.training.loops import MATMUL_SIDE
from benchmarks.training.processes import Spread, spread
from fastjvae.files import write_json
from fastjvae.model.cpu_convolutions import with_channels_last
from fastjvae.model.cpu_layers import input_gradient, layer_forward, weight_gradient
from fastjvae.training.allocator import keep_freed_memory

SIZES = {"32x32x1": (1, 32, 32), "64x64x3": (3, 64, 64)}
GEOMETRY = [2, 2], [1, 1], [1, 1]  # stride, padding, dilation

Outputs = tuple[Tensor, ...]


class Layer(NamedTuple):
    """One 4x4 convolution of stride 2."""

    name: str
    transposed: bool
    inputs: int  # channels
    outputs: int
    side: int  # of the input, pixels
    first: bool  # of its network on images, whose gradient nobody needs

    @property
    def shape(self) -> str:
        return f"{self.inputs} -> {self.outputs}, {self.side}x{self.side}"

    @property
    def flops(self) -> float:
        """Operations of one pass, for one image."""
        small = self.side if self.transposed else self.side // 2
        return 2.0 * self.inputs * self.outputs * 16 * small**2


def layers(img_size: tuple[int, int, int]) -> Iterator[Layer]:
    """The convolutions of encoder and decoder."""
    encoder, decoder = widths(img_size)
    side = img_size[1]
    for number, (inputs, outputs) in enumerate(pairwise(encoder), start=1):
        yield Layer(f"encoder {number}", False, inputs, outputs, side, first=number == 1)
        side //= 2
    for number, (inputs, outputs) in enumerate(pairwise(decoder), start=1):
        yield Layer(f"decoder {number}", True, inputs, outputs, side, first=False)
        side *= 2


def passes(layer: Layer, rows: int) -> dict[str, dict[str, Callable[[], Outputs]]]:
    """Each pass of a layer, by PyTorch and by fastjvae."""
    last = torch.channels_last
    x = torch.randn(rows, layer.inputs, layer.side, layer.side).contiguous(memory_format=last)
    module = torch.nn.ConvTranspose2d if layer.transposed else torch.nn.Conv2d
    convolution = module(layer.inputs, layer.outputs, 4, 2, 1).to(memory_format=last)
    weight, bias = convolution.weight.detach(), convolution.bias.detach()
    grad = torch.randn_like(convolution(x)).contiguous(memory_format=last)
    geometry = *GEOMETRY, layer.transposed, [0, 0], 1
    own_x, own_grad = with_channels_last(x), with_channels_last(grad)

    def gradients(mask: list[bool]) -> Outputs:
        sizes = [layer.outputs]
        by_input, by_weight, by_bias = torch.ops.aten.convolution_backward(
            grad, x, weight, sizes, *geometry, mask
        )
        return (by_input,) if mask[0] else (by_weight, by_bias)

    def own_weight_gradient() -> Outputs:
        by_weight = weight_gradient(convolution, own_grad, own_x, weight)
        return by_weight, own_grad.sum((0, 2, 3))

    ways: dict[str, dict[str, Callable[[], Outputs]]] = {
        "forward": {
            "pytorch": lambda: (torch.convolution(x, weight, bias, *geometry),),
            "fastjvae": lambda: (layer_forward(convolution, own_x, weight, bias),),
        },
        "input gradient": {
            "pytorch": lambda: gradients([True, False, False]),
            "fastjvae": lambda: (input_gradient(convolution, own_grad, own_x, weight),),
        },
        "weight gradient": {
            "pytorch": lambda: gradients([False, True, True]),
            "fastjvae": own_weight_gradient,
        },
    }
    if layer.first:
        del ways["input gradient"]
    return ways


def measure(rows: int = 64, rounds: int = 20, side: int = MATMUL_SIDE) -> list[dict[str, Any]]:
    """Milliseconds of each pass of each layer.

    Args:
        rows: images in a batch.
        rounds: runs of each.
        side: of the square matrices whose product gives the limit.
    """
    torch.manual_seed(0)
    a, b = torch.rand(2, side, side)
    product = lambda: (torch.mm(a, b),)  # noqa: E731
    found = []
    with torch.no_grad():
        for size, img_size in SIZES.items():
            for layer in layers(img_size):
                for name, ways in passes(layer, rows).items():
                    _check(layer, name, ways)
                    times = in_turns({**ways, "matmul": product}, rounds)
                    flops_per_ms = 2 * side**3 / times.pop("matmul").median
                    found.append(
                        {
                            "size": size,
                            "layer": layer.name,
                            "pass": name,
                            "shape": layer.shape,
                            "limit_ms": rows * layer.flops / flops_per_ms,
                            **{f"{way}_ms": time.to_json() for way, time in times.items()},
                        }
                    )
    return found


def in_turns(ways: dict[str, Callable[[], Outputs]], rounds: int) -> dict[str, Spread]:
    """Milliseconds of each, one after the other, round after round; each fills its caches first."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            run()
            begin = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: spread(of_one) for name, of_one in times.items()}


def _check(layer: Layer, name: str, ways: dict[str, Callable[[], Outputs]]) -> None:
    """Errors stay below 1e-4 of the largest number: sums of up to 65,536 products in float32."""
    for ours, theirs in zip(ways["fastjvae"](), ways["pytorch"](), strict=True):
        largest = float(theirs.abs().max())
        error = float((ours - theirs).abs().max())
        if not error <= 1e-4 * largest:
            raise SystemExit(f"{layer.name}, {name}: error {error:.2g} of {largest:.2g}")


def table(found: list[dict[str, Any]]) -> list[str]:
    """The lines of a Markdown table: medians in ms."""
    lines = [
        "| images | layer | channels, input | pass | pytorch, ms | fastjvae, ms | limit, ms"
        " | limit / fastjvae, % |",
        "|---|---|---|---|--:|--:|--:|--:|",
    ]
    for row in found:
        ours = row["fastjvae_ms"]["median"]
        lines.append(
            f"| {row['size']} | {row['layer']} | {row['shape']} | {row['pass']}"
            f" | {row['pytorch_ms']['median']:.3f} | {ours:.3f} | {row['limit_ms']:.3f}"
            f" | {100 * row['limit_ms'] / ours:.0f} |"
        )
    return lines


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--rounds", type=int, default=20, help="runs of each pass; 20 by default")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    found = measure(rounds=options.rounds)
    print("\n".join(table(found)))
    if options.json:
        write_json(options.json, {"environment": environment(), "rows": found})


if __name__ == "__main__":
    main()
