"""The cross-entropy of known categories, against its formula."""

from __future__ import annotations

import pytest
import torch

from fastjvae import Capacity, JointObjective, JointVAE
from fastjvae.objectives import label_cross_entropy, with_label_loss

CATEGORIES = torch.tensor([2, 0, 1, 2])


def model_of(dtype: torch.dtype) -> JointVAE:
    torch.manual_seed(0)
    return JointVAE((1, 32, 32), {"cont": 2, "disc": [2, 3]}).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_is_the_mean_of_minus_log_probabilities(dtype: torch.dtype) -> None:
    model, x = model_of(dtype), torch.rand(4, 1, 32, 32, dtype=dtype)
    found = label_cross_entropy(model, x, CATEGORIES, variable=1)
    assert found.dtype == dtype
    model.eval()
    probability = model.encode(x)["disc"][1].double()
    right = -probability[torch.arange(4), CATEGORIES].log().mean()
    torch.testing.assert_close(found.double(), right, rtol=1e-5, atol=1e-6)


def test_half_precision_rows_are_added_up_in_float32() -> None:
    model, x = model_of(torch.float32), torch.rand(4, 1, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        assert label_cross_entropy(model, x, CATEGORIES, variable=1).dtype == torch.float32


def test_it_is_weighed_beside_the_loss_of_all_images() -> None:
    model, x = model_of(torch.float64), torch.rand(6, 1, 32, 32, dtype=torch.float64)
    capacity = Capacity(0.0, 1.0, 10, 30.0)
    objective = JointObjective(cont=capacity, disc=capacity)
    plain = model.loss(x, 1, objective, seed=3)
    out = with_label_loss(plain, model, x[:4], CATEGORIES, variable=1, weight=50.0)
    nats = label_cross_entropy(model, x[:4], CATEGORIES, variable=1)
    torch.testing.assert_close(out.loss, plain.loss + 50 * nats / 1024)
    assert out.extra["label_cross_entropy"].equal(nats.detach())
    assert not out.extra["label_cross_entropy"].requires_grad
    (own,) = torch.autograd.grad(out.loss - plain.loss, [model.encoder.head.weight])
    (right,) = torch.autograd.grad(50 * nats / 1024, [model.encoder.head.weight])
    torch.testing.assert_close(own, right)
    assert not own[model.spec.logits[0]].any()  # the other variable's
