"""Parity with the published code: its checkpoints, its recorded training steps, its interface."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import SHARED

from fastjvae import Capacity, JointObjective, JointVAE, load, load_published
from fastjvae import JointVAE as VAE  # noqa: N814  as the published code calls it
from fastjvae.data import DataSource
from fastjvae.data import load as load_data
from fastjvae.errors import CheckpointError
from fastjvae.evaluation import evaluate
from fastjvae.published import to_published

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


def test_parity_of_evaluation_and_training(recorded: dict[str, Any]):
    config = recorded["config"]
    model = JointVAE(config["img_size"], config["latent_spec"], config["temperature"])
    model.load_state_dict(_group(recorded, "init/"))

    expected = _group(recorded, "eval/")
    reconstruction, latent_dist = model.eval()(recorded["x"][0])
    assert _relative(reconstruction, expected["recon"]) <= 1e-5
    if model.is_continuous:
        mean, logvar = latent_dist["cont"]
        assert _relative(mean, expected["mean"]) <= 1e-5
        assert _relative(logvar, expected["logvar"]) <= 1e-5
    for i, alpha in enumerate(latent_dist.get("disc", [])):
        assert _relative(alpha, expected[f"alpha_{i}"]) <= 1e-5

    model.train()
    objective = JointObjective(
        *(Capacity(*c) if c else None for c in (config["cont_capacity"], config["disc_capacity"]))
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    for i, x in enumerate(recorded["x"]):
        noise = {
            "normal": recorded["eps"][i] if "eps" in recorded else None,
            "uniform": recorded["unif"][i] if "unif" in recorded else None,
        }
        if i == 0:
            _check_first_sample(model, x, noise, recorded)
        out = model.loss(x, config["start_steps"] + 1 + i, objective, **noise)
        optimizer.zero_grad()
        out.loss.backward()
        assert out.loss.item() == pytest.approx(float(recorded["losses"][i]), rel=2e-6)
        if i == 0:
            assert out.loss.item() == pytest.approx(float(recorded["step0/loss"]), rel=1e-5)
            grads = {name: p.grad for name, p in model.named_parameters()}
            ours = to_published(grads, model.spec)  # type: ignore[arg-type]
            for name, theirs in _group(recorded, "step0/grad/").items():
                assert _relative(ours[name], theirs) <= 1e-5, name
        optimizer.step()

    ours, theirs = model.published_state_dict(), _group(recorded, "final/")
    init = _group(recorded, "init/")
    apart = sum(float((ours[k] - theirs[k]).square().sum()) for k in theirs) ** 0.5
    moved = sum(float((theirs[k] - init[k]).square().sum()) for k in theirs) ** 0.5
    assert apart <= 1e-3 * moved


def _check_first_sample(
    model: JointVAE, x: torch.Tensor, noise: dict[str, Any], recorded: dict[str, Any]
) -> None:
    from fastjvae import functional

    with torch.no_grad():
        latent = functional.joint_latent(
            model.encode_params(x), model.spec, model.temperature, **noise
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


def _published_loss(
    model: VAE, data: torch.Tensor, recon: torch.Tensor, latent_dist: dict, num_steps: int
) -> torch.Tensor:
    """The published code's loss, on probabilities: paper eq. 8 with its constants."""
    eps = 1e-12
    total = model.num_pixels * F.binary_cross_entropy(
        recon.view(-1, model.num_pixels), data.view(-1, model.num_pixels)
    )
    if model.is_continuous:
        mean, logvar = latent_dist["cont"]
        kl = (-0.5 * (1 + logvar - mean.pow(2) - logvar.exp())).mean(dim=0).sum()
        total = total + 30 * torch.abs(min(5.0 * num_steps / 200, 5.0) - kl)
    if model.is_discrete:
        limit = sum(float(np.log(k)) for k in model.latent_spec["disc"])
        kls = [
            np.log(alpha.size(-1)) + (alpha * torch.log(alpha + eps)).sum(dim=1).mean()
            for alpha in latent_dist["disc"]
        ]
        total = total + 30 * torch.abs(min(5.0 * num_steps / 200, 5.0, limit) - sum(kls))
    return total / model.num_pixels


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
