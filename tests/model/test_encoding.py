from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from torch import nn

from fastjvae import JointVAE
from fastjvae.errors import ArgumentError
from fastjvae.model import encoding
from fastjvae.model.encoding import encode, encoded_batches

IMAGES = torch.rand(11, 1, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[{"cont": 2, "disc": [4, 3]}, {"cont": 2}, {"disc": [4]}])
def model(request: pytest.FixtureRequest) -> JointVAE:
    model = JointVAE((1, 16, 16), request.param)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.mul_(3)
    return model


def test_means_categories_and_kl_of_every_image(model: JointVAE, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(encoding, "AT_ONCE", 4)
    found = encode(model, IMAGES)
    with torch.no_grad():
        latents = model.eval().encode(IMAGES)
    mean, logvar = latents.get("cont", [torch.zeros(11, 0)] * 2)
    alphas = latents.get("disc", [])
    torch.testing.assert_close(torch.from_numpy(found.codes), mean)
    assert found.discrete.dtype == np.int64
    assert found.discrete.shape == (11, len(alphas))
    for column, alpha in zip(found.discrete.T, alphas, strict=True):
        assert column.tolist() == alpha.argmax(dim=1).tolist()
    kl = [*(-(1 + logvar - mean**2 - logvar.exp()) / 2).mean(dim=0)]
    kl += [(a * (a * a.shape[1]).log()).sum(dim=1).mean() for a in alphas]
    assert found.kl == pytest.approx([float(each) for each in kl], rel=1e-4)
    category_mean = [share for a in alphas for share in a.mean(dim=0).tolist()]
    assert found.category_mean == pytest.approx(category_mean, rel=1e-5)


def test_whoever_asks_sees_every_batch_and_its_sample(
    model: JointVAE, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(encoding, "AT_ONCE", 4)
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    encode(model, IMAGES, lambda images, sample: seen.append((images, sample)))
    assert [len(images) for images, _ in seen] == [4, 4, 3]
    sample = torch.cat([sample for _, sample in seen])
    torch.testing.assert_close(sample, model.eval().reparameterize(model.encode(IMAGES)))


class _Fails(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no")


def test_every_module_is_left_in_its_own_mode():
    model = JointVAE((1, 16, 16), {"cont": 2}).train()
    model.decoder.eval()
    encode(model, IMAGES)
    assert model.training
    assert not model.decoder.training
    for _ in encoded_batches(model, IMAGES):
        assert not model.training
    assert model.training
    model.encoder = _Fails().train()
    with pytest.raises(RuntimeError, match="no"):
        encode(model, IMAGES)
    assert model.encoder.training


def test_memory_does_not_grow_with_the_number_of_batches():
    """In a process that keeps freed memory, as one that has trained does."""
    script = """
import torch
from fastjvae import JointVAE
from fastjvae.training.allocator import keep_freed_memory
from fastjvae.model import encoding

def anonymous_mib():
    lines = open("/proc/self/status").read().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

torch.set_num_threads(1)
keep_freed_memory()
encoding.AT_ONCE = 128  # the place of a single buffer in the heap weighs little
model = JointVAE((1, 32, 32), {"cont": 2, "disc": [3]})
image = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
grown = []
for batches in (16, 160):
    before = anonymous_mib()
    encoding.encode(model, image.expand(128 * batches, -1, -1, -1))
    grown.append(anonymous_mib() - before)
print(grown[1])
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc, which Linux has")
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert float(run.stdout) < 10  # MiB; a batch of floats is 0.5


def test_no_image_is_a_sentence():
    model = JointVAE((1, 32, 32), {"cont": 2})
    with pytest.raises(ArgumentError, match=r"at least 1 image, got shape \(0, 1, 32, 32\)"):
        encode(model, torch.zeros(0, 1, 32, 32))
