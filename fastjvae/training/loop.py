"""The loop around a training step, with checkpoints, resume, metrics and signals.

Metrics stay on the device as tensors and are read in bulk every ``log_every`` steps.
"""

from __future__ import annotations

import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader

import fastjvae
from fastjvae.data import ImageData
from fastjvae.data.batches import Batches, LoaderBatches, batches_of
from fastjvae.data.batches.groups import Groups
from fastjvae.data.batches.order import epoch_seed
from fastjvae.data.source import check_image_data
from fastjvae.errors import ArgumentError, CheckpointError, DataError, NonFiniteLossError
from fastjvae.figures.frames import FrameRecorder
from fastjvae.functional.checks import check_unit_interval
from fastjvae.model import JointVAE, checkpoint, pretrained
from fastjvae.objectives import call_if_offered
from fastjvae.training.allocator import keep_freed_memory
from fastjvae.training.precision import set_precision, tf32
from fastjvae.training.processes import Processes
from fastjvae.training.progress import Progress
from fastjvae.training.recorder import Recorder
from fastjvae.training.run_folder import MetricsLog, RunFolder
from fastjvae.training.settings import (
    RUN_SETTINGS,
    InfoGANConfig,
    TrainConfig,
    build_model,
    config_from_dict,
)
from fastjvae.training.signals import Stopped, stop_signals

Config = TypeVar("Config", TrainConfig, InfoGANConfig)


class TrainingLoop(ABC, Generic[Config]):
    """Trains a model in a run folder; goes on from the folder's checkpoint if there is one.

    A loop makes what it trains and then calls :meth:`begin`. It has

    - ``objective``, with what is trained beside the model; it may offer ``state_dict()`` and
      ``load_state_dict()``, kept in checkpoints, and ``named_parameters()``, looked at for what is
      not finite;
    - ``optimizer``, over all parameters;
    - ``recorder``, of the numbers of each step;
    - ``device_step``, the steps taken as an int64 scalar on the device.

    Args:
        config: the run's settings.
        data: the training images, or a DataLoader, see :class:`fastjvae.training.Trainer`.
        run: the run folder, made if it does not exist.
        processes: those that train together.
    """

    objective: Any
    optimizer: torch.optim.Optimizer
    recorder: Recorder
    device_step: Tensor

    def __init__(
        self,
        config: Config,
        data: ImageData | DataLoader[Any],
        run: RunFolder,
        processes: Processes | None = None,
    ) -> None:
        self.run = run
        self.processes = processes or Processes()
        self.progress = Progress(shown=self.processes.is_first)
        self.device = resolve_device(self.processes.device or config.device)
        self.config: Config = config
        set_precision(config.precision, self.device)
        self.batches = self._batches(data)
        self.total_steps = config.total_steps(self.batches.steps_per_epoch)
        self.model: JointVAE = build_model(config, self.batches.img_size).to(self.device).train()
        # The layout that convolutions are fastest in; what is saved is contiguous.
        self.model.to(memory_format=torch.channels_last)
        self.frames = FrameRecorder(run.frames, self.model, config.animate_every)
        self.noise = torch.Generator(self.device).manual_seed(config.seed)
        self.step = 0
        self.stop_signal: int | None = None  # what ended train() early
        self.data_digest = data.digest() if isinstance(data, ImageData) else None
        self._data = self._describe(data)
        self._images_since = 0  # the last record
        self.beside_steps_s = 0.0  # since then, of work between the steps that belongs to training
        self._folder_is_ours = False  # it says what this run does, and not what one before it did

    def begin(self, resuming: bool) -> None:
        """Make the run folder or take up the run that is there.

        Raises:
            ArgumentError: the run has taken more steps already.
            RunError: the folder holds another run, or cannot be written.
            CheckpointError: the checkpoint is damaged, foreign, of another model or other data.
        """
        if not resuming:
            self.processes.first(lambda: self.run.create(self.config, self._about()))
        if path := checkpoint.find_checkpoint(self.run.path):
            with checkpoint.taking_up(path):
                self._restore(path)
        elif resuming and (self.run.path / pretrained.WEIGHTS).exists():
            raise CheckpointError(
                f"{self.run} has the model of a run that ended and no {checkpoint.CHECKPOINT} to go"
                f" on from; train on from its weights in another folder: --start-from {self.run}"
            )
        if self.step > self.total_steps:
            raise ArgumentError(
                f"{self.run} has taken {self.step:,} steps already, so it cannot end at step"
                f" {self.total_steps:,}"
            )

    @abstractmethod
    def take(self, number: int) -> None:
        """Take step ``number``, counted from 0, and write a row of the recorder."""

    def groups(self, images: Tensor) -> Groups | None:
        """How batches of the training images are made of groups, if they are."""
        return None

    @abstractmethod
    def summary(self, record: dict[str, Any]) -> str:
        """What the progress bar says of a record."""

    def warning(self, record: dict[str, Any]) -> str | None:
        """A sentence about a record that its reader should not miss, where there is one."""
        return None

    def train(self) -> bool:
        """Train to the end, or until SIGINT or SIGTERM; True if the end was reached.

        Several processes end at the next logging step after one of them has got a signal.

        Raises:
            NonFiniteLossError: a loss or parameter is not finite; nothing of it is saved.
            DataError: a reconstruction below 0: the images are not between 0 and 1.
            RunError: another process of the run has ended or does not answer.
        """
        if self.config.keep_freed_memory and self.device.type == "cpu":
            keep_freed_memory()
        with (
            self.batches,
            self.processes.answering(),
            self._folder() as log,
            stop_signals() as stopped,
            self.progress.training(self.step, self.total_steps),
        ):
            first = self.step
            if not self.finished:
                self._record_frame()
            since = time.perf_counter()
            while not self.finished and not self._stops(stopped):
                self.train_step()
                self.progress.advance()
                self._take_over_folder(first)
                if self.step % self.config.log_every == 0 or self.finished:
                    record = self._read_metrics(since)
                    since = time.perf_counter()
                    if log is not None:
                        log.append(record)
                    self.progress.record(self.summary(record))
                self._record_frame()
                if self.step % self.config.checkpoint_every == 0 or self.finished:
                    self.save()
            self._take_over_folder(first)
            if not self.finished or not (self.run.path / pretrained.WEIGHTS).exists():
                self.save()
        self.stop_signal = stopped.signal
        return self.finished

    def train_step(self) -> None:
        """Take one step."""
        self.take(self.step)
        self._images_since += self.batches.whole(self.step)
        self.step += 1

    def save(self) -> None:
        """Write a checkpoint, and at the end of the run the model.

        Raises:
            NonFiniteLossError: a loss or parameter is not finite; the last checkpoint stays.
        """
        self._check_rows(self.recorder.read())
        self.processes.first(self._write)

    def _write(self) -> None:
        self.run.check_is_there()
        checkpoint.write_checkpoint(self.run.path, self._state())
        if self.finished:
            self.model.eval()
            pretrained.save_pretrained(
                self.model,
                self.run.path,
                extra=self.run.description(self.config, self._about()),
            )
            self.model.train()

    @property
    def rows(self) -> int:
        """Most rows of the recorder between two log lines."""
        return min(self.config.log_every, self.total_steps)

    @property
    def finished(self) -> bool:
        """Whether every step has been taken."""
        return self.step >= self.total_steps

    # --- data -------------------------------------------------------------------------------------

    def _batches(self, data: ImageData | DataLoader[Any]) -> Batches:
        config, processes = self.config, self.processes
        if isinstance(data, DataLoader):
            batches = LoaderBatches(data, self.device, config.seed, processes.world)
            check_unit_interval(batches.select(0))  # before the first step, which does not look
            return batches
        check_image_data(data)
        return batches_of(
            data.images,
            batch_size=config.batch_size,
            seed=config.seed,
            device=self.device,
            rank=processes.rank,
            world=processes.world,
            groups=self.groups(data.images),
            mapped=data.mapped,
        )

    def _describe(self, data: ImageData | DataLoader[Any]) -> dict[str, Any]:
        """What config.json says of the images: above all whether its settings can load them."""
        source = data.source if isinstance(data, ImageData) else None
        return {
            "name": data.name if isinstance(data, ImageData) else type(data.dataset).__name__,
            "images": self.batches.images,
            "given_in_python": source is None or not source.is_of(self.config.source()),
        }

    # --- metrics ----------------------------------------------------------------------------------

    def _read_metrics(self, since_s: float) -> dict[str, Any]:
        """Means over the steps since the last record; waits for the device."""
        rows = self.recorder.read()
        self._check_rows(rows)
        beside_s, self.beside_steps_s = self.beside_steps_s, 0.0
        speed = self._images_since / (time.perf_counter() - since_s - beside_s)
        self._images_since = 0
        self.recorder.clear()
        record = {
            "step": self.step,
            "epoch": self.step / self.batches.steps_per_epoch,
            **self.recorder.record(rows),
            "images_per_s": speed,
        }
        if beside_s:
            record["beside_steps_s"] = beside_s
        if warning := self.warning(record):
            self.say(warning)
        return record

    def say(self, sentence: str) -> None:
        """Write a sentence above the progress bar, once for all processes."""
        self.progress.say(sentence)

    def _record_frame(self) -> None:
        def record() -> None:
            self.run.check_is_there()
            self.frames.record(self.step)

        if self.frames.is_due(self.step, self.finished):
            self.processes.first(record)

    def _check_rows(self, rows: Tensor) -> None:
        """End a run whose numbers say that something is wrong, before any of it is saved."""
        self._check_finite(rows)
        names = self.recorder.names
        if len(rows) and "reconstruction" in names:
            reconstruction = rows[:, names.index("reconstruction")]
            if len(below := (reconstruction < 0).nonzero()):
                step = self.step - len(rows) + 1 + int(below[0])
                raise DataError(
                    f"the reconstruction at step {step} is {float(reconstruction[below[0]]):.4g}"
                    f" nats, which no image between 0 and 1 can have: divide 0..255 by 255 or give"
                    f" uint8 images, and do not normalise"
                )

    def _check_finite(self, rows: Tensor) -> None:
        bad_rows = (~rows.isfinite()).any(dim=1).nonzero()
        if len(bad_rows):
            row = int(bad_rows[0])
            step = self.step - len(rows) + 1 + row
            names = [
                name
                for name, ok in zip(self.recorder.names, rows[row].isfinite(), strict=True)
                if not ok
            ]
            self._fail(f"the loss is not finite at step {step}: {_first_of(names)}")
        own: Any = call_if_offered(self.objective, "named_parameters") or ()
        bad_parameters = [
            name
            for name, p in (*self.model.named_parameters(), *own)
            if not bool(p.isfinite().all())
        ]
        if bad_parameters:
            self._fail(
                f"parameters are not finite after step {self.step}: {_first_of(bad_parameters)}"
            )

    def _fail(self, reason: str) -> None:
        last = checkpoint.find_checkpoint(self.run.path)
        hint = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
        raise NonFiniteLossError(f"{reason}; {hint}")

    def _stops(self, stopped: Stopped) -> bool:
        """Whether a signal ends training here; several processes ask one another rarely."""
        if self.processes.world == 1:
            return bool(stopped)
        if self.step % self.config.log_every:
            return False
        return self.processes.any(bool(stopped))

    @contextmanager
    def _folder(self) -> Iterator[MetricsLog | None]:
        """Hold the run folder and its log, on rank 0."""
        with ExitStack() as stack:
            yield self.processes.first(lambda: self._open_folder(stack))

    def _open_folder(self, stack: ExitStack) -> MetricsLog:
        stack.enter_context(self.run.lock())
        return stack.enter_context(
            closing(MetricsLog(self.run, self.step, self.config.tensorboard))
        )

    def _take_over_folder(self, first: int) -> None:
        """Once a step has been taken: new settings, and an end without the one from before.

        Until then a run that cannot go on leaves the folder as it was, with its finished model.
        """
        if self._folder_is_ours:
            return
        self._folder_is_ours = True

        def change() -> None:
            self.run.check_is_there()
            self.run.change_config(self.config)
            if first < self.total_steps:
                self.frames.begin(first)
                # The model of a run that ended here before is no longer its end.
                (self.run.path / pretrained.WEIGHTS).unlink(missing_ok=True)

        self.processes.first(change)

    # --- state ------------------------------------------------------------------------------------

    def _about(self) -> dict[str, Any]:
        return {
            "format": pretrained.MODEL_FORMAT,
            "model": pretrained.model_config(self.model),
            "data": self._data,
            "versions": {
                "fastjvae": fastjvae.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "numerics": {
                "precision": self.config.precision,
                **{f"{where}_tf32": allowed for where, allowed in tf32()._asdict().items()},
            },
        }

    def _state(self) -> dict[str, Any]:
        state = {
            "config": self.config.to_dict(),
            "model_config": pretrained.model_config(self.model),
            "data": {"images": self.batches.images, "sha256": self.data_digest},
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": {
                "noise": self.noise.get_state(),
                "cpu": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
            },
            "metrics": self.recorder.read(),
        }
        if (own := call_if_offered(self.objective, "state_dict")) is not None:
            state["objective"] = own
        return state

    def _restore(self, path: Path) -> None:
        state = checkpoint.read_checkpoint(path)
        if state["model_config"] != pretrained.model_config(self.model):
            raise CheckpointError(
                f"{path} is of another model: {state['model_config']},"
                f" this run has {pretrained.model_config(self.model)}"
            )
        before = config_from_dict(state["config"])
        if name := self.config.differing(before, RUN_SETTINGS):
            raise CheckpointError(
                f"{path} is of another run: {name} is {before.to_dict().get(name)!r} there,"
                f" {self.config.to_dict().get(name)!r} in {self.run.config_file}"
            )
        if state["data"]["sha256"] != self.data_digest:
            raise CheckpointError(
                f"{path} was trained on other images ({state['data']['images']:,} of them then,"
                f" {self.batches.images:,} of other content now); resume with the data that the run"
                f" began with"
            )
        self.model.load_state_dict(state["model"])
        checkpoint.restore_optimizer(self.optimizer, state["optimizer"])
        if "objective" in state:
            call_if_offered(self.objective, "load_state_dict", state["objective"])
        self.step = state["step"]
        self.device_step.fill_(self.step)
        self._restore_generators(state["rng"])
        self.recorder.restore(state["metrics"], self.device)

    def _restore_generators(self, rng: dict[str, Any]) -> None:
        """Go on with the same random numbers, or with others after a change of device."""
        torch.set_rng_state(rng["cpu"])
        was_cuda, is_cuda = bool(rng["cuda"]), self.device.type == "cuda"
        if was_cuda == is_cuda:
            self.noise.set_state(rng["noise"])
        else:  # the states of a CPU's and of a GPU's generator have nothing in common
            self.noise.manual_seed(epoch_seed(self.config.seed, self.step))
        if is_cuda and was_cuda:
            # One state for each GPU that there was, of which there may be fewer now.
            for index, state in enumerate(rng["cuda"][: torch.cuda.device_count()]):
                torch.cuda.set_rng_state(state, index)
        elif is_cuda:
            torch.cuda.manual_seed_all(epoch_seed(self.config.seed, self.step))


def resolve_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ... into a device that is there.

    Raises:
        ArgumentError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.Generator(device)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ArgumentError(f"--device {name} cannot be used here: {reason}") from error
    return device


def _first_of(names: Sequence[str], most: int = 3) -> str:
    """A few names, and how many there are beside them.

    >>> _first_of(["loss", "kl_cont[0]", "kl_cont[1]", "kl_cont[2]", "kl_cont[3]"])
    'loss, kl_cont[0], kl_cont[1] and 2 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
