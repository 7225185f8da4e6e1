"""The loop around a training step: log lines, checkpoints, frames, signals, the end of the run.

The numbers of each step stay on the device and are read in bulk every ``log_every`` steps.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader

from fastjvae.data import ImageData
from fastjvae.data.batches import Batches
from fastjvae.model import JointVAE, checkpoint
from fastjvae.model.device import resolve_device
from fastjvae.training.about import about, described
from fastjvae.training.allocator import keep_freed_memory
from fastjvae.training.callbacks import Callback, Callbacks
from fastjvae.training.checkpoint_times import CheckpointTimes
from fastjvae.training.device import set_precision
from fastjvae.training.held_out import HeldOutWatch
from fastjvae.training.images import training_batches
from fastjvae.training.labelled import labels_digest
from fastjvae.training.layout import in_training_layout
from fastjvae.training.loss_checks import read_checked
from fastjvae.training.patience import Patience
from fastjvae.training.processes import Processes
from fastjvae.training.progress import Progress, images_left
from fastjvae.training.recorder import Recorder
from fastjvae.training.resume import restore, training_state
from fastjvae.training.run_files import NoFiles, RunFiles, check_can_go_on
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.run import RunConfig
from fastjvae.training.signals import Stopped, stop_signals
from fastjvae.training.trained import Prepared, Record


class TrainingLoop:
    """Trains a model, in a run folder or in memory alone; goes on from the folder's checkpoint.

    The constructor prepares device and batches. A trainer makes a model for them, and hands it to
    :meth:`begin` with a function that prepares a phase of the run.

    Args:
        config: the run's settings.
        data: the training images, or a DataLoader, see :class:`fastjvae.training.Trainer`.
        run: the run folder, made if it does not exist; None writes nothing.
        processes: the processes that train together.
        held_out: images beside the training images, whose reconstruction error some records have.
        callbacks: told of records and checkpoints, and asked whether to stop.
        patience: evaluations of the held-out images without a better one that end the last phase,
            with the weights of the best; None for training to the end.
        labelled: has the ``known_labels`` that training sees, where ``data`` are a DataLoader.

    Attributes:
        history: the records of :meth:`train`, as ``metrics.jsonl`` has them.

    Raises:
        CheckpointError: the checkpoint there is damaged or foreign.
    """

    def __init__(
        self,
        config: RunConfig,
        data: ImageData | DataLoader[Any],
        run: RunFolder | None,
        processes: Processes | None = None,
        *,
        held_out: ImageData | None = None,
        callbacks: Sequence[Callback] = (),
        patience: int | None = None,
        labelled: ImageData | None = None,
    ) -> None:
        self.config, self.data, self.run = config, data, run
        self.labelled = labelled or data  # of which training may see some labels
        self.processes = processes or Processes()
        self.progress = Progress(shown=self.processes.is_first)
        self.device = resolve_device(self.processes.device or config.device)
        self.precision = set_precision(config.precision, self.device, self.progress.say)
        self.noise = torch.Generator(self.device).manual_seed(config.seed)
        self.callbacks = Callbacks(callbacks if self.processes.is_first else ())
        self.history: list[Record] = []
        self.files = NoFiles() if run is None else RunFiles(run, config, self.processes)
        self.checkpoint = None if run is None else checkpoint.find_checkpoint(run.path)
        self._state = checkpoint.read_checkpoint(self.checkpoint) if self.checkpoint else None
        self.step = self._state["step"] if self._state else 0
        self.phase, *self._later = config.phases_from(self.step)
        self.batches = self._phase_batches()
        self.total_steps = config.total_steps(self.batches.steps_per_epoch)
        self.rows = min(config.log_every, self.total_steps)  # most of them between two log lines
        self.stop_signal: int | None = None  # the signal that ended train() early
        self.beside_steps_s = 0.0  # since the last record, of work between steps for the training
        epoch = None if patience is None else -(-self.batches.images // config.batch_size)
        self._held_out = held_out and HeldOutWatch(held_out.images, config, self.total_steps, epoch)
        self._patience = Patience(patience)
        self._digest = {
            "images": self.batches.images,
            "sha256": data.digest() if isinstance(data, ImageData) else None,
            **labels_digest(self.labelled),
        }
        self._described = described(data, config, self._digest, held_out, self.labelled)
        self._images_since = 0  # the last record
        self._checkpoints = CheckpointTimes(config, self.processes)
        self._called_off = False  # by a callback
        self._checked: int | None = None  # the step up to which everything can be right

    def on_device(self, model: JointVAE) -> JointVAE:
        """Make a model ready to be trained on the run's device."""
        return in_training_layout(model.to(self.device).train(), self.progress.say)

    def begin(
        self,
        model: JointVAE,
        prepare: Callable[[Any], Prepared],
        summary: Callable[[Record], str],
        *,
        resuming: bool = False,
    ) -> None:
        """Make the run folder or take up the run that is there.

        Args:
            model: what the run trains.
            prepare: prepares a phase of these settings, with a fresh optimizer.
            summary: turns a record into the words of the progress bar.
            resuming: see :class:`fastjvae.training.Trainer`.

        Raises:
            ArgumentError: the run has taken more steps already.
            RunError: the folder holds another run, or cannot be written.
            CheckpointError: the checkpoint is of another model or other data.
        """
        self.model, self.prepare, self.summary = model, prepare, summary
        self._begin_phase()
        described = about(self.config, model, self._described, self.precision)
        self.files.begin(model, described, resuming=resuming)
        if self.checkpoint is not None and self._state is not None:
            with checkpoint.taking_up(self.checkpoint):
                restore(
                    self.trained,
                    self._state,
                    self.checkpoint,
                    self.config,
                    self._digest,
                    phase_step=self.phase_step,
                )
                self._patience.take_up(self._state)
            self._state = None
        check_can_go_on(self.run, self.step, self.total_steps, resuming=resuming)

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
            self._batches(),
            self.processes.answering(),
            self.files.held(self.step),
            stop_signals() as stopped,
            self.progress.training(self.step, self.total_steps),
        ):
            first = self.step
            if not self.finished:
                self.files.frame(self.step, self.finished)
            self._checkpoints.written()
            since_s = time.perf_counter()
            while not self.finished and not self._stops(stopped):
                self.train_step()
                self.progress.advance()
                self.files.take_over(first, self.total_steps)
                if self.step % self.config.log_every == 0 or self.step == self.phase_ends:
                    self._log(self._read_record(since_s))
                    since_s = time.perf_counter()
                self.files.frame(self.step, self.finished)
                ends = self.finished or self.step == self.phase_ends
                if self._checkpoints.due(self.step) or ends:
                    self.save()
                if self.step == self.phase_ends and self._later:
                    self._next_phase()
            self.files.take_over(first, self.total_steps)
            if not self.finished or not self.files.has_model:
                self.save()
        if self.finished:
            self._patience.give_best(self.model)
        self.stop_signal = stopped.signal
        return self.finished

    def train_step(self) -> None:
        """Take one step."""
        self.take(self.phase_step)
        self._images_since += self.batches.whole(self.phase_step)
        self.step += 1

    @property
    def objective(self) -> Any:
        """That of the phase."""
        return self.trained.objective

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """That of the phase, over all parameters."""
        return self.trained.optimizer

    @property
    def recorder(self) -> Recorder:
        """Of the phase's steps."""
        return self.trained.recorder

    @property
    def device_step(self) -> torch.Tensor:
        """:attr:`phase_step` on the device, (), int64."""
        return self.trained.step

    @property
    def phase_step(self) -> int:
        """Steps of the phase that have been taken."""
        return self.step - self.phase.first

    @property
    def phase_ends(self) -> int:
        """The run's step at which the phase ends."""
        return self._later[0].first if self._later else self.total_steps

    @property
    def finished(self) -> bool:
        """Whether every step has been taken that was to be."""
        return self.step >= self.total_steps or self._patience.is_over

    def save(self) -> None:
        """Write a checkpoint, and at the end of the run the model.

        Raises:
            NonFiniteLossError: a loss or parameter is not finite; the last checkpoint stays.
        """
        if self._checked != self.step:
            self._read_rows()
        self.files.checkpoint(
            lambda: {
                **training_state(self.trained, self.config, self._digest, self.step),
                **self._patience.state(),
            }
        )
        if self.finished:
            self._patience.give_best(self.model)
            self.files.model()
        self._checkpoints.written()
        if self.run is not None:
            self.callbacks.on_checkpoint(self.run.path)

    # --- phases -----------------------------------------------------------------------------------

    def _phase_batches(self) -> Batches:
        return training_batches(self.data, self.phase.config, self.device, self.processes)

    def _begin_phase(self) -> None:
        self.trained, self.take, self.warning = self.prepare(self.phase.config)

    def _next_phase(self) -> None:
        """Go on with the next phase: the weights stay, all else that trains them is made anew."""
        self.phase = self._later.pop(0)
        self.batches.close()
        # What exchanges gradients and what replays a graph hold on to the parameters until they go.
        del self.trained, self.take, self.warning, self.batches
        gc.collect()
        self.batches = self._phase_batches()
        self._begin_phase()

    @contextmanager
    def _batches(self) -> Iterator[None]:
        """Close the batches of the last phase that was begun."""
        try:
            yield
        finally:
            self.batches.close()

    # --- between the steps ------------------------------------------------------------------------

    def _read_record(self, since_s: float) -> Record:
        """Means over the steps since the last record; waits for the device."""
        rows = self._read_rows()
        beside_s, self.beside_steps_s = self.beside_steps_s, 0.0
        speed = self._images_since / (time.perf_counter() - since_s - beside_s)
        self._images_since = 0
        self.recorder.clear()
        record = {
            "step": self.step,
            **({"phase": self.phase.name} if self.phase.name else {}),
            "epoch": self.phase_step / self.batches.steps_per_epoch,
            **self.recorder.record(rows),
            "images_per_s": speed,
            **({"beside_steps_s": beside_s} if beside_s else {}),
        }
        if self._held_out and self._held_out.is_due(self.step):
            record["reconstruction_held_out"] = self._held_out.error(self.model)
        if self.warning and (sentence := self.warning(record)):
            self.progress.say(sentence)
        return record

    def _log(self, record: Record) -> None:
        """Keep a record, show it, and tell the callbacks of it."""
        self.history.append(record)
        self.files.log(record)
        left = images_left([self.phase, *self._later], self.step, self.total_steps)
        self.progress.record(self.summary(record), left / record["images_per_s"])
        self.callbacks.on_log(record)
        self._called_off = self.callbacks.should_stop(record)
        if self._patience.most is not None and not self._later:
            self._count_evaluation(record.get("reconstruction_held_out"))

    def _count_evaluation(self, error: float | None) -> None:
        """Note an evaluation, of which several processes hear from rank 0."""
        patience = self._patience
        if not self.processes.any(error is not None):
            return
        better = self.processes.any(error is not None and patience.is_better(error))
        patience.count(self.model, self.step, error or 0.0, better=better)
        if patience.is_over:
            self.progress.say(
                f"training ends after step {self.step:,}: the held-out images have not been"
                f" reconstructed better in {patience.most} evaluations; the model is that of step"
                f" {patience.step:,}"
            )

    def _read_rows(self) -> torch.Tensor:
        """The recorder's rows; ends a run whose numbers cannot be right."""
        rows = read_checked(self.recorder, self.model, self.objective, self.step, self.run)
        self._checked = self.step
        return rows

    def _stops(self, stopped: Stopped) -> bool:
        """Whether training ends here, by a signal or a callback; several processes ask rarely."""
        asks = self.processes.world == 1 or self.step % self.config.log_every == 0
        return asks and self.processes.any(bool(stopped) or self._called_off)
