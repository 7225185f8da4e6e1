"""Rows of pytest-benchmark, from processes that were measured in turns.

pytest-benchmark runs one benchmark after the other, and here they must alternate. So the processes
of a case are measured together, once, and each test then reports its own blocks. As
pytest-benchmark reads times from a clock alone, a test lets one that otherwise stands still go
forward by the seconds of each block. pytest-benchmark computes the statistics and writes the JSON.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmarks.environment import environment
from benchmarks.training.agreement import Agreement
from benchmarks.training.problems import Problem, flops_per_image
from benchmarks.training.processes import Measured, Spread, ratio, spread

MATMUL = "matmul"  # name of the process that multiplies matrices


class MeasuredTime:
    """A clock that goes forward by what was measured, and by nothing else."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def __call__(self) -> float:
        return self._now_s

    def advance(self, seconds: float) -> None:
        self._now_s += seconds


CLOCK = MeasuredTime()  # for @pytest.mark.benchmark(timer=CLOCK)


def report(benchmark: Any, seconds: list[float], facts: Mapping[str, Any]) -> None:
    """Give a benchmark its rounds, one for each block: seconds per step."""
    blocks = iter(seconds)
    benchmark.pedantic(
        CLOCK.advance, setup=lambda: ((next(blocks),), {}), rounds=len(seconds), iterations=1
    )
    benchmark.extra_info.update(facts, environment=environment())


class InTurns(NamedTuple):
    """What was measured in turns on one problem, and compared before."""

    problem: Problem
    measured: dict[str, Measured]
    agreement: Agreement


def facts_of(name: str, turns: InTurns, matmul_flops: float | None = None) -> dict[str, Any]:
    """What stands beside the time of process ``name``.

    Args:
        name: of the process.
        turns: everything that was measured in turns with it.
        matmul_flops: operations of one step of the process ``MATMUL``, if it was among them.
    """
    problem, measured, agreement = turns
    own = measured[name]
    batch = problem.config.batch_size
    facts: dict[str, Any] = {
        "provider": name,
        "problem": problem.name,
        "batch_size": batch,
        "blocks": len(own.seconds),
        "steps_per_block": own.steps,
        "images_per_s": batch / spread(own.seconds).median,
        "peak_mib": own.peak_mib,
        "imports_mib": own.imports_mib,
        **agreement.compared.get(name, {}),
        **{fact: value for fact, value in own.facts.items() if fact != "outcome"},
    }
    if name != "fastjvae" and "fastjvae" in measured:
        times = ratio(own.seconds, measured["fastjvae"].seconds)
        facts["times_fastjvae"] = times.to_json()
    if matmul_flops is not None:
        flops = batch * flops_per_image(problem)
        facts["gflops"] = flops / spread(own.seconds).median / 1e9
        facts["matmul_gflops"] = matmul_flops / spread(measured[MATMUL].seconds).median / 1e9
        facts["share_of_matmul"] = rate_share(own, flops, measured[MATMUL], matmul_flops).to_json()
    return facts


def rate_share(own: Measured, flops: float, matmul: Measured, matmul_flops: float) -> Spread:
    """Operations per second of steps of ``flops``, as a share of the matrix product's."""
    times = ratio(matmul.seconds, own.seconds)
    return Spread(*(part * flops / matmul_flops for part in times))
