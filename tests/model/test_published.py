"""Parity with the published code: its checkpoints, its recorded training steps, its interface."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import SHARED

from fastjvae import Capacity, JointObjective, JointVAE, functional, load, load_published
from fastjvae import JointVAE as VAE  # noqa: N814  as the published code calls it
from fastjvae.data import DataSource
from fastjvae.data import load as load_data
from fastjvae.errors import CheckpointError
from fastjvae.metrics.evaluation import evaluate
from fastjvae.model.published import to_published

PARITY_FOLDER = Path(os.environ.get("FASTJVAE_PARITY_DIR", SHARED / "parity"))
PARITY_FILES = sorted(PARITY_FOLDER.glob("*.npz"))


# --- recorded training steps --------------------------------------------------------------------


@pytest.fixture(params=PARITY_FILES or [None], ids=lambda file: file.stem if file else "none")
def recorded(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param is None:
        pytest.skip(f"no .npz files in {PARITY_FOLDER}; set FASTJVAE_PARITY_DIR to have some")
    arrays = np.load(request.param)
    tensors = {key: torch.from_numpy(arrays[key]) for key in arrays.files if key != "config"}
    return {"config": json.loads(str(arrays["config"])), **tensors}


def _group(recorded: dict[str, Any], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in recorded.items() if k.startswith(prefix)}


def _relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours.detach() - theirs).norm() / theirs.norm()).item()


def test_parity_of_evaluation(recorded: dict[str, Any]):
    model, expected = _beginning(recorded), _group(recorded, "eval/")
    reconstruction, latent_dist = model.eval()(recorded["x"][0])
    assert _relative(reconstruction, expected["recon"]) <= 1e-5
    if model.is_continuous:
        mean, logvar = latent_dist["cont"]
        assert _relative(mean, expected["mean"]) <= 1e-5
        assert _relative(logvar, expected["logvar"]) <= 1e-5
    for i, alpha in enumerate(latent_dist.get("disc", [])):
        assert _relative(alpha, expected[f"alpha_{i}"]) <= 1e-5


def test_parity_of_training(recorded: dict[str, Any]):
    """The losses of every step, and the weights at the end.

    Training is chaotic: a rounding error that decides the sign of a small gradient moves a weight
    by Adam's whole learning rate. After the first steps the losses agree with the recorded ones as
    well as the published loss agrees with itself, from weights that differ by 8 ulp.
    """
    config = recorded["config"]
    model = _beginning(recorded).train()
    capacities = config["cont_capacity"], config["disc_capacity"]
    objective = JointObjective(*(Capacity(*c) if c else None for c in capacities))
    _check_first_sample(model, recorded)

    def ours(i: int) -> torch.Tensor:
        step = config["start_steps"] + 1 + i
        return model.loss(recorded["x"][i], step, objective, **_noise(recorded, i)).loss

    losses = []
    for i, loss in enumerate(_trained(model, ours, recorded)):
        losses.append(loss)
        if i == 0:
            assert loss == pytest.approx(float(recorded["step0/loss"]), rel=1e-5)
            grads = {name: p.grad for name, p in model.named_parameters()}
            mine = to_published(grads, model.spec)  # type: ignore[arg-type]
            for name, theirs in _group(recorded, "step0/grad/").items():
                assert _relative(mine[name], theirs) <= 1e-5, name
    right = recorded["losses"].double()
    errors = (torch.tensor(losses).double() - right).abs() / right
    allowed = 2e-6 + 4 * _spread_of_the_published_loss(recorded)
    assert (errors[:5] <= 2e-6).all(), errors
    assert (errors <= allowed).all(), (errors / allowed).max()
    assert allowed.max() < 1e-4  # or nothing is held

    final, theirs = model.published_state_dict(), _group(recorded, "final/")
    init = _group(recorded, "init/")
    apart = sum(float((final[k] - theirs[k]).square().sum()) for k in theirs) ** 0.5
    moved = sum(float((theirs[k] - init[k]).square().sum()) for k in theirs) ** 0.5
    assert apart <= 1e-3 * moved


def _beginning(recorded: dict[str, Any]) -> JointVAE:
    config = recorded["config"]
    model = JointVAE(config["img_size"], config["latent_spec"], config["temperature"])
    model.load_state_dict(_group(recorded, "init/"))
    return model


def _noise(recorded: dict[str, Any], i: int) -> dict[str, torch.Tensor | None]:
    return {
        "normal": recorded["eps"][i] if "eps" in recorded else None,
        "uniform": recorded["unif"][i] if "unif" in recorded else None,
    }


def _trained(
    model: JointVAE, loss_of_step: Callable[[int], torch.Tensor], recorded: dict[str, Any]
) -> Iterator[float]:
    """The loss of each recorded step, before the next is taken."""
    optimizer = torch.optim.Adam(model.parameters(), lr=recorded["config"]["lr"])
    for i in range(len(recorded["x"])):
        loss = loss_of_step(i)
        optimizer.zero_grad()
        loss.backward()
        yield loss.item()
        optimizer.step()


def _spread_of_the_published_loss(recorded: dict[str, Any]) -> torch.Tensor:
    """(steps,) How far the losses have been apart so far, relative, of weights 8 ulp apart."""
    config, generator, runs = recorded["config"], torch.Generator().manual_seed(0), []
    for ulps in (0, 8, 8, 8):
        model = _beginning(recorded).train()
        with torch.no_grad():
            for p in model.parameters():
                signs = torch.randint(-1, 2, p.shape, generator=generator)
                p.mul_(1 + ulps * signs * 2.0**-23)

        def loss(i: int, model: JointVAE = model) -> torch.Tensor:
            x, step = recorded["x"][i] / 255, config["start_steps"] + 1 + i
            latent_dist = model.encode(x)
            sample = _published_sample(model, latent_dist, **_noise(recorded, i))
            capacities = config["cont_capacity"], config["disc_capacity"]
            return _published_loss(model, x, model.decode(sample), latent_dist, step, *capacities)

        runs.append(list(_trained(model, loss, recorded)))
    plain, *others = torch.tensor(runs).double()
    return ((torch.stack(others) - plain).abs() / plain).amax(dim=0).cummax(dim=0).values


def _check_first_sample(model: JointVAE, recorded: dict[str, Any]) -> None:
    with torch.no_grad():
        params = model.encode_params(recorded["x"][0])
        latent = functional.joint_latent(
            params, model.spec, model.temperature, **_noise(recorded, 0)
        )
        assert _relative(latent.sample, recorded["step0/sample"]) <= 1e-5
        assert _relative(model.decode(latent.sample), recorded["step0/recon"]) <= 1e-5


# --- checkpoints --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mnist", "chairs", "celeba"])
def test_published_models_answer_as_in_the_published_code(published_folder: Path, name: str):
    model = load_published(published_folder / name)
    expected = np.load(published_folder / name / "expected.npz")
    reconstruction, latent_dist = model(torch.from_numpy(expected["x"]))
    ours = {
        "recon": reconstruction,
        "mean": latent_dist["cont"][0],
        "logvar": latent_dist["cont"][1],
        **{f"alpha_{i}": alpha for i, alpha in enumerate(latent_dist["disc"])},
    }
    for key, tensor in ours.items():
        np.testing.assert_allclose(tensor.detach().numpy(), expected[key], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["mnist", "chairs", "celeba"])
def test_published_weights_round_trip_bitwise(published_folder: Path, name: str):
    path = published_folder / name / "model.pt"
    theirs = torch.load(path, map_location="cpu", weights_only=True)
    ours = load(path).published_state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_published_mnist_model_on_the_test_set(published_folder: Path, data_folder: Path):
    model = load_published(published_folder / "mnist")
    source = DataSource("mnist", str(data_folder), split="test")
    evaluation = evaluate(model, load_data(source))
    variable = evaluation.variables[0]
    # Of no image are the two likeliest categories within 1e-3: rounding moves none.
    assert variable.accuracy_majority == pytest.approx(0.8873, abs=5e-5)
    assert variable.accuracy_one_to_one == pytest.approx(0.8873, abs=5e-5)
    assert sum(evaluation.kl_cont) == pytest.approx(4.997, abs=5e-4)
    assert variable.kl == pytest.approx(2.274, abs=5e-4)
    assert evaluation.reconstruction == pytest.approx(147.64, abs=5e-3)


def _published_files(folder: Path, spec: dict[str, Any], size: tuple[int, int, int]) -> JointVAE:
    model = JointVAE(size, spec)
    folder.mkdir()
    torch.save(model.published_state_dict(), folder / "model.pt")
    (folder / "specs.json").write_text(json.dumps({"latent_spec": spec, "dataset": "mnist"}))
    return model


@pytest.mark.parametrize("size", [(1, 32, 32), (3, 64, 64)])
@pytest.mark.parametrize("spec", [{"cont": 4}, {"disc": [3, 2]}, {"cont": 4, "disc": [3, 2]}])
def test_load_published_reads_sizes_off_the_weights(
    tmp_path: Path, spec: dict[str, Any], size: tuple[int, int, int]
):
    source = _published_files(tmp_path / "model", spec, size)
    x = torch.rand(2, *size)
    for path in (tmp_path / "model", tmp_path / "model" / "model.pt"):
        loaded = load_published(path)
        assert (loaded.img_size, loaded.latent_spec) == (size, spec)
        assert not loaded.training
        assert torch.equal(loaded(x)[0], source.eval()(x)[0])
    assert load(str(tmp_path / "model")).img_size == size


def test_bad_published_files_are_named(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"model.pt is missing"):
        load_published(tmp_path)
    folder, x = tmp_path / "m", torch.zeros(3, 256)
    _published_files(folder, {"cont": 4}, (1, 32, 32))
    (folder / "specs.json").write_text('{"latent_spec": {"cont": 5}}')
    with pytest.raises(CheckpointError, match=r"says latent_spec {'cont': 5}"):
        load_published(folder)
    (folder / "specs.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"specs.json is not readable JSON"):
        load_published(folder)
    (folder / "specs.json").unlink()
    content = (folder / "model.pt").read_bytes()
    (folder / "model.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"model.pt is damaged"):
        load_published(folder)
    for foreign in (
        {"weight": torch.zeros(2)},
        {"img_to_features.0.weight": torch.zeros(2), "features_to_hidden.0.weight": torch.zeros(2)},
        {**JointVAE((1, 32, 32), {"disc": [3]}).published_state_dict(), "fc_alphas.2.weight": x},
    ):
        torch.save(foreign, folder / "model.pt")
        with pytest.raises(CheckpointError, match=r"model\.pt holds no published JointVAE"):
            load_published(folder)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ('{"img_size": 32}', "img_size is"),
        ('{"temperature": "a"}', "temperature must be a number"),
        ('{"latent_spec": 3}', "latent spec is a dict"),
        ("null", "JSON object, got None"),
    ],
)
def test_odd_specs_are_named(tmp_path: Path, specs: str, message: str):
    _published_files(tmp_path / "m", {"cont": 4}, (1, 32, 32))
    (tmp_path / "m" / "specs.json").write_text(specs)
    with pytest.raises(CheckpointError, match=rf"specs\.json.*{message}"):
        load_published(tmp_path / "m")


def test_a_specification_written_with_an_empty_part_is_the_same(tmp_path: Path):
    _published_files(tmp_path / "m", {"cont": 4}, (1, 32, 32))
    (tmp_path / "m" / "specs.json").write_text('{"latent_spec": {"cont": 4, "disc": []}}')
    assert load_published(tmp_path / "m").latent_spec == {"cont": 4}


# --- drop-in ------------------------------------------------------------------------------------


_CAPACITY = [0.0, 5.0, 200, 30.0]  # lo, hi, iters, gamma


def _published_loss(
    model: VAE,
    data: torch.Tensor,
    recon: torch.Tensor,
    latent_dist: dict,
    num_steps: int,
    cont: list[float] | None = _CAPACITY,
    disc: list[float] | None = _CAPACITY,
) -> torch.Tensor:
    """The published code's loss, on probabilities: paper eq. 8 with its constants."""
    eps = 1e-12
    total = model.num_pixels * F.binary_cross_entropy(
        recon.view(-1, model.num_pixels), data.view(-1, model.num_pixels)
    )
    if model.is_continuous:
        mean, logvar = latent_dist["cont"]
        kl = (-0.5 * (1 + logvar - mean.pow(2) - logvar.exp())).mean(dim=0).sum()
        lo, hi, iters, gamma = cont
        total = total + gamma * torch.abs(min((hi - lo) * num_steps / iters + lo, hi) - kl)
    if model.is_discrete:
        limit = sum(float(np.log(k)) for k in model.latent_spec["disc"])
        kls = [
            np.log(alpha.size(-1)) + (alpha * torch.log(alpha + eps)).sum(dim=1).mean()
            for alpha in latent_dist["disc"]
        ]
        lo, hi, iters, gamma = disc
        capacity = min((hi - lo) * num_steps / iters + lo, hi, limit)
        total = total + gamma * torch.abs(capacity - sum(kls))
    return total / model.num_pixels


def _published_sample(
    model: VAE, latent_dist: dict, normal: torch.Tensor | None, uniform: torch.Tensor | None
) -> torch.Tensor:
    """The published code's sample from recorded noise."""
    eps, parts, at = 1e-12, [], 0
    if model.is_continuous:
        mean, logvar = latent_dist["cont"]
        parts.append(mean + torch.exp(0.5 * logvar) * normal)
    for alpha in latent_dist.get("disc", []):
        unif = uniform[:, at : at + alpha.size(-1)]
        gumbel = -torch.log(-torch.log(unif + eps) + eps)
        parts.append(F.softmax((torch.log(alpha + eps) + gumbel) / model.temperature, dim=1))
        at += alpha.size(-1)
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("spec", [{"cont": 10, "disc": [10]}, {"cont": 4}, {"disc": [5, 3]}])
def test_drop_in_trains_through_the_published_interface(spec: dict[str, Any]):
    """Nothing here but the calls and attributes that the published Trainer and Visualizer make."""
    model = VAE(img_size=(1, 32, 32), latent_spec=spec, use_cuda=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(0, 16, (64,), generator=generator)
    data = torch.zeros(64, 1, 32, 32)
    for i, c in enumerate(corner.tolist()):
        data[i, 0, c : c + 16, c : c + 16] = 1.0
    model.train()
    losses = []
    for num_steps in range(1, 41):
        optimizer.zero_grad()
        recon_batch, latent_dist = model(data)
        loss = _published_loss(model, data, recon_batch, latent_dist, num_steps)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.75 * losses[0]

    model.eval()
    recon, _ = model(data)
    assert recon.view(-1, *model.img_size).shape == data.shape
    assert torch.equal(recon, model(data)[0])
    samples = model.decode(torch.zeros(3, model.latent_dim)).cpu()
    assert samples.shape == (3, 1, 32, 32)
    reloaded = VAE(img_size=(1, 32, 32), latent_spec=spec)
    reloaded.load_state_dict(model.state_dict())


def test_published_loss_and_ours_agree_on_one_step():
    model = VAE((3, 32, 32), {"cont": 6, "disc": [5, 3]})
    data = torch.rand(8, 3, 32, 32)
    torch.manual_seed(4)
    recon, latent_dist = model(data)
    theirs = _published_loss(model, data, recon, latent_dist, 20)
    capacity = Capacity(0.0, 5.0, 200, 30.0)
    torch.manual_seed(4)
    ours = model.loss(data, 20, JointObjective(capacity, capacity)).loss
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)
