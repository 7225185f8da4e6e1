"""Times of a training step alone: the published way, tuned eager, torch.compile and fastjvae.

    python -m pytest benchmarks/training/bench_step.py --benchmark-json=step.json
    python -m benchmarks.report

One batch stays where the provider wants it: no loading, no logging. The providers of a case, and a
product of two 2048 x 2048 float32 matrices, take turns in a process each
(:mod:`benchmarks.training.processes`); a round of the JSON is a block, as seconds per step. Before
that each takes some steps whose losses must be the reference's
(:mod:`benchmarks.training.agreement`).

fastjvae keeps freed memory, as its trainer does by default. The setting can be had without
fastjvae: "tuned-same-allocator" and "compile-same-allocator" have it, the others have what the
system gives.

``--sizes`` chooses the cases: images of 32x32x1 and 64x64x3 in batches of 64, 256 and 1024 (all,
the default), of 64 alone (small), or a few short blocks (smallest).
"""

from typing import Any

import pytest

from benchmarks.training.agreement import Agreement
from benchmarks.training.loops import MATMUL_SIDE, matrix_product, step_alone
from benchmarks.training.problems import problem_of
from benchmarks.training.processes import Task, alternate
from benchmarks.training.rows import CLOCK, MATMUL, InTurns, facts_of, report
from benchmarks.training.steps import PROVIDERS, obstacle

SIZES = ("32x32x1", "64x64x3")
BATCHES = (64, 256, 1_024)
ROUNDS = 20
AT_MOST_S = 45.0  # of a case: large batches get fewer rounds

pytestmark = pytest.mark.benchmark(timer=CLOCK)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    sizes = metafunc.config.getoption("sizes") or "all"
    batches = BATCHES if sizes == "all" else BATCHES[:1]
    pairs = [
        pytest.param(
            (size, batch),
            provider,
            id=f"{size}-B{batch}-{provider}",
            marks=[pytest.mark.skip(reason)] if (reason := _obstacle(provider, sizes)) else [],
        )
        for size in (SIZES[:1] if sizes == "smallest" else SIZES)
        for batch in batches
        for provider in PROVIDERS
    ]
    metafunc.parametrize(("turns", "provider"), pairs, indirect=["turns"], scope="module")


def _obstacle(provider: str, sizes: str) -> str | None:
    if sizes == "smallest" and provider.startswith("compile"):
        return "compiling takes longer than the rest of the smallest sizes"
    return obstacle(provider)


@pytest.fixture(scope="module")
def turns(request: pytest.FixtureRequest) -> InTurns:
    sizes = request.config.getoption("sizes") or "all"
    short = sizes == "smallest" or request.config.getoption("benchmark_disable")
    problem = problem_of(*request.param)
    names = [name for name in PROVIDERS if not _obstacle(name, sizes)]
    agreement = Agreement(dict.fromkeys(names, problem))
    measured = alternate(
        {
            **{name: Task(step_alone, (name, problem)) for name in names},
            MATMUL: Task(matrix_product),
        },
        rounds=3 if short else ROUNDS,
        block_s=0.05 if short else 0.5,
        at_most_s=AT_MOST_S,
        check=agreement,
    )
    return InTurns(problem, measured, agreement)


def test_step(benchmark: Any, turns: InTurns, provider: str) -> None:
    facts = facts_of(provider, turns, matmul_flops=2 * MATMUL_SIDE**3)
    benchmark.group = turns.problem.name
    report(benchmark, turns.measured[provider].seconds, facts)
