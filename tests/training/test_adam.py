from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fastjvae.training.adam import AdamOnCPU


def layers() -> list[nn.Module]:
    torch.manual_seed(0)
    found = [nn.Conv2d(3, 4, 4), nn.Linear(5, 7), nn.Linear(2, 1)]
    return [layer.to(memory_format=torch.channels_last) for layer in found]


def groups_of(layers: list[nn.Module]) -> list[dict[str, Any]]:
    """Two groups with settings of their own."""
    first, *rest = layers
    further = [p for layer in rest for p in layer.parameters()]
    return [
        {"params": list(first.parameters())},
        {"params": further, "lr": 3e-3, "betas": (0.5, 0.9), "weight_decay": 0.1},
    ]


class Both:
    """The same parameters under Adam of PyTorch and under ours."""

    def __init__(self) -> None:
        theirs, ours = layers(), layers()
        self.theirs = torch.optim.Adam(groups_of(theirs), lr=1e-3, fused=True)
        self.ours: torch.optim.Adam = AdamOnCPU(groups_of(ours), lr=1e-3, fused=True)
        self.pairs = [
            (a, b)
            for mine, other in zip(ours, theirs, strict=True)
            for a, b in zip(mine.parameters(), other.parameters(), strict=True)
        ]

    def step(self, number: int, without: int | None = None) -> None:
        generator = torch.Generator().manual_seed(number)
        for adam in (self.ours, self.theirs):
            adam.zero_grad()
        for index, pair in enumerate(self.pairs):
            gradient = torch.randn(pair[0].shape, generator=generator)
            for p in pair:
                p.grad = None if index == without else torch.empty_like(p).copy_(gradient)
        for adam in (self.ours, self.theirs):
            adam.step()

    def check(self) -> None:
        for mine, other in self.pairs:
            assert torch.equal(mine, other)
        found, right = self.ours.state_dict(), self.theirs.state_dict()
        assert found["param_groups"] == right["param_groups"]
        assert found["state"].keys() == right["state"].keys()
        for number, moments in found["state"].items():
            assert moments.keys() == right["state"][number].keys() == {"step", *MOMENTS}
            for name, value in moments.items():
                other = right["state"][number][name]
                assert torch.equal(value, other)
                assert (value.dtype, value.stride()) == (other.dtype, other.stride())


MOMENTS = ("exp_avg", "exp_avg_sq")


def test_every_step_is_pytorchs_bitwise():
    both = Both()
    for number in range(6):
        both.step(number)
        both.check()


def test_a_parameter_without_a_gradient_is_passed_over():
    both = Both()
    for number, without in enumerate([3, None, None, 0, None, 5, None]):
        both.step(number, without)
        both.check()
    state = both.ours.state_dict()["state"]
    steps = [float(state[number]["step"]) for number in sorted(state)]
    assert steps == [6, 7, 7, 6, 7, 6]


def test_learning_rates_may_change_and_be_tensors():
    both = Both()
    rate = torch.tensor(0.0)
    for number in range(4):
        rate.fill_(1e-3 * (number + 1))
        for adam in (both.ours, both.theirs):
            adam.param_groups[1]["lr"] = rate
            adam.param_groups[0]["lr"] = 1e-2 / (number + 1)
        both.step(number)
        for mine, other in both.pairs:
            assert torch.equal(mine, other)


@pytest.mark.parametrize("begun", [0, 1, 3])
@pytest.mark.parametrize("from_theirs", [False, True])
def test_a_state_dict_goes_on_in_either(begun: int, from_theirs: bool):
    both = Both()
    for number in range(3):
        both.step(number)
    state = copy.deepcopy((both.theirs if from_theirs else both.ours).state_dict())
    again = Both()
    for (mine, other), (value, _) in zip(again.pairs, both.pairs, strict=True):
        mine.data.copy_(value.data)
        other.data.copy_(value.data)
    for number in range(begun):  # what it did before is gone
        before = [p.detach().clone() for pair in again.pairs for p in pair]
        again.step(number)
        for p, value in zip((p for pair in again.pairs for p in pair), before, strict=True):
            p.data.copy_(value)
    for adam in (again.ours, again.theirs):
        adam.load_state_dict(copy.deepcopy(state))
    for number in range(3, 6):
        both.step(number)
        again.step(number)
        again.check()
    for (mine, _), (value, _) in zip(again.pairs, both.pairs, strict=True):
        assert torch.equal(mine, value)


def test_tensors_of_a_state_dict_share_no_storage():
    both = Both()
    for number in range(3):
        both.step(number)
    tensors = [t for moments in both.ours.state_dict()["state"].values() for t in moments.values()]
    assert len({t.untyped_storage().data_ptr() for t in tensors}) == len(tensors)
    counts = [t for t in tensors if t.dim() == 0]
    both.step(3)
    assert [float(count) for count in counts] == [3.0] * len(counts)  # of then


def test_moments_and_counts_keep_their_addresses():
    both = Both()
    both.step(0)

    def addresses() -> list[int]:
        states = both.ours.state.values()
        return [t.data_ptr() for moments in states for t in moments.values()]

    before = addresses()
    for number in range(1, 4):
        both.step(number)
    assert addresses() == before


def test_a_moment_that_is_changed_or_replaced_between_steps_counts():
    both = Both()
    both.step(0)
    for index, pair in enumerate(both.pairs):
        for adam, p in zip((both.ours, both.theirs), pair, strict=True):
            moments = adam.state[p]
            moments["exp_avg"].zero_()
            moments["exp_avg_sq"] = moments["exp_avg_sq"].clone() * (index + 1)
            moments["step"] = moments["step"].clone() + index
    for number in range(1, 4):
        both.step(number)
        both.check()


def test_a_copy_goes_on_by_itself():
    both = Both()
    both.step(0)
    copied, state = copy.deepcopy(both.ours), copy.deepcopy(both.ours.state_dict())
    for group in copied.param_groups:
        for p in group["params"]:
            p.grad = torch.ones_like(p)
    copied.step()
    assert {float(moments["step"]) for moments in copied.state_dict()["state"].values()} == {2.0}
    assert str(both.ours.state_dict()) == str(state)


def test_a_closure_and_gradients_that_are_kept():
    both = Both()
    both.step(0)
    calls: list[int] = []

    def closure() -> Tensor:
        calls.append(1)
        return torch.ones(())

    assert both.ours.step(closure) == 1.0
    both.theirs.step()
    both.check()
    assert calls == [1]
    both.ours.zero_grad(set_to_none=False)
    assert all(not mine.grad.any() for mine, _ in both.pairs)
    both.ours.zero_grad()
    assert all(mine.grad is None for mine, _ in both.pairs)


def test_a_gradient_in_another_layout_moves_the_weights_that_it_is_of() -> None:
    """PyTorch's fused Adam of CPU tensors takes the elements in the order that they lie in."""
    last = torch.channels_last
    start, gradient = torch.randn(2, 8, 4, 3, 3)
    found = []
    for weights, gradients in ((torch.contiguous_format,) * 2, (last, torch.contiguous_format)):
        p = start.clone(memory_format=weights).requires_grad_()
        adam = AdamOnCPU([p], lr=0.1, fused=True)
        for number in range(3):  # PyTorch's step, and two of ours
            p.grad = ((number + 1) * gradient).contiguous(memory_format=gradients)
            adam.step()
        found.append(p.detach())
    assert torch.equal(*found)
    assert not torch.equal(found[0], start)
