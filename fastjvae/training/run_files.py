"""What a training loop leaves: log lines, checkpoints, frames and the model, or nothing at all."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any

from fastjvae.errors import ArgumentError, CheckpointError
from fastjvae.figures.frames import FrameRecorder
from fastjvae.model import JointVAE, checkpoint, pretrained
from fastjvae.training.processes import Processes
from fastjvae.training.run_folder import MetricsLog, RunFolder
from fastjvae.training.settings.run import RunConfig
from fastjvae.training.trained import Record


class NoFiles:
    """A training that is kept in memory alone; every method does nothing."""

    def begin(self, model: JointVAE, about: Mapping[str, Any], *, resuming: bool) -> None:
        """Make the run folder, or find the same run there.

        Args:
            model: what the run trains.
            about: the entries of config.json beside the settings.
            resuming: the run is there.

        Raises:
            RunError: the folder holds another run, or cannot be written.
        """

    @contextmanager
    def held(self, step: int) -> Iterator[None]:
        """Hold the folder and its log, which goes on after ``step``."""
        yield

    def take_over(self, first: int, steps: int) -> None:
        """Once a step has been taken: new settings, and an end without the one from before.

        Until then a run that cannot go on leaves the folder as it was, with its finished model.

        Args:
            first: the step that training goes on from.
            steps: those of the whole run.
        """

    def log(self, record: Record) -> None:
        """Write a record."""

    def frame(self, step: int, finished: bool) -> None:
        """Record the frame of a step that has one."""

    def checkpoint(self, state: Callable[[], dict[str, Any]]) -> None:
        """Write a checkpoint, whose content is asked for where it is written."""

    def model(self) -> None:
        """Write the trained model."""

    @property
    def has_model(self) -> bool:
        """Whether the trained model is there."""
        return True


class RunFiles(NoFiles):
    """The files of a run folder, which rank 0 writes while the other processes wait."""

    def __init__(self, run: RunFolder, config: RunConfig, processes: Processes) -> None:
        self._run, self._config, self._processes = run, config, processes
        self._log: MetricsLog | None = None
        self._is_ours = False  # the folder says what this run does, and not what one before it did

    def begin(self, model: JointVAE, about: Mapping[str, Any], *, resuming: bool) -> None:
        self._model, self._about = model, dict(about)
        self._frames = FrameRecorder(self._run.frames, model, self._config.animate_every)
        if not resuming:
            self._processes.first(lambda: self._run.create(self._config, self._about))

    @contextmanager
    def held(self, step: int) -> Iterator[None]:
        with ExitStack() as stack:

            def hold() -> MetricsLog:
                stack.enter_context(self._run.lock())
                log = MetricsLog(self._run, step, self._config.tensorboard)
                return stack.enter_context(closing(log))

            self._log = self._processes.first(hold)
            yield

    def take_over(self, first: int, steps: int) -> None:
        if self._is_ours:
            return
        self._is_ours = True

        def change() -> None:
            self._run.check_is_there()
            self._run.change_config(self._config)
            if first < steps:
                self._frames.begin(first)
                # The model of a run that ended here before is no longer its end.
                (self._run.path / pretrained.WEIGHTS).unlink(missing_ok=True)

        self._processes.first(change)

    def log(self, record: Record) -> None:
        if self._log is not None:
            self._log.append(record)

    def frame(self, step: int, finished: bool) -> None:
        def record() -> None:
            self._run.check_is_there()
            pixels = self._frames.record(step)
            if self._log is not None:
                self._log.show("traversals", pixels, step)

        if self._frames.is_due(step, finished):
            self._processes.first(record)

    def checkpoint(self, state: Callable[[], dict[str, Any]]) -> None:
        def write() -> None:
            self._run.check_is_there()
            checkpoint.write_checkpoint(self._run.path, state())

        self._processes.first(write)

    def model(self) -> None:
        def write() -> None:
            self._model.eval()
            whole = self._run.description(self._config, self._about)
            self._model.save_pretrained(self._run.path, extra=whole)
            self._model.train()

        self._processes.first(write)

    @property
    def has_model(self) -> bool:
        return (self._run.path / pretrained.WEIGHTS).exists()


def check_can_go_on(run: RunFolder | None, step: int, steps: int, *, resuming: bool) -> None:
    """Refuse a run that has ended without a checkpoint, or that has taken more steps already.

    Raises:
        CheckpointError, ArgumentError: says which of the two.
    """
    if resuming and not step and run is not None and (run.path / pretrained.WEIGHTS).exists():
        raise CheckpointError(
            f"{run} has the model of a run that ended and no {checkpoint.CHECKPOINT} to go"
            f" on from; train on from its weights in another folder: --start-from {run}"
        )
    if step > steps:
        raise ArgumentError(
            f"{run} has taken {step:,} steps already, so it cannot end at step {steps:,}"
        )
