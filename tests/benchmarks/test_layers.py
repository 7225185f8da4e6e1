"""Every convolution is measured, pass by pass."""

from __future__ import annotations

from benchmarks import layers
from benchmarks.training.problems import flops_per_image, problem_of


def test_every_pass_of_every_convolution_is_measured():
    found = layers.measure(rows=2, rounds=1, side=64)
    assert len(found) == 2 * (3 * 3 - 1) + 1 + 2 * 3 * 4 - 1
    assert len(layers.table(found)) == 2 + len(found)
    assert all(row["limit_ms"] > 0 for row in found)
    forward = sum(layer.flops for layer in layers.layers((1, 32, 32)))
    assert 0.8 < 3 * forward / flops_per_image(problem_of("32x32x1", 2)) < 1.0  # the rest is linear
