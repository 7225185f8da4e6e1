from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fastjvae import Capacity, JointObjective, JointVAE, LatentSpec, load_published
from fastjvae.errors import ArgumentError, CheckpointError

SPEC = {"cont": 5, "disc": [10, 4]}


def test_attributes_of_the_published_class():
    model = JointVAE([3, 64, 64], SPEC, temperature=0.5)
    assert model.img_size == (3, 64, 64)
    assert model.latent_spec is SPEC
    assert (model.is_continuous, model.is_discrete) == (True, True)
    assert (model.latent_cont_dim, model.latent_disc_dim, model.latent_dim) == (5, 14, 19)
    assert (model.num_disc_latents, model.num_pixels, model.hidden_dim) == (2, 4096, 256)
    assert (model.reshape, model.temperature, model.use_cuda) == ((64, 4, 4), 0.5, False)
    cont = JointVAE((1, 32, 32), LatentSpec(4))
    assert (cont.is_continuous, cont.is_discrete, cont.latent_spec) == (True, False, {"cont": 4})


def test_uint8_and_float_images_are_the_same_images():
    model = JointVAE((1, 32, 32), SPEC).eval()
    bytes_ = torch.randint(0, 256, (3, 1, 32, 32), dtype=torch.uint8)
    floats = bytes_.float() / 255
    assert torch.equal(model(bytes_)[0], model(floats)[0])
    torch.testing.assert_close(model.loss(bytes_, 1).loss, model.loss(floats, 1).loss)


def test_evaluation_mode_draws_no_noise():
    model = JointVAE((1, 32, 32), SPEC).eval()
    x = torch.rand(3, 1, 32, 32)
    state = torch.get_rng_state()
    first, second = model(x), model(x)
    assert torch.equal(first[0], second[0])
    sample = model.reparameterize(model.encode(x))
    assert torch.equal(sample[:, :5], model.encode(x)["cont"][0])
    assert sample[:, 5:].sum() == 2 * 3
    model.loss(x, 1)
    assert torch.equal(torch.get_rng_state(), state)


def test_reparameterize_agrees_with_forward_on_the_same_noise():
    model = JointVAE((1, 32, 32), SPEC)
    x = torch.rand(3, 1, 32, 32)
    torch.manual_seed(1)
    reconstruction, latent_dist = model(x)
    torch.manual_seed(1)
    torch.testing.assert_close(model.decode(model.reparameterize(latent_dist)), reconstruction)


def test_reparameterize_of_certain_categories_is_finite():
    model = JointVAE((1, 32, 32), {"disc": [3]})
    alpha = torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)
    sample = model.reparameterize({"disc": [alpha]})
    sample[0, 0].backward()
    assert sample.isfinite().all()
    torch.testing.assert_close(sample.detach(), torch.tensor([[1.0, 0.0, 0.0]]))


def test_loss_repeats_by_seed_generator_and_explicit_noise():
    model = JointVAE((1, 32, 32), SPEC)
    x = torch.rand(3, 1, 32, 32)
    by_seed = [model.loss(x, 1, seed=3).loss.item() for _ in range(2)]
    assert by_seed[0] == by_seed[1]
    by_generator = [
        model.loss(x, 1, generator=torch.Generator().manual_seed(3)).loss.item() for _ in range(2)
    ]
    assert by_generator[0] == by_generator[1]
    noise = {"normal": torch.randn(3, 5), "uniform": torch.rand(3, 14)}
    assert model.loss(x, 1, **noise).loss.item() == model.loss(x, 1, **noise).loss.item()


def test_default_objective_is_the_papers_for_mnist():
    model = JointVAE((1, 32, 32), {"cont": 10, "disc": [10]})
    x = torch.rand(3, 1, 32, 32)
    paper = JointObjective(Capacity(0, 5, 25_000, 30), Capacity(0, 5, 25_000, 30))
    assert model.loss(x, 7, seed=1).loss.item() == model.loss(x, 7, paper, seed=1).loss.item()


def test_sample_draws_from_the_prior():
    model = JointVAE((1, 32, 32), SPEC)
    drawn: list[torch.Tensor] = []
    hook = model.decoder.register_forward_pre_hook(lambda _, inputs: drawn.append(inputs[0]))
    images = model.sample(500, torch.Generator().manual_seed(0))
    hook.remove()
    assert images.shape == (500, 1, 32, 32)
    assert not images.requires_grad
    z, first, second = drawn[0].split([5, 10, 4], dim=1)
    assert abs(float(z.mean())) < 0.1
    assert abs(float(z.std()) - 1) < 0.1
    for categories in (first, second):
        assert torch.equal(categories.sum(dim=1), torch.ones(500))
        assert float(categories.mean(dim=0).min()) > 0.5 / categories.shape[1]
    assert torch.equal(images, model.sample(500, torch.Generator().manual_seed(0)))
    assert model.sample(0).shape == (0, 1, 32, 32)


def test_own_encoder_and_decoder_of_any_size():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(2 * 7 * 5, 2 * 5 + 14))
    decoder = nn.Sequential(nn.Linear(19, 2 * 7 * 5), nn.Unflatten(1, (2, 7, 5)))
    model = JointVAE((2, 7, 5), SPEC, encoder=encoder, decoder=decoder)
    x = torch.rand(3, 2, 7, 5)
    assert model(x)[0].shape == x.shape
    model.loss(x, 1).loss.backward()
    with pytest.raises(ArgumentError, match="no published form"):
        model.published_state_dict()


class Reshaped(nn.Sequential):
    """Has no layers, and is false as a condition."""

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        return sample.repeat(1, 2).view(-1, 1, 1, 4)


def test_an_own_module_without_layers_is_still_used():
    decoder = Reshaped()
    model = JointVAE((1, 1, 4), {"cont": 2}, encoder=nn.Flatten(), decoder=decoder)
    assert model.decoder is decoder


def test_own_modules_of_the_wrong_width_are_named():
    narrow = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 7))
    with pytest.raises(ArgumentError, match=r"of shape \(2, 24\) .* returned \(2, 7\)"):
        JointVAE((1, 32, 32), SPEC, encoder=narrow)
    with pytest.raises(ArgumentError, match="decoder must return"):
        JointVAE((1, 32, 32), SPEC, decoder=nn.Linear(19, 7))


def test_own_modules_that_change_their_width_later_are_named():
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 24))
    decoder = nn.Sequential(nn.Linear(19, 32 * 32), nn.Unflatten(1, (1, 32, 32)))
    model = JointVAE((1, 32, 32), SPEC, encoder=encoder, decoder=decoder)
    encoder[1] = nn.Linear(32 * 32, 7)
    with pytest.raises(ArgumentError, match=r"must return \(3, 24\) .* returned \(3, 7\)"):
        model(torch.rand(3, 1, 32, 32))
    decoder[1] = nn.Identity()
    with pytest.raises(ArgumentError, match="decoder must return"):
        model.decode(torch.rand(3, 19))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.rand(3, 1, 28, 28), r"\(N, 1, 32, 32\), got \(3, 1, 28, 28\)"),
        (torch.rand(1, 32, 32), r"got \(1, 32, 32\)"),
        (torch.zeros(3, 1, 32, 32, dtype=torch.int64), "torch.int64"),
    ],
)
def test_images_that_do_not_fit(x: torch.Tensor, message: str):
    with pytest.raises(ArgumentError, match=message):
        JointVAE((1, 32, 32), SPEC)(x)


def test_sample_rows_that_do_not_fit():
    with pytest.raises(ArgumentError, match=r"\(N, 19\), got \(2, 18\)"):
        JointVAE((1, 32, 32), SPEC).decode(torch.rand(2, 18))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), "a", None])
def test_temperature_must_be_positive(temperature: float):
    with pytest.raises(ArgumentError, match="temperature must be a number above 0"):
        JointVAE((1, 32, 32), SPEC, temperature)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_layout_of_the_input_changes_nothing(layout: torch.memory_format):
    model = JointVAE((3, 32, 32), SPEC).eval()
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(model(x)[0], model(x.contiguous(memory_format=layout))[0])


def test_state_dict_round_trips_under_both_names():
    source, target = JointVAE((1, 64, 64), SPEC), JointVAE((1, 64, 64), SPEC)
    published = source.published_state_dict()
    assert all(tensor.is_contiguous() for tensor in published.values())
    target.load_state_dict(published)
    for ours, theirs in zip(
        source.state_dict().values(), target.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)
    again = target.published_state_dict()
    assert published.keys() == again.keys()
    assert all(torch.equal(published[key], again[key]) for key in published)
    target.load_state_dict(source.state_dict())


def test_published_state_dict_is_a_copy():
    model = JointVAE((1, 32, 32), SPEC)
    before = copy.deepcopy(model.state_dict())
    for tensor in model.published_state_dict().values():
        tensor.zero_()
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_loading_a_published_state_dict_is_strict():
    model = JointVAE((1, 32, 32), SPEC)
    published = model.published_state_dict()
    lacking = {k: v for k, v in published.items() if k != "fc_alphas.1.bias"}
    with pytest.raises(CheckpointError, match=r"missing \['fc_alphas.1.bias'\]"):
        model.load_state_dict(lacking)
    with pytest.raises(CheckpointError, match=r"unexpected \['fc_alphas.2.bias'\]"):
        model.load_state_dict({**published, "fc_alphas.2.bias": torch.zeros(3)})
    with pytest.raises(CheckpointError, match=r"fc_mean.weight has shape \(4, 256\)"):
        model.load_state_dict({**published, "fc_mean.weight": torch.zeros(4, 256)})
    partial = model.load_state_dict(lacking, strict=False)
    assert partial.missing_keys == ["fc_alphas.1.bias"]


def test_initialisation_is_the_published_codes():
    """Each published layer is an nn.Linear(256, k) with PyTorch's default: U(-1/16, 1/16)."""
    published = JointVAE((1, 32, 32), {"cont": 200, "disc": [200]}).published_state_dict()
    for key in ("fc_mean.weight", "fc_log_var.weight", "fc_alphas.0.weight"):
        weight = published[key]
        assert float(weight.abs().max()) <= 1 / 16
        assert float(weight.std()) == pytest.approx(1 / 16 / 3**0.5, rel=0.02)


def test_loss_does_not_wait_for_the_device():
    from torch.utils._python_dispatch import TorchDispatchMode

    class Calls(TorchDispatchMode):
        names: list[str] = []  # noqa: RUF012

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.names.append(str(func))
            return func(*args, **(kwargs or {}))

    model = JointVAE((1, 32, 32), SPEC)
    x, step = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8), torch.tensor(3)
    with Calls() as calls:
        model.loss(x, step, seed=torch.tensor([1])).loss.backward()
        model.loss(x, step).loss.backward()
    waiting = ("_local_scalar_dense", "aten.equal", "nonzero", "is_nonzero", "_to_cpu")
    assert not [name for name in calls.names if any(wait in name for wait in waiting)]
    assert any("convolution" in name for name in calls.names)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA or HIP GPU")
def test_the_gpu_computes_what_the_cpu_computes():
    model = JointVAE((1, 32, 32), SPEC)
    x = torch.rand(8, 1, 32, 32)
    on_cpu = model.loss(x, 5, seed=3)
    on_cpu.loss.backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    model.cuda()
    on_gpu = model.loss(x.cuda(), torch.tensor(5, device="cuda"), seed=3)
    on_gpu.loss.backward()
    torch.testing.assert_close(on_gpu.loss.cpu(), on_cpu.loss, rtol=1e-5, atol=0)
    for parameter, grad in zip(model.parameters(), expected, strict=True):
        assert (parameter.grad.cpu() - grad).norm() <= 1e-3 * grad.norm()


@pytest.mark.parametrize("change", [lambda x: 255 * x, lambda x: 2 * x - 1, lambda x: x + 0.002])
def test_images_outside_0_and_1_are_an_error_of_the_loss(change: Any):
    model = JointVAE((1, 16, 16), {"cont": 2, "disc": [3]})
    x = torch.linspace(0, 1, 512).reshape(2, 1, 16, 16)
    for good in (x, (255 * x).byte(), x.round(), x.half().float(), x * (1 + 1e-6), x.double()):
        model.loss(good, 1)
    with pytest.raises(ArgumentError, match=r"between 0 and 1, got values from .* divide 0..255"):
        model.loss(change(x), 1)
    assert model.loss(torch.full_like(x, torch.nan), 1).loss.isnan()


@pytest.mark.parametrize("returned", [torch.zeros(()), (torch.zeros(()),), None])
def test_an_objective_that_returns_something_else(returned: Any):
    class Own:
        def loss(self, *_: Any) -> Any:
            return returned

    model = JointVAE((1, 16, 16), {"cont": 2})
    with pytest.raises(ArgumentError, match=r"must be a LossOutput, .* Own has returned a (T|t|N)"):
        model.loss(torch.rand(2, 1, 16, 16), 1, Own())


@pytest.mark.parametrize("n", [-1, 2.5, True, 10**30])
def test_a_number_of_samples(n: Any):
    model = JointVAE((1, 16, 16), {"cont": 2, "disc": [3]})
    assert model.sample(0).shape == (0, 1, 16, 16)
    for draw in (model.sample, model.prior_sample):
        with pytest.raises(ArgumentError, match="number of samples must be an integer from 0"):
            draw(n)


@pytest.mark.parametrize("temperature", [float("inf"), float("nan"), 10**400, 0, "x", True])
def test_a_temperature_that_is_none(temperature: Any):
    with pytest.raises(ArgumentError, match=r"the temperature must be (finite|a number above 0)"):
        JointVAE((1, 16, 16), {"cont": 2}, temperature)


# LBFGS of PyTorch 2.8 warns of what it does itself.
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True:UserWarning")
def test_parameters_and_gradients_are_one_flat_vector(tmp_path: Path):
    model = JointVAE((1, 16, 16), {"cont": 2, "disc": [3]})
    x = torch.rand(4, 1, 16, 16)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = model.eval().loss(x, 1).loss
        loss.backward()
        return loss

    before = closure().item()
    optimizer.step(closure)
    assert closure().item() < before
    vector = torch.nn.utils.parameters_to_vector(model.parameters())
    torch.nn.utils.vector_to_parameters(2 * vector, model.parameters())
    model.save_pretrained(tmp_path)
    torch.save(model.published_state_dict(), tmp_path / "model.pt")
    loaded = JointVAE.from_pretrained(tmp_path), load_published(tmp_path / "model.pt")
    for each in (model, *loaded):
        assert all(tensor.is_contiguous() for tensor in each.state_dict().values())
        torch.testing.assert_close(
            torch.nn.utils.parameters_to_vector(each.parameters()), 2 * vector
        )


@pytest.mark.parametrize("channels", [1, 3])
def test_the_layout_of_the_weights_changes_no_result(channels: int):
    model = JointVAE((channels, 16, 16), {"cont": 2, "disc": [3]}).eval()
    trained = copy.deepcopy(model).to(memory_format=torch.channels_last)
    x = torch.rand(5, channels, 16, 16)
    with torch.no_grad():
        for mine, theirs in zip(model.encode(x)["cont"], trained.encode(x)["cont"], strict=True):
            assert torch.equal(mine, theirs)
        assert torch.equal(model(x)[0], trained(x)[0])
