"""The speed of fastjvae beside its baselines on this machine, in under four minutes.

    python -m benchmarks.quick --json quick.json

A short version of ``bench_step.py`` and ``bench_epoch.py`` in ``benchmarks/training``, for batches
of 64: all processes take turns, and every number is the median, with quartiles, over the rounds.
The JSON has, for each key, ``{"median": x, "iqr": [low, high]}``:

- ``end_to_end_vs_published_way``: time per step of the published way over fastjvae's trainer's,
  32x32x1, with loading and logging;
- ``step_share_of_matmul_32``, ``step_share_of_matmul_64``: operations per second of fastjvae's step
  at 32x32x1 and 64x64x3, as a share (0 to 1) of what a product of two 2048 x 2048 matrices reaches;
- ``step_vs_tuned_eager``: time of a tuned eager step over fastjvae's, 32x32x1, with the allocator
  as the system has it;
- ``step_vs_tuned_eager_same_allocator``: the same where both keep freed memory;
- ``end_to_end_vs_published_way_bf16``: the first with ``--precision bf16``;
- ``step_bf16_vs_fp32_32``, ``step_bf16_vs_fp32_64``: time of fastjvae's step in fp32 over that in
  bf16, at 32x32x1 and 64x64x3;
- ``seeds_at_once_vs_in_turn``: time of two seeds one after the other with two threads over that of
  two processes at once with one thread each.

Where the CPU has no bfloat16 those of bf16 are null, and on one core the last one is.
"""

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks.environment import environment
from benchmarks.training.agreement import Agreement
from benchmarks.training.loops import (
    MATMUL_SIDE,
    matrix_product,
    published_loop,
    step_alone,
    trainer_loop,
)
from benchmarks.training.problems import DEVICE, flops_per_image, problem_of
from benchmarks.training.processes import Measured, Spread, Task, alternate, ratio
from benchmarks.training.rows import MATMUL, rate_share
from benchmarks.training.seeds_at_once import seeds_at_once
from fastjvae.files import write_json
from fastjvae.training.device import cpu_has_bfloat16

LABELS = {
    "step_vs_tuned_eager_same_allocator": "step, tuned eager with the same allocator / fastjvae",
    "step_vs_tuned_eager": "step, tuned eager / fastjvae",
    "end_to_end_vs_published_way": "end to end, published way / fastjvae",
    "end_to_end_vs_published_way_bf16": "end to end, published way / fastjvae in bf16",
    "step_bf16_vs_fp32_32": "step of fastjvae at 32x32x1, fp32 / bf16",
    "step_bf16_vs_fp32_64": "step of fastjvae at 64x64x3, fp32 / bf16",
    "seeds_at_once_vs_in_turn": "two seeds, in turn with two threads / at once with one each",
    "step_share_of_matmul_32": "step of fastjvae at 32x32x1, share of the matrix product's rate",
    "step_share_of_matmul_64": "step of fastjvae at 64x64x3, share of the matrix product's rate",
}


def measure(
    *, rounds: int = 25, at_most_s: float = 120.0, steps: int = 50, images: int = 60_000,
    batch_size: int = 64, block_s: float = 0.4, matmul_side: int = MATMUL_SIDE,
) -> dict[str, Spread | None]:  # fmt: skip
    """Measure everything; the defaults are those of the command.

    Args:
        rounds: blocks of each process.
        at_most_s: no round begins later, but for the first three.
        steps: of a block of a whole loop.
        images: in the data set of the loops.
        batch_size: images of a step.
        block_s: length of a block of a step alone.
        matmul_side: of the matrices.
    """
    small, large = problem_of("32x32x1", batch_size), problem_of("64x64x3", batch_size)
    tasks = {
        "published loop": Task(published_loop, (small, images), steps, untimed=0),
        "fastjvae loop": Task(trainer_loop, (small, images), steps, untimed=0),
        "tuned": Task(step_alone, ("tuned", small)),
        "tuned, same allocator": Task(step_alone, ("tuned-same-allocator", small)),
        "fastjvae 32": Task(step_alone, ("fastjvae", small)),
        "fastjvae 64": Task(step_alone, ("fastjvae", large)),
        MATMUL: Task(matrix_product, (matmul_side,)),
    }
    loops = ["fastjvae loop"]
    problems = {name: small for name in tasks if name not in (MATMUL, "fastjvae 64")}
    problems["fastjvae 64"] = large
    if DEVICE == "cpu" and cpu_has_bfloat16():
        small_half, large_half = (each.with_precision("bf16") for each in (small, large))
        tasks |= {
            "fastjvae loop bf16": Task(trainer_loop, (small_half, images), steps, untimed=0),
            "fastjvae 32 bf16": Task(step_alone, ("fastjvae", small_half)),
            "fastjvae 64 bf16": Task(step_alone, ("fastjvae", large_half)),
        }
        loops.append("fastjvae loop bf16")
        problems |= dict.fromkeys(("fastjvae loop bf16", "fastjvae 32 bf16"), small_half)
        problems["fastjvae 64 bf16"] = large_half
    agreement = Agreement(problems, trainers=loops)
    measured = alternate(
        tasks, rounds=rounds, block_s=block_s, at_most_s=at_most_s, check=agreement
    )
    flops = {
        "fastjvae 32": batch_size * flops_per_image(small),
        "fastjvae 64": batch_size * flops_per_image(large),
        MATMUL: 2.0 * matmul_side**3,
    }
    seeds = None
    if DEVICE == "cpu" and torch.get_num_threads() > 1:
        seeds = seeds_at_once(small, images, rounds=rounds, steps=steps, at_most_s=at_most_s / 6)
    return {**results(measured, flops), "seeds_at_once_vs_in_turn": seeds}


def results(
    measured: Mapping[str, Measured], flops: Mapping[str, float]
) -> dict[str, Spread | None]:
    """The ratios and shares of what was measured.

    Args:
        measured: by the names of :func:`measure`.
        flops: operations of a step of those whose rate is asked for.
    """

    def quotient(above: str, below: str) -> Spread | None:
        if below not in measured:
            return None
        return ratio(measured[above].seconds, measured[below].seconds)

    def share(name: str) -> Spread:
        return rate_share(measured[name], flops[name], measured[MATMUL], flops[MATMUL])

    return {
        "end_to_end_vs_published_way": quotient("published loop", "fastjvae loop"),
        "step_share_of_matmul_32": share("fastjvae 32"),
        "step_share_of_matmul_64": share("fastjvae 64"),
        "step_vs_tuned_eager": quotient("tuned", "fastjvae 32"),
        "step_vs_tuned_eager_same_allocator": quotient("tuned, same allocator", "fastjvae 32"),
        "end_to_end_vs_published_way_bf16": quotient("published loop", "fastjvae loop bf16"),
        "step_bf16_vs_fp32_32": quotient("fastjvae 32", "fastjvae 32 bf16"),
        "step_bf16_vs_fp32_64": quotient("fastjvae 64", "fastjvae 64 bf16"),
    }


def table(found: Mapping[str, Spread | None], about: Mapping[str, Any]) -> str:
    """What was found, as text with the machine and the versions."""
    width = max(map(len, LABELS.values()))
    lines = [f"{label:<{width}}  {_shown(found[key])}" for key, label in LABELS.items()]
    device = about.get("device") or f"{about['processor']}, threads: {about['threads']}"
    return "\n".join(
        [
            f"{device}; Python {about['python']}, torch {about['torch']},"
            f" fastjvae {about['fastjvae']}",
            f"{'batches of 64; median (quartiles)':<{width}}",
            *lines,
        ]
    )


def _shown(spread: Spread | None) -> str:
    if spread is None:
        return "    -"
    return f"{spread.median:5.2f}  ({spread.low:.2f} - {spread.high:.2f})"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--about", type=Path, help="write machine and versions to this file")
    options = parser.parse_args(arguments)
    begin = time.perf_counter()
    found = measure()
    about = environment()
    print(table(found, about))
    print(f"measured in {time.perf_counter() - begin:.0f} s")
    if options.json:
        write_json(
            options.json, {key: spread and spread.to_json() for key, spread in found.items()}
        )
    if options.about:
        write_json(options.about, about)


if __name__ == "__main__":
    main()
