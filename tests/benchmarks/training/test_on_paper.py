"""A step's operators and launches, recorded without a GPU: what it takes from the host, and how
many kernels it is.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from versions import installed

pytest.importorskip("triton", reason="needs triton")

from benchmarks import launches
from benchmarks.training import on_paper
from benchmarks.training.on_paper import step_on_paper
from fastjvae.data.batches.groups import Groups
from fastjvae.data.batches.order import Order
from fastjvae.training.settings.objective import Measure, ObjectiveName, build_objective
from fastjvae.training.settings.recipes import recipe
from fastjvae.training.settings.train import TrainConfig

PAPER, FAST = recipe("mnist"), recipe("mnist", "fast")
SIZE = (1, 32, 32)
META = torch.device("meta")


VARIANTS: dict[str, tuple[TrainConfig, dict[str, Any]]] = {
    "paper": (PAPER, {}),
    "warmup": (PAPER, {"warmup": 300}),
    "accumulate": (PAPER, {"accumulate": 2}),
    "information": (PAPER, {"disc_measure": "information"}),
    "augment": (PAPER, {"augment": 0.5}),
    "fast": (FAST, {}),
    "fast, accumulate": (FAST, {"accumulate": 2, "overclusters": 0}),
    "factor": (PAPER, {"objective": "factor"}),
    "factor, accumulate": (PAPER, {"objective": "factor", "accumulate": 2}),
    "beta-tc": (PAPER, {"objective": "beta-tc", "disc": (2, 2, 2)}),
    "beta-tc, accumulate": (PAPER, {"objective": "beta-tc", "accumulate": 2}),
    "cc-beta": (PAPER, {"objective": "cc-beta", "disc": ()}),
    "beta": (PAPER, {"objective": "beta", "cont": 0}),
    "triton": (PAPER, {"networks": "triton"}),
    "triton, accumulate": (PAPER, {"networks": "triton", "accumulate": 2}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_in_a_step_comes_from_the_host(name: str):
    config, changes = VARIANTS[name]
    config = dataclasses.replace(config, **changes)
    calls = step_on_paper(config, SIZE)
    assert len(calls) > (50 if config.networks == "triton" else 100)
    assert sum(call.name.startswith("triton.") for call in calls) >= 5
    assert [call for call in calls if call.comes_from_the_host] == []


class Disturbed:
    """The paper's objective, which does something else beside."""

    def __init__(self, disturb: Any) -> None:
        self._inner, self._disturb = build_objective(PAPER), disturb

    def loss(self, model: Any, x: Tensor, step: Tensor, noise: Any) -> Any:
        out = self._inner.loss(model, x, step, noise)
        self._disturb(out.loss)
        return out


def test_what_comes_from_the_host_or_is_read_there_is_found(monkeypatch: pytest.MonkeyPatch):
    def disturb(function: Any) -> None:
        monkeypatch.setattr(on_paper, "build_objective", lambda _config: Disturbed(function))

    disturb(lambda loss: torch.tensor([1.0, 2.0], device=loss.device))
    found = {call.name for call in step_on_paper(PAPER, SIZE) if call.comes_from_the_host}
    assert found == {"torch.tensor"}
    disturb(lambda loss: torch.zeros(2).to(loss.device))
    found = {call.name for call in step_on_paper(PAPER, SIZE) if call.comes_from_the_host}
    assert found == {"aten.zeros.default", "aten._to_copy.default"}
    disturb(lambda loss: loss.item())
    with pytest.raises(RuntimeError, match="meta"):
        step_on_paper(PAPER, SIZE)


# --- selections -----------------------------------------------------------------------------------


class Devices(TorchDispatchMode):
    """The operators that join tensors of several devices."""

    def __init__(self) -> None:
        super().__init__()
        self.joining: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor)]
        if len({tensor.device for tensor in tensors}) > 1:
            self.joining.append(str(func))
        return result


@pytest.mark.parametrize("neighbours", [None, 0, 3])
def test_a_selection_takes_nothing_from_the_host(neighbours: int | None):
    groups = None
    if neighbours is not None:
        groups = Groups(2, torch.zeros(40, neighbours, dtype=torch.int64))
    order = Order(40, 8, 0, META, 0, 1, groups)
    # The epoch's permutation, which a meta device has no generator for.
    order._epoch, order._permutation = 0, torch.empty(40, dtype=torch.int64, device=META)
    with Devices() as devices:
        chosen = order.indices(2)
    assert (chosen.shape, chosen.device) == ((8,), META)
    assert devices.joining == []


# --- kernels --------------------------------------------------------------------------------------


# With the networks as modules, each kernel of cuDNN and cuBLAS as one.
MOST_KERNELS = {
    "paper_32": 75,
    "paper_64": 89,
    "paper_32_triton": 60,
    "paper_64_triton": 70,
    "fast_types": 88,
    "fast_style": 78,
    "information": 75,
    "shared": 86,
    "drawn": 190,
    "beta": 91,
    "cc-beta": 103,
    "beta-tc": 198,
    "factor": 204,
}
# PyTorch 2.8 takes some sums and products apart.
if installed("torch") < (2, 11):
    MOST_KERNELS |= {"drawn": 191, "beta-tc": 205, "factor": 208}


def test_every_objective_is_counted():
    names = set(get_args(ObjectiveName)) - {"joint"}
    measures = set(get_args(Measure)) - {"kl"}
    assert names | measures <= launches.STEPS.keys()


def test_the_kernels_of_a_step_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    launches.main(["--json", str(tmp_path / "launches.json")])
    found = json.loads((tmp_path / "launches.json").read_text())
    printed = capsys.readouterr().out
    assert found.keys() == MOST_KERNELS.keys()
    for name, most in MOST_KERNELS.items():
        assert sum(found[name]["kinds"].values()) == found[name]["kernels"] <= most, name
        assert f"{name:<15}  {found[name]['kernels']:4d} kernels: " in printed
    # Three convolutions each way, and the input gradients of all but the first.
    assert found["paper_32"]["kinds"]["convolutions"] == 6 + 6 + 5
    assert found["paper_64"]["kinds"]["convolutions"] == 8 + 8 + 7
    # One of the images, two of the latent variables, three of the loss and the reconstruction, one
    # of the recorder.
    assert found["paper_32"]["kinds"]["Triton"] == 7
    # Further three of shared information, and one that moves the images.
    assert found["fast_types"]["kinds"]["Triton"] == 11
    assert found["shared"]["kinds"]["Triton"] == 10
    for size in ("32", "64"):  # the same products, and one kernel between each two
        plain, ours = (found[f"paper_{size}{way}"]["kinds"] for way in ("", "_triton"))
        for kind in ("convolutions", "matrix products"):
            assert ours[kind] == plain[kind]
        assert not {"biases", "ReLUs", "layout copies"} & ours.keys()
