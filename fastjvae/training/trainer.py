"""Training of a JointVAE: its model, objective and step, for :mod:`fastjvae.training.loop`."""

import copy
import time
from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from fastjvae.data import ImageData
from fastjvae.errors import ArgumentError
from fastjvae.model import JointVAE, load
from fastjvae.objectives.base import Objective, call_if_offered
from fastjvae.objectives.shared import HIDDEN_DIM, SharedObjective
from fastjvae.training.adam import adam
from fastjvae.training.callbacks import Callback
from fastjvae.training.collapse_watch import CollapseWatch
from fastjvae.training.labelled import labelled_images, with_chosen_labels
from fastjvae.training.loop import TrainingLoop
from fastjvae.training.processes import Processes
from fastjvae.training.recorder import loss_recorder
from fastjvae.training.refit import refit_categories, spread_categories
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.objective import build_objective
from fastjvae.training.settings.own_networks import check_encoder_fits, own_encoder
from fastjvae.training.settings.train import TrainConfig, build_model
from fastjvae.training.step import TrainingStep
from fastjvae.training.trained import Prepared, Record, Trained


class Trainer(TrainingLoop):
    """Trains a JointVAE in a run folder; goes on from the folder's checkpoint if there is one.

    :func:`fastjvae.fit` does so with settings made for the images.

    Args:
        config: the run's settings.
        data: the training images, resident on the device if they fit there and streamed otherwise,
            or a DataLoader that yields images or (images, ...), uint8 or floats 0..1, whose batches
            are taken as they come, without the data settings and ``batch_size`` of ``config``.
        run: the run folder, made if it does not exist; None writes nothing.
        objective: by default the one that ``config`` names. It may offer more than ``loss``:
            ``to(device)``; ``parameter_groups()``, groups for Adam with their own settings;
            ``encode_rows(model, x)``, the parameter rows and what else of each image it compares
            with the others'; ``state_dict()`` and ``load_state_dict()``, kept in checkpoints;
            ``named_parameters()``, which are never saved when one is not finite.
        resuming: the run that is in the folder goes on under ``config``, which may differ from the
            folder's in :data:`fastjvae.training.settings.run.RUN_SETTINGS`.
        processes: the processes that train together, see
            :func:`fastjvae.training.processes.join_processes`; every one makes a Trainer, and rank
            0 writes the folder.
        held_out: images that are not trained on, whose reconstruction error metrics.jsonl has now
            and then, as ``reconstruction_held_out``: of up to 256 of them, in evaluation mode.
        callbacks: see :class:`fastjvae.training.callbacks.Callback`.
        encoder, decoder: own networks, in the place of those that ``config`` names; they are
            trained as they are, and begin with the weights that they have.
        labelled: images whose ``known_labels`` training sees, where ``data`` are a DataLoader; of
            ``ImageData`` these are its own.

    Raises:
        BackendError: ``networks`` cannot run on the device.
        ArgumentError: the precision is not one of the device; the objective cannot be trained by
            several processes; the model to start from has other sizes or latent variables.
        RunError: the folder holds another run, or cannot be written.
        CheckpointError: the checkpoint there is damaged, foreign, of another model or other data;
            there is no model to start from where ``config`` says.
    """

    config: TrainConfig

    def __init__(
        self,
        config: TrainConfig,
        data: ImageData | DataLoader[Any],
        run: RunFolder | None,
        *,
        objective: Objective | None = None,
        resuming: bool = False,
        processes: Processes | None = None,
        held_out: ImageData | None = None,
        callbacks: Sequence[Callback] = (),
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        labelled: ImageData | None = None,
    ) -> None:
        if isinstance(data, DataLoader) and any(p.config.refits for p in config.phase_configs):
            raise ArgumentError("--refits take images that can be read twice, not a DataLoader")
        if objective is not None and config.phases:
            raise ArgumentError(
                f"an objective of your own trains a run in one piece, this one has the phases"
                f" {', '.join(phase.name for phase in config.phases)}: give"
                f" dataclasses.replace(config, phases=())"
            )
        data = with_chosen_labels(data, config, labelled)
        super().__init__(
            config,
            data,
            run,
            processes,
            held_out=held_out,
            callbacks=callbacks,
            patience=config.patience,
            labelled=labelled,
        )
        self.processes.first(lambda: _check_patience(config, held_out))
        self._own_objective = objective
        check_encoder_fits(config, own_encoder(config.encoder if encoder is None else encoder))
        model = self.on_device(build_model(config, self.batches.img_size, encoder, decoder))
        model.use_networks(config.networks)
        if config.start_from is not None and self.checkpoint is None:
            _start_from(config.start_from, model)
        self.begin(model, self._prepared, _summary, resuming=resuming)

    def _prepared(self, config: TrainConfig) -> Prepared:
        """What trains the model in a phase of these settings."""
        own = self._own_objective
        head = getattr(self.model.encoder, "head", None)
        features = head.in_features if isinstance(head, nn.Linear) else HIDDEN_DIM
        objective = build_objective(config, features) if own is None else own
        call_if_offered(objective, "to", self.device)
        self._labelled = labelled_images(self.labelled, config, self.device)
        optimizer = adam(self.model, objective, config.lr)
        recorder = loss_recorder(self.model.spec, self.rows)
        trained = Trained(self.model, objective, optimizer, recorder, self.noise)
        take = TrainingStep(
            trained,
            self.batches,
            processes=self.processes,
            say=self.progress.say,
            accumulate=config.accumulate,
            warmup=config.warmup,
            augment=config.augment,
            precision=self.precision,
            compiled=config.compile,
            graph=config.cuda_graph,
            labelled=self._labelled,
        )
        watch = None
        if isinstance(self.data, ImageData):
            watch = CollapseWatch(
                self.data.images, config.channel_reduction, config.augment, self.model
            )
        return Prepared(trained, take, watch)

    def train_step(self) -> None:
        shared = isinstance(self.objective, SharedObjective)
        if shared and self.phase.config.spread and not self.phase_step:
            assert isinstance(self.take, TrainingStep)
            spread = self.phase.config.spread
            spread_categories(self.model, self.take, spread, self.objective.head)
        refits = self.phase.config.refits
        if shared and self.phase_step in refits and self._labelled is None:
            self._refit()
        super().train_step()

    def _refit(self) -> None:
        assert isinstance(self.take, TrainingStep)
        since = time.perf_counter()
        found = refit_categories(
            self.model,
            self.optimizer,
            self.take,
            group=self.phase.config.group,
            first=self.phase_step,
            seed=self.config.seed,
            further=self.objective.head if self.phase.config.merge else None,
        )
        self.beside_steps_s += time.perf_counter() - since
        scores = ", ".join(f"{score.before:.3f} -> {score.after:.3f}" for score in found)
        self.progress.say(
            f"categories fitted anew after step {self.step:,}, shared information less imbalance:"
            f" {scores} nats"
        )


def _check_patience(config: TrainConfig, held_out: ImageData | None) -> None:
    if config.patience is not None and held_out is None:
        raise ArgumentError(
            f"--patience {config.patience} needs held-out images, and there are none: give"
            f" --held-out 0.1 for images and arrays, in Python held_out or validation"
        )


def _start_from(path: str, model: JointVAE) -> None:
    """Give a model the weights of another one."""
    own = {which: copy.deepcopy(getattr(model, which)) for which in model.own_networks}
    other = load(path, **own)
    ours, theirs = ((m.img_size, m.spec) for m in (model, other))
    if ours != theirs:
        raise ArgumentError(
            f"--start-from {path} has images of {theirs[0]} and {theirs[1]}, this run has"
            f" images of {ours[0]} and {ours[1]}"
        )
    state = other.state_dict()
    # A learned scale is the likelihood's, which may be another one here.
    state.pop("log_scale", None)
    if model.log_scale is not None:
        kept = model.log_scale if other.log_scale is None else other.log_scale
        state["log_scale"] = kept.detach()
    model.load_state_dict(state)


def _summary(record: Record) -> str:
    phase = f"{record['phase']}: " if "phase" in record else ""
    return (
        f"{phase}reconstruction {record['reconstruction']:.1f}"
        f"  KL_z {sum(record['kl_cont']):.2f}/{record['capacity_cont']:.2f}"
        f"  KL_c {sum(record['kl_disc']):.2f}/{record['capacity_disc']:.2f}"
        f"  {record['images_per_s']:,.0f} images/s"
    )
