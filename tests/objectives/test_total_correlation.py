"""What FactorVAE and beta-TCVAE have in common: training, parts of a batch, compiling, resuming."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from examples import in_ci
from multiprocess import run_processes
from relative_error import relative
from tiny_runs import tiny_config, write_arrays
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fastjvae import (
    BetaObjective,
    BetaTCObjective,
    FactorObjective,
    JointVAE,
    LatentSpec,
    LossOutput,
)
from fastjvae.data import load as load_data
from fastjvae.errors import ArgumentError, NonFiniteLossError
from fastjvae.functional import Noise, divergence_sums, joined_rows, latent_sample
from fastjvae.functional.batch_parts import part_of_batch
from fastjvae.objectives.beta_tc import decompose
from fastjvae.training.run_folder import RunFolder, read_metrics
from fastjvae.training.settings.objective import FactorConfig
from fastjvae.training.settings.train import TrainConfig
from fastjvae.training.step import LossModule
from fastjvae.training.trainer import Trainer

SPEC = {"cont": 3, "disc": [4, 2]}
NAMES = ("factor", "beta-tc")
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


def objective_of(name: str, model: JointVAE) -> Any:
    if name == "beta-tc":
        return BetaTCObjective(5.0)
    objective = FactorObjective(model.spec, 5.0, layers=2, width=16).to(model.dtype)
    with torch.no_grad():
        torch.nn.init.normal_(objective.discriminator.head.weight)
    return objective


class Problem:
    """A model, its objective and a batch of 7 images."""

    def __init__(self, name: str, dtype: torch.dtype) -> None:
        torch.manual_seed(0)
        self.model = JointVAE((1, 16, 16), SPEC).to(dtype)
        with torch.no_grad():
            self.model.encoder.head.weight.mul_(30)
        self.module = LossModule(self.model, objective_of(name, self.model))
        self.images = torch.rand(7, 1, 16, 16).to(dtype)
        self.normal, self.uniform = torch.randn(7, 3).to(dtype), torch.rand(7, 6).to(dtype)

    def inputs(self, rows: slice = slice(None)) -> tuple[Any, ...]:
        return self.images[rows], torch.tensor(5), self.normal[rows], self.uniform[rows]

    def gradients(self) -> list[Tensor]:
        found = [p.grad.clone() for p in self.parameters() if p.grad is not None]
        for parameter in self.parameters():
            parameter.grad = None
        return found

    def parameters(self) -> list[Tensor]:
        own = getattr(self.module.objective, "parameters", list)()
        return [*self.model.parameters(), *own]

    def rows(self, part: slice) -> Tensor:
        with torch.no_grad():
            params = self.model.encode_params(self.images[part])
            noise = Noise(self.normal[part], self.uniform[part])
            sample = latent_sample(params, self.model.spec, self.model.temperature, noise)
        return joined_rows(params, sample)


def reported(out: LossOutput) -> dict[str, Tensor]:
    return {"kl_cont": out.kl_cont, "category_mean": out.category_mean, **out.extra}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor], tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(
            value, theirs[name], rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


# --- parts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("sizes", [[7], [3, 4], [4, 0, 3]])
def test_parts_in_turn_add_up_to_the_batch(name: str, dtype: torch.dtype, sizes: list[int]):
    problem = Problem(name, dtype)
    whole = problem.module(*problem.inputs())
    whole.loss.backward()
    theirs = problem.gradients()
    edges = list(itertools.accumulate(sizes, initial=0))
    rows = problem.rows(slice(None))
    sums = divergence_sums(rows[:, : problem.model.spec.num_params], problem.model.spec)
    for part in (slice(*edge) for edge in itertools.pairwise(edges)):
        with part_of_batch(7, sums=sums, rows=rows, first=part.start):
            out = problem.module(*problem.inputs(part))
            out.loss.backward()
        assert_same(reported(out), reported(whole), TOLERANCE[dtype])
    assert relative(problem.gradients(), theirs) <= TOLERANCE[dtype]


@pytest.mark.parametrize("name", NAMES)
def test_parts_in_turn_need_the_others_rows(name: str):
    problem = Problem(name, torch.float64)
    rows = problem.rows(slice(None))
    sums = divergence_sums(rows[:, : problem.model.spec.num_params], problem.model.spec)
    with part_of_batch(7, sums=sums), pytest.raises(ArgumentError, match="rows=, first="):
        problem.module(*problem.inputs(slice(0, 3)))


def _compare_gradients(rank: int, world: int) -> None:
    for name, (dtype, tolerance) in itertools.product(NAMES, TOLERANCE.items()):
        problem = Problem(name, dtype)
        whole = problem.module(*problem.inputs())
        whole.loss.backward()
        theirs = problem.gradients()
        edges = [0, 1, 5, 7][: world + 1] if world == 3 else [0, 7, 7]  # one has none
        parallel = DistributedDataParallel(problem.module)
        with part_of_batch(7):
            out = parallel(*problem.inputs(slice(edges[rank], edges[rank + 1])))
        out.loss.backward()
        assert relative(problem.gradients(), theirs) <= tolerance, (name, dtype)
        ours, right = reported(out), reported(whole)
        assert_same({"loss": out.loss.detach(), **ours}, {"loss": whole.loss, **right}, tolerance)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_have_the_gradients_of_the_whole_batch(world: int):
    run_processes(_compare_gradients, world)


# --- the trainer ----------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_arrays(tmp_path)


def config_of(data: Path, name: str, **changes: Any) -> TrainConfig:
    factor = FactorConfig(gamma=10.0, layers=2, width=16, lr=1e-3)
    settings = {"factor": factor} if name == "factor" else {}
    return tiny_config(data, objective=name, **settings, **changes)


def trainer_of(config: TrainConfig, folder: Path) -> Trainer:
    return Trainer(config, load_data(config.source()), RunFolder(folder))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("parts", [2, 3, 20])
def test_accumulated_parts_train_as_one(data: Path, tmp_path: Path, name: str, parts: int):
    records = []
    for accumulate in (1, parts):
        config = config_of(data, name, batch_size=7, accumulate=accumulate)
        trainer = trainer_of(config, tmp_path / str(accumulate))
        assert trainer.train()
        records.append(read_metrics(trainer.run))
    for ours, theirs in zip(*records, strict=True):
        for key in ours.keys() - {"images_per_s"}:
            assert ours[key] == pytest.approx(theirs[key], rel=1e-4, abs=1e-4), key


@pytest.mark.parametrize("name", NAMES)
def test_the_objectives_numbers_are_recorded(data: Path, tmp_path: Path, name: str):
    trainer = trainer_of(config_of(data, name), tmp_path / "run")
    assert trainer.train()
    own = {
        "factor": {"discriminator_accuracy", "discriminator_loss", "tc"},
        "beta-tc": {"dimension_kl", "mutual_information", "tc"},
    }[name]
    assert own <= read_metrics(trainer.run)[-1].keys()


def test_a_discriminator_that_is_not_finite_is_never_saved(data: Path, tmp_path: Path):
    trainer = trainer_of(config_of(data, "factor"), tmp_path / "run")
    trainer.train_step()
    with torch.no_grad():
        trainer.objective.discriminator.hidden[1].bias[0] = float("inf")
    with pytest.raises(NonFiniteLossError, match=r"after step 1: discriminator.hidden.1.bias"):
        trainer.save()
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spec", [{"cont": 2}, {"disc": [3]}, SPEC], ids=str)
@pytest.mark.usefixtures("fresh_compiler")
def test_the_loss_is_traced_whole(name: str, spec: dict):
    model = JointVAE((1, 16, 16), spec)
    module = LossModule(model, objective_of(name, model))
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    images, step = torch.rand(6, 1, 16, 16), torch.tensor(3)
    noise = torch.randn(6, model.spec.cont), torch.rand(6, model.spec.num_categories)
    found = []
    for each in (module, compiled):
        out = each(images, step, *noise)
        found.append([*torch.autograd.grad(out.loss, list(model.parameters())), out.loss])
        found[-1] += [value for _, value in sorted(out.extra.items())]
    torch.testing.assert_close(found[1], found[0])


# --- training -------------------------------------------------------------------------------------


def half_planes(images: int = 128) -> Tensor:
    """Bright on one side of an edge that turns, (N, 1, 16, 16).

    Two units that code its angle, as places on a circle, depend on one another.
    """
    angle = torch.arange(images) * (2 * torch.pi / images)
    grid = torch.arange(16.0) - 7.5
    along = angle.cos()[:, None, None] * grid[None, None, :]
    across = angle.sin()[:, None, None] * grid[None, :, None]
    return (along + across).sigmoid()[:, None]


def trained(objective: Any, spec: LatentSpec) -> tuple[float, float]:
    """TC of the aggregate posterior of all images, and the reconstruction, after training."""
    torch.manual_seed(0)
    encoder = nn.Sequential(
        nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, spec.num_params)
    )
    decoder = nn.Sequential(
        nn.Linear(spec.sample_dim, 64), nn.ReLU(), nn.Linear(64, 256), nn.Unflatten(1, (1, 16, 16))
    )
    images = half_planes()
    model = JointVAE((1, 16, 16), spec, encoder=encoder, decoder=decoder)
    groups = getattr(objective, "parameter_groups", list)()
    adam = torch.optim.Adam([{"params": list(model.parameters())}, *groups], lr=2e-3)
    for step in range(1, 601):
        out = model.loss(images[torch.randint(len(images), (64,))], step, objective)
        adam.zero_grad()
        out.loss.backward()
        adam.step()
    with torch.no_grad():
        params = model.encode_params(images)
        draws = [latent_sample(params, spec, model.temperature) for _ in range(5)]
        tc = [decompose(params, sample, spec).tc for sample in draws]
    return float(torch.stack(tc).mean()), out.reconstruction.item()


@in_ci
@pytest.mark.parametrize("spec", [LatentSpec(2), LatentSpec(2, (3,))], ids=str)
def test_training_lowers_the_total_correlation(spec: LatentSpec):
    plain, reconstruction = trained(BetaObjective(beta=1.0), spec)
    assert plain > 0.5
    factor = FactorObjective(spec, 10.0, layers=2, width=64, lr=1e-3)
    for objective, share in ((BetaTCObjective(beta=10.0), 0.4), (factor, 0.7)):
        tc, cost = trained(objective, spec)
        assert tc < share * plain
        assert cost < reconstruction + 10  # and not by forgetting the image
