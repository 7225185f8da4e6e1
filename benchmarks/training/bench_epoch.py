"""Times of training end to end, with loading and logging.

    python -m pytest benchmarks/training/bench_epoch.py --benchmark-json=epoch.json
    python -m benchmarks.report

The data are made in memory: 28x28 grey pictures as MNIST's, 32x32 in training, batches of 64.
The published way resizes and converts each picture in a DataLoader and reads every loss in every
step; the tuned models take batches by index from images in memory, and write their losses' means
every 50 steps, as fastjvae does; "fastjvae" is :class:`fastjvae.training.Trainer` itself, as the
command line runs it. Checkpoints are left out: what one takes stands beside it.

"fastjvae-step" is the same step on one batch, without loading and logging, in the same turns.
Blocks are 50 steps, so that each holds one line of the log. Otherwise everything is as in
``benchmarks/training/bench_step.py``.

``--sizes=smallest`` takes a few steps on a few images.
"""

from typing import Any

import pytest

from benchmarks.training.agreement import Agreement
from benchmarks.training.loops import published_loop, step_alone, trainer_loop, tuned_loop
from benchmarks.training.problems import Problem, problem_of
from benchmarks.training.processes import Task, alternate, ratio, spread
from benchmarks.training.rows import CLOCK, InTurns, facts_of, report
from benchmarks.training.steps import obstacle

PROVIDERS = (
    "published",
    "tuned",
    "tuned-same-allocator",
    "compile",
    "compile-same-allocator",
    "fastjvae",
    "fastjvae-step",
)
IMAGES = 60_000  # as in MNIST and FashionMNIST
NUMBERS = (10_000, 100_000, 1_000_000)
STEPS, ROUNDS = 50, 20

pytestmark = pytest.mark.benchmark(timer=CLOCK)


def _is_short(config: pytest.Config) -> bool:
    return config.getoption("sizes") == "smallest" or bool(config.getoption("benchmark_disable"))


def _obstacle(provider: str, config: pytest.Config) -> str | None:
    if _is_short(config) and provider.startswith("compile"):
        return "compiling takes longer than the rest of the smallest sizes"
    return obstacle(provider)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "provider" in metafunc.fixturenames:
        names = [
            pytest.param(name, marks=[pytest.mark.skip(reason)] if reason else [])
            for name in PROVIDERS
            for reason in [_obstacle(name, metafunc.config)]
        ]
        metafunc.parametrize("provider", names)


def task_of(name: str, problem: Problem, images: int, steps: int = STEPS) -> Task:
    """The task of a provider of this benchmark, by blocks of ``steps`` steps."""
    if name == "fastjvae-step":
        return Task(step_alone, ("fastjvae", problem), steps)
    # The blocks follow each other without a gap, so that each has its share of the log.
    if name == "published":
        return Task(published_loop, (problem, images), steps, untimed=0)
    if name == "fastjvae":
        return Task(trainer_loop, (problem, images), steps, untimed=0)
    return Task(tuned_loop, (name, problem, images), steps, untimed=0)


# --- providers ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def turns(pytestconfig: pytest.Config) -> InTurns:
    short = _is_short(pytestconfig)
    images, steps = (640, 2) if short else (IMAGES, STEPS)
    problem = problem_of("32x32x1")
    names = [name for name in PROVIDERS if not _obstacle(name, pytestconfig)]
    agreement = Agreement(dict.fromkeys(names, problem), trainers=["fastjvae"])
    tasks = {name: task_of(name, problem, images, steps) for name in names}
    measured = alternate(tasks, rounds=3 if short else ROUNDS, check=agreement)
    return InTurns(problem, measured, agreement)


def test_end_to_end(
    benchmark: Any, turns: InTurns, provider: str, pytestconfig: pytest.Config
) -> None:
    facts = facts_of(provider, turns)
    facts |= {"measurement": "end to end", "images": 640 if _is_short(pytestconfig) else IMAGES}
    if provider == "fastjvae":
        alone = turns.measured["fastjvae-step"].seconds
        whole = turns.measured[provider].seconds
        shares = [1 - step / loop for step, loop in zip(alone, whole, strict=True)]
        facts["loading_and_logging_share"] = spread(shares).to_json()
    benchmark.group = "end to end"
    report(benchmark, turns.measured[provider].seconds, facts)


# --- data set sizes -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sizes_in_turns(pytestconfig: pytest.Config) -> InTurns:
    short = _is_short(pytestconfig)
    problem = problem_of("32x32x1")
    tasks = {
        str(number): task_of("fastjvae", problem, _images(number, short), 2 if short else STEPS)
        for number in NUMBERS
    }
    measured = alternate(tasks, rounds=3 if short else ROUNDS)
    return InTurns(problem, measured, Agreement({}))


def _images(number: int, short: bool) -> int:
    return number // 100 if short else number


@pytest.mark.parametrize("number", NUMBERS)
def test_data_set_size(
    benchmark: Any, sizes_in_turns: InTurns, number: int, pytestconfig: pytest.Config
) -> None:
    measured = sizes_in_turns.measured
    facts = facts_of(str(number), sizes_in_turns)
    smallest = measured[str(NUMBERS[0])].seconds
    facts |= {
        "measurement": "data set size",
        "provider": "fastjvae",
        "images": _images(number, _is_short(pytestconfig)),
        # images per second beside those of the smallest data set
        "speed_to_smallest": ratio(smallest, measured[str(number)].seconds).to_json(),
    }
    benchmark.group = "data set size"
    report(benchmark, measured[str(number)].seconds, facts)
