"""Training of a JointVAE: what is made for it, and its step in :mod:`fastjvae.training.loop`.

What one step computes is in :mod:`fastjvae.training.step`. Nothing there waits for the device.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fastjvae.data import ImageData
from fastjvae.data.batches.groups import Groups, nearest_neighbours
from fastjvae.errors import ArgumentError
from fastjvae.metrics.collapse import CollapseWatch
from fastjvae.model import JointVAE, load
from fastjvae.model.checkpoint import find_checkpoint
from fastjvae.objectives import Objective, SharedObjective, call_if_offered
from fastjvae.training.loop import TrainingLoop, resolve_device
from fastjvae.training.processes import Processes
from fastjvae.training.recorder import LossRecorder
from fastjvae.training.refit import refit_categories
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings import TrainConfig, build_objective
from fastjvae.training.signals import stop_signals
from fastjvae.training.step import TrainingStep

__all__ = ["Trainer", "resolve_device", "stop_signals"]


class Trainer(TrainingLoop[TrainConfig]):
    """Trains a JointVAE in a run folder; goes on from the folder's checkpoint if there is one.

    Args:
        config: the run's settings.
        data: the training images, resident on the device if they fit there and streamed otherwise,
            or a DataLoader that yields images or (images, ...), uint8 or floats 0..1, whose batches
            are taken as they come, without the data settings and ``batch_size`` of ``config``.
        run: the run folder, made if it does not exist.
        objective: by default the one that ``config`` names. It may offer more than ``loss``:
            ``to(device)``; ``parameter_groups()``, groups for Adam with their own settings;
            ``after_step()``; ``encode_rows(model, x)``, the parameter rows and what else of each
            image it compares with the others'; ``state_dict()`` and ``load_state_dict()``, kept in
            checkpoints; ``named_parameters()``, which are never saved when one is not finite.
        resuming: the run that is in the folder goes on under ``config``, which may differ from the
            folder's in :data:`fastjvae.training.settings.RUN_SETTINGS`.
        processes: those that train together, see :func:`.processes.join_processes`;
            every one makes a Trainer, and rank 0 writes the folder.

    Raises:
        ArgumentError: the precision is not one of the device; the objective cannot be trained by
            several processes; the model to start from has other sizes or latent variables.
        RunError: the folder holds another run, or cannot be written.
        CheckpointError: the checkpoint there is damaged, foreign, of another model or other data;
            there is no model to start from where ``config`` says.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: ImageData | DataLoader[Any],
        run: RunFolder,
        *,
        objective: Objective | None = None,
        resuming: bool = False,
        processes: Processes | None = None,
    ) -> None:
        if config.refits and isinstance(data, DataLoader):
            raise ArgumentError("--refits take images, which can be asked for twice, no DataLoader")
        super().__init__(config, data, run, processes)
        if config.start_from is not None and find_checkpoint(run.path) is None:
            self._start_from(config.start_from)
        self.objective = build_objective(config) if objective is None else objective
        call_if_offered(self.objective, "to", self.device)
        self.optimizer = adam(self.model, self.objective, config.lr)
        self.recorder = LossRecorder(self.model.spec, self.model.num_pixels, self.rows)
        self._take = TrainingStep(
            self.model,
            self.objective,
            self.optimizer,
            self.batches,
            self.recorder,
            self.noise,
            processes=self.processes,
            accumulate=config.accumulate,
            warmup=config.warmup,
            augment=config.augment,
            precision=config.precision,
            compiled=config.compile,
            graph=config.cuda_graph,
        )
        self.device_step = self._take.step
        self._collapse: CollapseWatch | None = None
        if isinstance(data, ImageData):
            self._collapse = CollapseWatch(data.images, config.channel_reduction, config.augment)
        self.begin(resuming)

    def _start_from(self, path: str) -> None:
        model = load(path)
        ours, theirs = ((m.img_size, m.spec) for m in (self.model, model))
        if ours != theirs:
            raise ArgumentError(
                f"--start-from {path} has images of {theirs[0]} and {theirs[1]}, this run has"
                f" images of {ours[0]} and {ours[1]}"
            )
        self.model.load_state_dict(model.state_dict())

    def take(self, number: int) -> None:
        self._take(number)

    def train_step(self) -> None:
        if self.step in self.config.refits and isinstance(self.objective, SharedObjective):
            self._refit()
        super().train_step()

    def _refit(self) -> None:
        since = time.perf_counter()
        found = refit_categories(
            self.model,
            self.optimizer,
            self._take,
            group=self.config.group,
            first=self.step,
            seed=self.config.seed,
        )
        self.beside_steps_s += time.perf_counter() - since
        scores = ", ".join(f"{score.before:.3f} -> {score.after:.3f}" for score in found)
        self.say(
            f"categories fitted anew after step {self.step:,}, shared information less imbalance:"
            f" {scores} nats"
        )

    def groups(self, images: Tensor) -> Groups | None:
        if self.config.group == 1:
            return None
        neighbours = nearest_neighbours(images, self.config.neighbours, self.device)
        return Groups(self.config.group, neighbours)

    def warning(self, record: dict[str, Any]) -> str | None:
        return self._collapse(record) if self._collapse else None

    def summary(self, record: dict[str, Any]) -> str:
        return (
            f"reconstruction {record['reconstruction']:.1f}"
            f"  KL_z {sum(record['kl_cont']):.2f}/{record['capacity_cont']:.2f}"
            f"  KL_c {sum(record['kl_disc']):.2f}/{record['capacity_disc']:.2f}"
            f"  {record['images_per_s']:,.0f} images/s"
        )


def adam(model: JointVAE, objective: Objective, lr: float) -> torch.optim.Adam:
    """Adam over a model and what its objective trains beside it, as fast as their device allows."""
    device = model.device.type
    own = call_if_offered(objective, "parameter_groups") or ()
    return torch.optim.Adam(
        [{"params": list(model.parameters())}, *own],
        lr=lr,
        fused=device in ("cpu", "cuda"),
        capturable=device == "cuda",
    )
