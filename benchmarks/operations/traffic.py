"""Bytes that the kernels load and store, counted in Triton's interpreter.

    TRITON_INTERPRET=1 python -m benchmarks.operations.traffic

prints a JSON object of bytes per image by specification and operation. Each program adds up 64
rows, the fewest that a program has in a batch of 8,192 rows and more.
"""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch

import fastjvae
from benchmarks import stand_ins
from benchmarks.operations.networks import network_workloads
from benchmarks.operations.workloads import (
    DTYPES,
    SPECS,
    Workload,
    workloads,
    workloads_without_gradients,
)
from fastjvae.functional.backends.choice import interpreted
from fastjvae_kernels.blocks import ROWS_PER_PARTIAL

ROWS = 128
# Rows of what has many programs an image.
_FEW_ROWS = {
    "bernoulli_reconstruction_rgb": 8,
    "random_affine": 8,
    "gather_images_rgb": 8,
    "encoder": 32,
    "decoder": 32,
}


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Bytes loaded and stored inside the block; masked elements do not count."""
    from triton.runtime.interpreter import InterpreterBuilder

    bytes_moved = {"loaded": 0, "stored": 0}

    def counting(way: str, original: Any) -> Any:
        def access(self: Any, pointers: Any, *arguments: Any) -> Any:
            mask = arguments[0] if way == "loaded" else arguments[1]
            size = pointers.get_element_ty().primitive_bitwidth // 8
            bytes_moved[way] += int(mask.data.sum()) * size
            return original(self, pointers, *arguments)

        return access

    load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store
    with (
        patch.object(InterpreterBuilder, "create_masked_load", counting("loaded", load)),
        patch.object(InterpreterBuilder, "create_masked_store", counting("stored", store)),
    ):
        yield bytes_moved


def measure(workload: Workload, rows: int) -> dict[str, float]:
    """Bytes per image of the forward and the backward pass, and how they stand to the minimum."""
    with counted() as forward:
        outputs = workload.run(*workload.inputs)
    with counted() as backward:
        if outputs:
            torch.autograd.grad(outputs, workload.inputs, [torch.ones_like(o) for o in outputs])
    totals = {"forward": sum(forward.values()), "backward": sum(backward.values())}
    least = {"forward": workload.forward_bytes, "backward": workload.backward_bytes}
    together = sum(totals.values()), sum(least.values())
    return {
        **{f"{name}_bytes": total / rows for name, total in totals.items()},
        **{f"{name}_to_minimum": total / (least[name] or 1) for name, total in totals.items()},
        "to_minimum": together[0] / together[1],
    }


def traffic(spec: str, dtype: str) -> dict[str, dict[str, float]]:
    """:func:`measure` of every operation."""
    if not interpreted():
        raise SystemExit("bytes are counted in Triton's interpreter: set TRITON_INTERPRET=1")
    with (
        warnings.catch_warnings(),
        fastjvae.backend("triton"),
        stand_ins.replaced(stand_ins.KERNELS, FEW_PROGRAMS=ROWS // ROWS_PER_PARTIAL),
    ):
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy's, of masked elements
        return {
            workload.operation: measure(workload, rows)
            for rows in sorted({ROWS, *_FEW_ROWS.values()}, reverse=True)
            for workload in _workloads(spec, rows, DTYPES[dtype])
            if rows == _FEW_ROWS.get(workload.operation, ROWS)
        }


def _workloads(spec: str, rows: int, dtype: torch.dtype) -> Iterator[Workload]:
    """Every operation; the networks, which hardly depend on the latent variables, once."""
    problem = (SPECS[spec], rows, dtype)
    yield from workloads(*problem)
    yield from workloads_without_gradients(*problem)
    if spec == "mnist":
        of_networks = network_workloads(rows, dtype)
        yield from (w for w in of_networks if w.operation not in ("encoder_rgb", "decoder_rgb"))


def main() -> None:
    print(json.dumps({spec: traffic(spec, "fp32") for spec in SPECS}, indent=1))


if __name__ == "__main__":
    main()
