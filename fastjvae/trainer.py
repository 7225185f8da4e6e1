"""The training loop, with checkpoints, resume and metrics.

What one step computes is in :mod:`fastjvae.step`. Nothing there waits for the device: metrics stay
on it as tensors and are read in bulk every ``log_every`` steps.
"""

from __future__ import annotations

import platform
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

import fastjvae
from fastjvae import checkpoint, pretrained
from fastjvae.allocator import keep_freed_memory
from fastjvae.data import ImageData
from fastjvae.data.batches import Batches, LoaderBatches, batches_of
from fastjvae.errors import ArgumentError, CheckpointError, NonFiniteLossError
from fastjvae.objectives import Objective, call_if_offered
from fastjvae.processes import Processes
from fastjvae.recipes import RUN_SETTINGS, TrainConfig, build_model, build_objective
from fastjvae.recorder import LossRecorder
from fastjvae.run import MetricsLog, RunFolder
from fastjvae.step import TrainingStep


class Trainer:
    """Trains a JointVAE in a run folder; goes on from the folder's checkpoint if there is one.

    Args:
        config: the run's settings.
        data: the training images, resident on the device if they fit there and streamed otherwise,
            or a DataLoader that yields images or (images, ...), uint8 or floats 0..1, whose batches
            are taken as they come, without the data settings and ``batch_size`` of ``config``.
        run: the run folder, made if it does not exist.
        objective: by default the one that ``config`` names. It may offer more than ``loss``:
            ``to(device)``; ``parameter_groups()``, groups for Adam with their own settings;
            ``after_step()``; ``state_dict()`` and ``load_state_dict()``, kept in checkpoints.
        resuming: the run that is in the folder goes on under ``config``, which may differ from the
            folder's in :data:`fastjvae.recipes.RUN_SETTINGS`.
        processes: those that train together, see :func:`fastjvae.processes.join_processes`; every
            one makes a Trainer, and rank 0 writes the folder.

    Raises:
        ArgumentError: the precision is not one of the device; the objective cannot be trained by
            several processes.
        RunError: the folder holds another run, or cannot be written.
        CheckpointError: the checkpoint there is damaged, foreign, of another model or other data.
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
        self.config = config
        self.run = run
        self.processes = processes or Processes()
        self.device = resolve_device(self.processes.device or config.device)
        set_precision(config, self.device)
        self.batches = self._batches(data)
        self.total_steps = config.total_steps(self.batches.steps_per_epoch)
        self.model = build_model(config, self.batches.img_size).to(self.device).train()
        self.objective: Any = build_objective(config) if objective is None else objective
        call_if_offered(self.objective, "to", self.device)
        self.optimizer = torch.optim.Adam(
            [
                {"params": list(self.model.parameters())},
                *(call_if_offered(self.objective, "parameter_groups") or ()),
            ],
            lr=config.lr,
            fused=self.device.type in ("cpu", "cuda"),
            capturable=self.device.type == "cuda",
        )
        self.noise = torch.Generator(self.device).manual_seed(config.seed)
        self.step = 0
        self.stop_signal: int | None = None  # what ended train() early
        self.recorder = LossRecorder(self.model.spec, self.model.num_pixels, config.log_every)
        self.data_digest = data.digest() if isinstance(data, ImageData) else None
        self._images_since = 0  # the last record
        self._take = TrainingStep(
            self.model,
            self.objective,
            self.optimizer,
            self.batches,
            self.recorder,
            self.noise,
            processes=self.processes,
            accumulate=config.accumulate,
            precision=config.precision,
            compiled=config.compile,
            graph=config.cuda_graph,
        )

        if not resuming:
            self.processes.first(lambda: run.create(config, self._about()))
        if path := checkpoint.find_checkpoint(run.path):
            self._restore(path)
        if self.step > self.total_steps:
            raise ArgumentError(
                f"{run} has taken {self.step:,} steps already, so it cannot end at step"
                f" {self.total_steps:,}"
            )

    def train(self) -> bool:
        """Train to the end, or until SIGINT or SIGTERM; True if the end was reached.

        Several processes end at the next logging step after one of them has got a signal.

        Raises:
            NonFiniteLossError: a loss or parameter is not finite; nothing of it is saved.
            RunError: another process of the run has ended or does not answer.
        """
        if self.config.keep_freed_memory and self.device.type == "cpu":
            keep_freed_memory()
        with (
            self.batches,
            self.processes.answering(),
            self._folder() as log,
            stop_signals() as stopped,
            self._bar() as bar,
        ):
            since = time.perf_counter()
            while not self.finished and not self._stops(stopped):
                self.train_step()
                bar.update()
                if self.step % self.config.log_every == 0 or self.finished:
                    record = self._read_metrics(since)
                    since = time.perf_counter()
                    if log is not None:
                        log.append(record)
                    bar.set_postfix_str(_summary(record))
                if self.step % self.config.checkpoint_every == 0 or self.finished:
                    self.save()
            if not self.finished or not (self.run.path / pretrained.WEIGHTS).exists():
                self.save()
        self.stop_signal = stopped.signal
        return self.finished

    def train_step(self) -> None:
        """Take one step: next batch, loss, gradients, Adam."""
        self._take(self.step)
        self._images_since += self.batches.whole(self.step)
        self.step += 1

    def save(self) -> None:
        """Write a checkpoint, and at the end of the run the model.

        Raises:
            NonFiniteLossError: a loss or parameter is not finite; the last checkpoint stays.
        """
        self._check_finite(self.recorder.read())
        self.processes.first(self._write)

    def _write(self) -> None:
        checkpoint.write_checkpoint(self.run.path, self._state())
        if self.finished:
            self.model.eval()
            pretrained.save_pretrained(
                self.model,
                self.run.path,
                extra={**self._about(), "training": self.config.to_dict()},
            )
            self.model.train()

    @property
    def finished(self) -> bool:
        """Whether every step has been taken."""
        return self.step >= self.total_steps

    # --- data -------------------------------------------------------------------------------------

    def _batches(self, data: ImageData | DataLoader[Any]) -> Batches:
        config, processes = self.config, self.processes
        if isinstance(data, DataLoader):
            return LoaderBatches(data, self.device, config.seed, processes.world)
        return batches_of(
            data.images,
            batch_size=config.batch_size,
            seed=config.seed,
            device=self.device,
            rank=processes.rank,
            world=processes.world,
            mapped=data.mapped,
        )

    # --- metrics ----------------------------------------------------------------------------------

    def _read_metrics(self, since_s: float) -> dict[str, Any]:
        """Means over the steps since the last record; waits for the device."""
        rows = self.recorder.read()
        self._check_finite(rows)
        speed = self._images_since / (time.perf_counter() - since_s)
        self._images_since = 0
        self.recorder.clear()
        return {
            "step": self.step,
            "epoch": self.step / self.batches.steps_per_epoch,
            **self.recorder.record(rows),
            "images_per_s": speed,
        }

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
            self._fail(f"the loss is not finite at step {step}: {', '.join(names)}")
        bad_parameters = [
            name for name, p in self.model.named_parameters() if not bool(p.isfinite().all())
        ]
        if bad_parameters:
            self._fail(f"parameters are not finite after step {self.step}: {bad_parameters[0]}")

    def _fail(self, reason: str) -> None:
        last = checkpoint.find_checkpoint(self.run.path)
        hint = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
        raise NonFiniteLossError(f"{reason}; {hint}")

    def _stops(self, stopped: _Stopped) -> bool:
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
        self.run.change_config(self.config)
        if not self.finished:  # the model of a run that ended here before is no longer its end
            (self.run.path / pretrained.WEIGHTS).unlink(missing_ok=True)
        return stack.enter_context(
            closing(MetricsLog(self.run, self.step, self.config.tensorboard))
        )

    def _bar(self) -> Any:
        return tqdm(
            total=self.total_steps,
            initial=self.step,
            unit="step",
            dynamic_ncols=True,
            # quiet where stderr is not a terminal, and but for one process
            disable=None if self.processes.is_first else True,
        )

    # --- state ------------------------------------------------------------------------------------

    def _about(self) -> dict[str, Any]:
        return {
            "format": pretrained.MODEL_FORMAT,
            "model": pretrained.model_config(self.model),
            "versions": {
                "fastjvae": fastjvae.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "numerics": {
                "precision": self.config.precision,
                "matmul_tf32": torch.backends.cuda.matmul.allow_tf32,
                "cudnn_tf32": torch.backends.cudnn.allow_tf32,
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
        before = TrainConfig.from_dict(state["config"])
        if name := self.config.differing(before, RUN_SETTINGS):
            raise CheckpointError(
                f"{path} is of another run: {name} is {before.to_dict()[name]!r} there,"
                f" {self.config.to_dict()[name]!r} in {self.run.config_file}"
            )
        if state["data"]["sha256"] != self.data_digest:
            raise CheckpointError(
                f"{path} was trained on other images ({state['data']['images']:,} of them then,"
                f" {self.batches.images:,} of other content now); resume with the data that the run"
                f" began with"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if "objective" in state:
            call_if_offered(self.objective, "load_state_dict", state["objective"])
        self.step = state["step"]
        self._take.step.fill_(self.step)
        self.noise.set_state(state["rng"]["noise"])
        torch.set_rng_state(state["rng"]["cpu"])
        if state["rng"]["cuda"]:
            torch.cuda.set_rng_state_all(state["rng"]["cuda"])
        self.recorder.restore(state["metrics"], self.device)


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


def set_precision(config: TrainConfig, device: torch.device) -> None:
    """Set PyTorch's switches for TF32, which are the process', as the run asks.

    Raises:
        ArgumentError: TF32 on a device that has none.
    """
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = config.precision == "tf32"
        torch.backends.cudnn.allow_tf32 = config.precision == "tf32"
    elif config.precision == "tf32":
        raise ArgumentError(f"--precision tf32 needs a GPU, this run is on {device}")


class _Stopped:
    """True once a signal has come."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def stop_signals() -> Iterator[_Stopped]:
    """Let SIGINT and SIGTERM end the loop after the step at hand; a second one ends it at once."""
    stopped = _Stopped()
    if threading.current_thread() is not threading.main_thread():
        yield stopped  # only the main thread may set handlers
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, _frame: FrameType | None) -> None:
        stopped.signal = number
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, stop)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _summary(record: dict[str, Any]) -> str:
    return (
        f"reconstruction {record['reconstruction']:.1f}"
        f"  KL_z {sum(record['kl_cont']):.2f}/{record['capacity_cont']:.2f}"
        f"  KL_c {sum(record['kl_disc']):.2f}/{record['capacity_disc']:.2f}"
        f"  {record['images_per_s']:,.0f} images/s"
    )
