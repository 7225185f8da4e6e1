"""The Triton kernels in Triton's interpreter, against the float64 reference on identical noise.

The interpreter is chosen before triton is imported, so it runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="needs triton")

SCRIPT = """
import sys, torch
from fastjvae import LatentSpec, autograd, reference

def close(ours, exact, floor=1e-5):
    assert ours.shape == exact.shape
    assert (ours.double() - exact).abs().le(floor + 1e-5 * exact.abs()).all(), (ours, exact)

torch.manual_seed(0)
for spec in (LatentSpec(10, (10,)), LatentSpec(3, (4, 2, 7)), LatentSpec(0, (5,)), LatentSpec(6)):
    for rows in (0, 1, 5, 70):
        params = torch.randn(rows, spec.num_params)
        key = torch.tensor([77])
        normal = reference.philox_normal(key, rows, spec.cont).double()
        uniform = reference.philox_uniform(key, rows, spec.num_categories, 1).double()
        ours = params.clone().requires_grad_()
        sample, means = autograd.joint_latent(ours, spec, 0.67, key)
        exact = params.double().requires_grad_()
        joint = reference.joint_latent(exact, spec, 0.67, normal, uniform)
        exact_means = torch.cat([joint.kl_cont, joint.kl_disc, joint.category_mean])
        close(sample, joint.sample)
        close(means, exact_means)
        g, h = torch.randn_like(sample), torch.randn_like(means)
        ((sample * g).sum() + (means * h).sum()).backward()
        ((joint.sample * g).sum() + (exact_means * h).sum()).backward()
        close(ours.grad, exact.grad)
for layout in (torch.contiguous_format, torch.channels_last):
    logits = torch.randn(3, 2, 8, 8).contiguous(memory_format=layout).requires_grad_()
    target = torch.randint(0, 256, (3, 2, 8, 8), dtype=torch.uint8)
    exact = logits.detach().double().requires_grad_()
    loss = autograd.bernoulli_reconstruction(logits, target, 1 / 6)
    oracle = reference.bernoulli_reconstruction(exact, target)
    close(loss, oracle)
    (3 * loss).backward()
    (3 * oracle).backward()
    close(logits.grad, exact.grad)
    assert logits.grad.stride() == logits.stride()
"""


def test_kernels_agree_with_the_oracle_forward_and_backward():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
