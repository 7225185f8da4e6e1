"""Options of the benchmarks, and what pytest-benchmark writes about the machine."""

from typing import Any

import pytest

from benchmarks.environment import environment


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--sizes",
        choices=("smallest", "small", "all"),
        help="operations: N = 64 with two specifications, fp32 and one compiled operation"
        " (smallest); N up to 1,024 (small, the default on a CPU); every N (all, the default on a"
        " GPU). Training: a few short blocks (smallest), batches of 64 (small), all by default",
    )


def pytest_benchmark_generate_machine_info() -> dict[str, Any]:
    """What a time depends on, without the host's name."""
    return environment()


def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    """Leave out the single rounds: thousands for each of thousands of benchmarks."""
    for row in output_json["benchmarks"]:
        row["stats"].pop("data", None)
