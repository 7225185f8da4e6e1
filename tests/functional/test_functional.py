from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import fastjvae
from fastjvae import Capacity, LatentSpec, functional
from fastjvae.errors import ArgumentError, BackendError
from fastjvae.functional import Noise
from fastjvae.functional.backends import choice, philox
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


def test_latent_sample_is_the_sample_of_joint_latent():
    params = _params()
    for training in (True, False):
        joint = functional.joint_latent(params, SPEC, 0.67, seed=2, training=training)
        sample = functional.latent_sample(params, SPEC, 0.67, Noise(seed=2), training=training)
        assert torch.equal(joint.sample, sample)


def test_draw_seed_is_a_key_from_the_generator():
    generator = torch.Generator().manual_seed(0)
    seed = functional.draw_seed(torch.device("cpu"), generator)
    assert seed.shape == (1,)
    assert seed.dtype == torch.int64
    assert int(seed) != int(functional.draw_seed(torch.device("cpu"), generator))


def test_tau_may_be_a_tensor():
    logits = torch.randn(5, 4)
    by_float = functional.gumbel_softmax(logits, 0.5, seed=1)
    assert torch.equal(by_float, functional.gumbel_softmax(logits, torch.tensor(0.5), seed=1))


def test_a_spec_may_be_a_dict():
    params = _params()
    by_dict = functional.joint_latent(params, {"cont": 3, "disc": [4, 2]}, 0.67, seed=1)
    assert torch.equal(by_dict.sample, functional.joint_latent(params, SPEC, 0.67, seed=1).sample)


def test_capacity_loss_is_computed_in_float32():
    loss = functional.capacity_loss(torch.ones(3, dtype=torch.float16), 1.0, 1e5)
    assert (loss.dtype, loss.item()) == (torch.float32, 2e5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_single_operations_never_hide_what_is_not_finite(bad: float):
    fine, one_bad = torch.zeros(2, 3), torch.zeros(2, 3)
    one_bad[1, 1] = bad
    assert not functional.gumbel_softmax(one_bad, 0.67, seed=1).isfinite().all()
    assert not functional.gaussian_rsample(fine, one_bad, seed=1).isfinite().all()
    assert not functional.gaussian_rsample(one_bad, fine, seed=1).isfinite().all()
    assert not functional.kl_gaussian(fine, one_bad).isfinite().all()
    assert not functional.kl_categorical(one_bad).isfinite().all()
    images = one_bad.reshape(1, 1, 2, 3)
    target = torch.full((1, 1, 2, 3), 0.5)
    assert not functional.bernoulli_reconstruction(images, target).isfinite().all()


def test_capacity_loss_sums_any_shape():
    kl = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert float(functional.capacity_loss(kl, 4.0, 2.0)) == 12.0
    assert float(functional.capacity_loss(torch.tensor(4.0), torch.tensor(4.0), 2.0)) == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: functional.joint_latent(torch.randn(2, 5), SPEC, 0.67), "12 columns"),
        (lambda: functional.joint_latent(_params(), SPEC, 0.0), "above 0, got 0.0"),
        (
            lambda: functional.joint_latent(_params(), SPEC, 0.67, normal=torch.randn(6, 3)),
            r"uniform of shape \(6, 6\) is missing",
        ),
        (
            lambda: functional.joint_latent(
                _params(), SPEC, 0.67, normal=torch.randn(6, 3), uniform=torch.rand(6, 5)
            ),
            r"uniform must have shape \(6, 6\)",
        ),
        (
            lambda: functional.joint_latent(
                _params(), SPEC, 0.67, seed=1, normal=torch.randn(6, 3), uniform=torch.rand(6, 6)
            ),
            "got both",
        ),
        (
            lambda: functional.gumbel_softmax(
                torch.randn(2, 3), 0.67, seed=1, generator=torch.Generator()
            ),
            "got both",
        ),
        (
            lambda: functional.gumbel_softmax(torch.randn(2, 3), 0.67, seed=torch.tensor(1)),
            r"int64 of shape \(1,\)",
        ),
        (lambda: functional.gumbel_softmax(torch.randn(2, 3), 0.67, seed=2**64), "64-bit"),
        (lambda: functional.gumbel_softmax(torch.randn(3), 0.67), r"matrix \(N, K\)"),
        (
            lambda: functional.gaussian_rsample(torch.randn(2, 3), torch.randn(2, 4)),
            r"\(2, 3\) and \(2, 4\)",
        ),
        (
            lambda: functional.bernoulli_reconstruction(
                torch.randn(2, 1, 4, 4), torch.rand(2, 1, 4, 5)
            ),
            r"\(2, 1, 4, 5\)",
        ),
        (
            lambda: functional.bernoulli_reconstruction(
                torch.randn(2, 1, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.int64)
            ),
            "torch.int64",
        ),
        (
            lambda: functional.bernoulli_reconstruction(
                torch.randn(2, 1, 4, 4), torch.rand(2, 1, 4, 4), "max"
            ),
            "'max'",
        ),
    ],
)
def test_bad_arguments_say_what_was_passed(call: object, message: str):
    with pytest.raises(ArgumentError, match=message):
        call()  # type: ignore[operator]


def test_a_generator_of_another_device_names_both():
    class Elsewhere:
        device = torch.device("cuda")

    with pytest.raises(ArgumentError, match="cuda but the noise is needed on cpu"):
        functional.gumbel_softmax(torch.randn(2, 3), 0.67, generator=Elsewhere())  # type: ignore[arg-type]


def test_asking_for_triton_where_it_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fastjvae.functional.backends.choice.interpreted", lambda: False)
    logits = torch.randn(2, 3)
    with fastjvae.backend("triton"), pytest.raises(BackendError, match="this one is on cpu"):
        functional.kl_categorical(logits)
    functional.kl_categorical(logits)  # the choice ends with the block


class OnGPU:
    """What the choice of a backend looks at."""

    device, dtype = torch.device("cuda", 0), torch.float32


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """A machine with a GPU; the devices on which the small launch is tried."""
    found: list[torch.device] = []
    monkeypatch.setattr(choice, "_launch_failures", {})
    monkeypatch.setattr(choice, "_try_a_launch", found.append)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    return found


def test_a_gpu_is_tried_once(launched: list[torch.device]):
    assert all(choice.use_triton(OnGPU()) for _ in range(3))  # type: ignore[arg-type]
    assert launched == [OnGPU.device]


def test_where_triton_fails_the_reference_runs_with_one_line(
    launched: list[torch.device], monkeypatch: pytest.MonkeyPatch
):
    reason = "Failed to find C compiler. Please specify via CC environment variable"

    def fails(*_: Any) -> None:
        raise RuntimeError(f"{reason}\nand more")

    monkeypatch.undo()
    monkeypatch.setattr(choice, "_launch_failures", {})
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr("fastjvae_kernels.column_sums.column_sums", fails)
    monkeypatch.setattr(torch, "zeros", lambda *_, **__: None)
    with pytest.warns(UserWarning, match=reason) as warned:
        assert not any(choice.use_triton(OnGPU()) for _ in range(3))  # type: ignore[arg-type]
    assert [str(warning.message) for warning in warned] == [
        f"the reference takes the place of the Triton kernels, which fail on cuda:0: {reason}"
    ]
    text = warnings.formatwarning(
        warned[0].message, warned[0].category, warned[0].filename, warned[0].lineno
    )
    assert text.count("\n") == 1
    with fastjvae.backend("triton"), pytest.raises(BackendError, match=f"cuda:0: {reason}"):
        choice.use_triton(OnGPU())  # type: ignore[arg-type]


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


def test_backend_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fastjvae.functional.backends.choice.interpreted", lambda: False)
    monkeypatch.setenv("FASTJVAE_BACKEND", "triton")
    with pytest.raises(BackendError):
        functional.kl_categorical(torch.randn(2, 3))
    for name in ("reference", "cpu"):  # the context manager is the nearer wish
        with fastjvae.backend(name):
            functional.kl_categorical(torch.randn(2, 3))
    monkeypatch.setenv("FASTJVAE_BACKEND", "cuda")
    with pytest.raises(ArgumentError, match=r"FASTJVAE_BACKEND must be .* got 'cuda'"):
        functional.kl_categorical(torch.randn(2, 3))


def test_the_cpu_backend_takes_tensors_of_a_cpu():
    with fastjvae.backend("cpu"), pytest.raises(BackendError, match=r"CPU tensors .* on meta"):
        functional.kl_categorical(torch.empty(2, 3, device="meta"))


def test_unknown_backend():
    with pytest.raises(ArgumentError, match="got 'numpy'"), fastjvae.backend("numpy"):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize(
    "call",
    [
        lambda: functional.kl_categorical(torch.zeros(3, 0)),
        lambda: functional.gumbel_softmax(torch.zeros(3, 0), 1.0),
        lambda: functional.gumbel_softmax(torch.zeros(3, 2), float("inf")),
        lambda: functional.capacity_loss(torch.zeros(2), float("nan"), 1.0),
        lambda: functional.capacity_loss(torch.zeros(2), 1.0, float("inf")),
        lambda: functional.capacity_loss(torch.zeros(2), 10**400, 1.0),
        lambda: functional.kl_capacity_loss(
            torch.zeros(2, 3), {"disc": [3]}, 2**63, disc=Capacity(0, 1, 1, 1.0)
        ),
    ],
)
def test_numbers_that_no_operation_can_take(call: Any):
    with pytest.raises(ArgumentError, match=r"(must be|got) .*"):
        call()
