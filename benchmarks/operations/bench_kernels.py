"""Times of the operations: PyTorch eager and compiled, and the Triton kernels.

    python -m pytest benchmarks/operations/bench_kernels.py --benchmark-json=kernels.json
    python -m benchmarks.report_kernels kernels.json

``--sizes`` chooses how much is measured, ``-k "joint_latent and fp32 and not compile"`` a part of
it, and ``--benchmark-disable`` runs everything once without timing.

Directions: "forward" keeps what a backward pass needs, "backward" starts from a forward pass that
is not timed, "both" is one after the other. Nothing is timed before its outputs and gradients
agreed with the float64 reference on identical noise (:mod:`benchmarks.operations.providers`).

On a GPU a round lies between two CUDA events. Before each, 256 MiB are overwritten, so that the
operation finds its inputs in memory and not in the L2 cache; while the GPU does that, the host
starts to launch. An operation of many launches is therefore timed as its user waits for it, host
included, and one of a few launches without the host. Events resolve about half a microsecond. On a
CPU the clock is the host's and the caches are warm.

"compile-reduce-overhead" copies the upstream gradients into its CUDA graph; the inputs it finds in
place, as "kernels-cudagraph" finds both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, NamedTuple

import pytest
import torch

from benchmarks.environment import environment, has_compiler
from benchmarks.operations.providers import (
    CUDA,
    DEVICE,
    PROVIDERS,
    WARM_UP,
    Passes,
    Problem,
    begin_step,
    passes_of,
    problem_of,
)
from benchmarks.operations.workloads import DTYPES, SPECS, Outputs, workloads
from fastjvae.functional.backends.choice import interpreted

ROWS = (64, 1_024, 16_384, 262_144)


class EventTimer:
    """A clock of the GPU: the difference of two readings is seconds between two events."""

    def __init__(self) -> None:
        self.event = torch.cuda.Event(enable_timing=True)
        self.event.record()

    def __sub__(self, earlier: EventTimer) -> float:
        self.event.synchronize()
        return earlier.event.elapsed_time(self.event) / 1e3  # milliseconds


pytestmark = [
    pytest.mark.benchmark(timer=EventTimer if CUDA else time.perf_counter, disable_gc=True),
    # Compilers give advice as warnings, and numpy warns of elements that the interpreter masks.
    pytest.mark.filterwarnings("default"),
]


# --- what is measured -----------------------------------------------------------------------------


class Case(NamedTuple):
    """One operation on inputs of one size."""

    operation: str
    spec: str
    rows: int
    dtype: str


# The others depend on the whole specification and not on the shapes of their inputs alone.
OF_SHAPES = (
    "gumbel_softmax",
    "gaussian_rsample",
    "bernoulli_reconstruction",
    "bernoulli_reconstruction_rgb",
    "gaussian_reconstruction",
)
# Continuous integration runs the smallest sizes, where compiling would take most of the time: one
# small operation that draws noise stands for all.
SMALLEST_SPECS, SMALLEST_COMPILED = ("mnist", "large"), ("compile", "gumbel_softmax", "mnist")


def cases(sizes: str) -> Iterator[Case]:
    """Every case once: one that has the inputs of another specification's is left out."""
    smallest = sizes == "smallest"
    for rows in {"smallest": ROWS[:1], "small": ROWS[:2], "all": ROWS}[sizes]:
        for dtype in ("fp32",) if smallest else ("fp32", "bf16"):
            seen = set()
            for spec in SMALLEST_SPECS if smallest else SPECS:
                for workload in workloads(SPECS[spec], 1, torch.float32):
                    operation = workload.operation
                    shapes = tuple(tensor.shape for tensor in workload.inputs)
                    key = operation, shapes if operation in OF_SHAPES else spec
                    if key not in seen:
                        yield Case(operation, spec, rows, dtype)
                    seen.add(key)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    sizes = metafunc.config.getoption("sizes") or ("all" if CUDA else "small")
    timed = not metafunc.config.getoption("benchmark_disable")
    pairs = [
        pytest.param(
            case,
            provider,
            id=f"{case.operation}-{case.spec}-N{case.rows}-{case.dtype}-{provider}",
            marks=[pytest.mark.skip(reason)] if (reason := obstacle(provider, case, timed)) else [],
        )
        for case in cases(sizes)
        for provider in PROVIDERS
        if sizes != "smallest"
        or not provider.startswith("compile")
        or (provider, case.operation, case.spec) == SMALLEST_COMPILED
    ]
    metafunc.parametrize(("problem", "passes"), pairs, indirect=True, scope="module")


def obstacle(provider: str, case: Case, timed: bool) -> str | None:
    """Why a provider cannot run here, or should not be timed."""
    if provider in ("compile-reduce-overhead", "kernels-cudagraph") and not CUDA:
        return "CUDA graphs need a GPU"
    if provider == "compile" and not CUDA:
        return None if has_compiler() else "there is no C++ compiler"
    if PROVIDERS[provider].backend != "triton":
        return None
    if find_spec("triton") is None:
        return "the package triton is not installed"
    if interpreted() and timed:
        return "Triton's interpreter is not timed"
    if interpreted() and case.spec == "large":
        return "Triton's interpreter takes seconds for the large specification"
    return None if CUDA or interpreted() else "the kernels need a GPU"


# --- fixtures -------------------------------------------------------------------------------------


@contextmanager
def skipped_where_memory_ends() -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError:
        pytest.skip("the GPU has too little memory")


@pytest.fixture(scope="module")
def problem(request: pytest.FixtureRequest) -> Problem:
    case: Case = request.param
    with skipped_where_memory_ends():
        of_case = workloads(SPECS[case.spec], case.rows, DTYPES[case.dtype], DEVICE)
        return problem_of(next(one for one in of_case if one.operation == case.operation))


@pytest.fixture(scope="module")
def passes(request: pytest.FixtureRequest, problem: Problem) -> Iterator[Passes]:
    with skipped_where_memory_ends(), passes_of(request.param, problem) as checked:
        yield checked


@pytest.fixture(scope="session")
def cold_cache() -> Callable[[], Any]:
    """Overwrites 256 MiB on the GPU, five times the L2 cache of an H100."""
    return torch.empty(2**28, dtype=torch.uint8, device=DEVICE).zero_ if CUDA else lambda: None


@pytest.fixture(scope="session")
def copy_bandwidth() -> float | None:
    """Bytes per second, read and written, of a copy of 1 GiB on the GPU; median of 20."""
    if not CUDA:
        return None
    source = torch.zeros(2**30, dtype=torch.uint8, device=DEVICE)
    destination = torch.zeros_like(source)
    seconds = []
    for _ in range(20):
        begin = EventTimer()
        destination.copy_(source)
        seconds.append(EventTimer() - begin)
    return 2 * source.nbytes / statistics.median(seconds)


# --- the measurement ------------------------------------------------------------------------------


def synchronize() -> None:
    if CUDA:
        torch.cuda.synchronize()


@pytest.mark.parametrize("direction", Passes._fields)
def test_operation(
    benchmark: Any,
    problem: Problem,
    passes: Passes,
    direction: str,
    cold_cache: Callable[[], Any],
    copy_bandwidth: float | None,
    pytestconfig: pytest.Config,
) -> None:
    started: list[Outputs] = []

    def setup() -> None:
        begin_step()
        if direction == "backward":
            started.append(passes.forward())
            synchronize()  # or the host would start to launch while the forward pass runs
        cold_cache()

    # Nothing is returned: results that stay alive would take part in the next round.
    def forward() -> None:
        passes.forward()

    def backward() -> None:
        passes.backward(started.pop())

    def both() -> None:
        passes.both()

    run = {"forward": forward, "backward": backward, "both": both}[direction]
    case: Case = benchmark.params["problem"]
    benchmark.group = "-".join([case.operation, direction, case.spec, f"N{case.rows}", case.dtype])
    rounds = rounds_that_fit(pytestconfig, setup, run) if benchmark.enabled else 1
    benchmark.pedantic(run, setup=setup, rounds=rounds)

    least = {"forward": problem.workload.forward_bytes, "backward": problem.workload.backward_bytes}
    bytes_moved = least.get(direction, sum(least.values()))
    benchmark.extra_info.update(
        case._asdict(),
        direction=direction,
        provider=benchmark.params["passes"],
        bytes=bytes_moved,
        environment=environment(),
    )
    if benchmark.enabled and copy_bandwidth:
        share = bytes_moved / benchmark.stats.stats.median / copy_bandwidth
        benchmark.extra_info.update(
            copy_bandwidth=copy_bandwidth, percent_of_copy_bandwidth=100 * share
        )


def rounds_that_fit(
    config: pytest.Config, setup: Callable[[], None], run: Callable[[], None]
) -> int:
    """As many as --benchmark-max-time allows, setup included; at least --benchmark-min-rounds."""
    seconds = 0.0
    for _ in range(WARM_UP + 1):
        begin = time.perf_counter()
        setup()
        run()
        synchronize()
        seconds = time.perf_counter() - begin
    fitting = int(float(config.getoption("benchmark_max_time")) / seconds)
    return max(config.getoption("benchmark_min_rounds"), fitting)
