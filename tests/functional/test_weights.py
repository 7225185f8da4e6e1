from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_runs import assert_same_state
from torch import nn

from fastjvae import FactorObjective, SharedObjective
from fastjvae.functional.capacity import Capacity
from fastjvae.functional.weights import Seeded
from fastjvae.training.settings.train import TrainConfig, build_model


def _factor(seed: int) -> nn.Module:
    return FactorObjective({"cont": 3}, layers=2, width=8, seed=seed)


def _shared(seed: int) -> nn.Module:
    capacity = Capacity(1.0, 1.0, 1, 1.0)
    return SharedObjective({"disc": [3]}, disc=capacity, group=2, overclusters=5, seed=seed)


def _model(initialisation: Any) -> Callable[[int], nn.Module]:
    return lambda seed: build_model(
        TrainConfig("digits", seed=seed, initialisation=initialisation), (1, 16, 16)
    )


MADE = {"torch": _model("torch"), "he": _model("he"), "factor": _factor, "shared": _shared}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())
def test_threads_get_the_weights_of_their_seed_and_leave_torchs_generator_alone(make: Any):
    expected = {seed: make(seed).state_dict() for seed in (0, 1)}
    found: dict[int, list[Any]] = {0: [], 1: []}

    def build(seed: int) -> None:
        for _ in range(8):
            found[seed].append(make(seed).state_dict())

    before, interval = torch.get_rng_state(), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=build, args=(seed,)) for seed in found]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert torch.equal(torch.get_rng_state(), before)
    for seed, states in found.items():
        assert_same_state(states, [expected[seed]] * 8)


def test_the_weights_are_those_of_torchs_own_generator():
    torch.manual_seed(5)
    expected = nn.Sequential(nn.Linear(3, 2), nn.Conv2d(2, 3, 4), nn.ConvTranspose2d(3, 2, 4))
    nn.init.kaiming_normal_(expected[0].weight)
    torch.manual_seed(6)
    with Seeded(5):
        found = nn.Sequential(nn.Linear(3, 2), nn.Conv2d(2, 3, 4), nn.ConvTranspose2d(3, 2, 4))
        nn.init.kaiming_normal_(found[0].weight)
    assert_same_state(dict(found.state_dict()), dict(expected.state_dict()))
