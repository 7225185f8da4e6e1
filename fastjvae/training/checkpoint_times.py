"""When a run writes its checkpoints: by the clock, or every so many steps."""

import time

from fastjvae.training.processes import Processes
from fastjvae.training.settings.run import RunConfig

EVERY_S = 30.0  # from checkpoint to checkpoint, where no number of steps is given


class CheckpointTimes:
    """Tells when a checkpoint is due between the phases of a run, at whose ends there is one."""

    def __init__(self, config: RunConfig, processes: Processes) -> None:
        self._every, self._log_every = config.checkpoint_every, config.log_every
        self._processes = processes
        self.written()

    def written(self) -> None:
        """A checkpoint has been written, or training begins."""
        self._last_s = time.perf_counter()

    def due(self, step: int) -> bool:
        """Whether one is due after ``step`` steps, the same answer on every process.

        Clocks of several processes differ, so rank 0 looks for all of them, at log lines.
        """
        if self._every is not None:
            return step % self._every == 0
        if self._processes.world > 1 and step % self._log_every:
            return False
        passed = time.perf_counter() - self._last_s >= EVERY_S
        return self._processes.any(self._processes.is_first and passed)
