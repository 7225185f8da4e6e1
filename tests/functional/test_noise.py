"""The noise of samples: keys, generators, and noise that is given."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from versions import installed

from fastjvae import LatentSpec, functional
from fastjvae.errors import ArgumentError
from fastjvae.functional import Noise
from fastjvae.functional.backends import philox
from fastjvae.functional.noise import noise_tensors

SPEC = LatentSpec(3, (4, 2))


def _params(rows: int = 6) -> torch.Tensor:
    return torch.randn(rows, SPEC.num_params)


def test_one_seed_gives_single_operations_and_joint_latent_the_same_numbers():
    params = _params()
    single = LatentSpec(3, (4,))
    rows = params[:, : single.num_params]
    joint = functional.joint_latent(rows, single, 0.67, seed=5)
    assert torch.equal(
        joint.sample[:, :3], functional.gaussian_rsample(rows[:, :3], rows[:, 3:6], seed=5)
    )
    assert torch.equal(joint.sample[:, 3:], functional.gumbel_softmax(rows[:, 6:], 0.67, seed=5))


def test_seed_as_int_and_as_tensor_agree_and_repeat():
    params = _params()
    first = functional.joint_latent(params, SPEC, 0.67, seed=-3)
    again = functional.joint_latent(params, SPEC, 0.67, seed=torch.tensor([-3]))
    other = functional.joint_latent(params, SPEC, 0.67, seed=4)
    assert torch.equal(first.sample, again.sample)
    assert not torch.equal(first.sample, other.sample)


@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("spec", [LatentSpec(4), LatentSpec(0, (3,)), LatentSpec(2, (3, 5))])
def test_a_seed_serves_any_number_of_rows_and_either_part_alone(rows: int, spec: LatentSpec):
    params = torch.randn(rows, spec.num_params)
    joint = functional.joint_latent(params, spec, 0.67, seed=1)
    assert joint.sample.shape == (rows, spec.sample_dim)
    assert joint.sample.isfinite().all()


def test_explicit_noise_is_what_a_seed_draws():
    params = _params()
    key = torch.tensor([11])
    normal = philox.philox_normal(key, 6, 3)
    uniform = philox.philox_uniform(key, 6, 6, philox.GUMBEL_STREAM)
    explicit = functional.joint_latent(params, SPEC, 0.67, normal=normal, uniform=uniform)
    assert torch.equal(explicit.sample, functional.joint_latent(params, SPEC, 0.67, seed=11).sample)


def test_a_generator_repeats_and_the_default_one_obeys_manual_seed():
    params = _params()

    def draw(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return functional.joint_latent(params, SPEC, 0.67, generator=generator).sample

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    torch.manual_seed(3)
    first = functional.joint_latent(params, SPEC, 0.67).sample
    torch.manual_seed(3)
    assert torch.equal(first, functional.joint_latent(params, SPEC, 0.67).sample)


def test_draw_seed_is_a_key_from_the_generator():
    generator = torch.Generator().manual_seed(0)
    seed = functional.draw_seed(torch.device("cpu"), generator)
    assert seed.shape == (1,)
    assert seed.dtype == torch.int64
    assert int(seed) != int(functional.draw_seed(torch.device("cpu"), generator))


def test_a_generator_of_another_device_names_both():
    class Elsewhere:
        device = torch.device("cuda")

    with pytest.raises(ArgumentError, match="cuda but the noise is needed on cpu"):
        functional.gumbel_softmax(torch.randn(2, 3), 0.67, generator=Elsewhere())  # type: ignore[arg-type]


@pytest.mark.skipif(installed("torch") < (2, 11), reason="fake tensors on a GPU need its driver")
def test_on_a_gpu_the_reference_draws_from_a_key_as_the_kernels_do():
    with FakeTensorMode(), Names() as names:
        like = torch.empty(6, 5, device="cuda")
        normal, uniform = noise_tensors(like, Noise(), 2, 3)
    assert (tuple(normal.shape), tuple(uniform.shape)) == ((6, 2), (6, 3))
    assert normal.device.type == uniform.device.type == "cuda"
    assert {name for name in names.seen if name.startswith("rand")} == {"randint"}


class Names(TorchDispatchMode):
    """The operators that are called."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))
