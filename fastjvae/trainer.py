"""The training step and the loop, with checkpoints, resume and metrics.

One training step is :meth:`Trainer.train_step`. Nothing in it waits for the device: metrics stay
there as tensors and are read in bulk every ``log_every`` steps.
"""

from __future__ import annotations

import hashlib
import platform
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

import fastjvae
from fastjvae import checkpoint, pretrained
from fastjvae.allocator import keep_freed_memory
from fastjvae.data import ImageData
from fastjvae.errors import ArgumentError, CheckpointError, NonFiniteLossError
from fastjvae.objectives import Objective
from fastjvae.recipes import RUN_SETTINGS, TrainConfig, build_model, build_objective
from fastjvae.recorder import LossRecorder
from fastjvae.run import MetricsLog, RunFolder


class Trainer:
    """Trains a JointVAE in a run folder; goes on from the folder's checkpoint if there is one.

    Args:
        config: the run's settings.
        data: the training images; they are copied to the device.
        run: the run folder, made if it does not exist.
        objective: by default the one that ``config`` names. It may offer more than ``loss``:
            ``to(device)``; ``parameter_groups()``, groups for Adam with their own settings;
            ``after_step()``; ``state_dict()`` and ``load_state_dict()``, kept in checkpoints.
        resuming: the run that is in the folder goes on under ``config``, which may differ from the
            folder's in :data:`fastjvae.recipes.RUN_SETTINGS`.

    Raises:
        RunError: the folder holds another run, or cannot be written.
        CheckpointError: the checkpoint there is damaged, foreign, of another model or other data.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: ImageData,
        run: RunFolder,
        *,
        objective: Objective | None = None,
        resuming: bool = False,
    ) -> None:
        self.config = config
        self.run = run
        self.device = resolve_device(config.device)
        self.images = data.images.to(self.device)
        self.total_steps = config.total_steps(len(data))
        self.model = build_model(config, data.img_size).to(self.device).train()
        self.objective: Any = build_objective(config) if objective is None else objective
        self._call_objective("to", self.device)
        self.optimizer = torch.optim.Adam(
            [
                {"params": list(self.model.parameters())},
                *(self._call_objective("parameter_groups") or ()),
            ],
            lr=config.lr,
            fused=self.device.type in ("cpu", "cuda"),
        )
        self.noise = torch.Generator(self.device).manual_seed(config.seed)
        self.step = 0
        self.stop_signal: int | None = None  # what ended train() early
        self.device_step = torch.zeros((), dtype=torch.int64, device=self.device)
        self.recorder = LossRecorder(self.model.spec, self.model.num_pixels)
        self.data_digest = hashlib.sha256(data.images.numpy().tobytes()).hexdigest()
        self._images_since = 0  # the last record
        self._epoch = -1  # the one whose permutation self._order holds
        self._order = torch.empty(0, dtype=torch.int64)

        if not resuming:
            run.create(config, self._about())
        if path := checkpoint.find_checkpoint(run.path):
            self._restore(path)
        if self.step > self.total_steps:
            raise ArgumentError(
                f"{run} has taken {self.step:,} steps already, so it cannot end at step"
                f" {self.total_steps:,}"
            )

    def train(self) -> bool:
        """Train to the end, or until SIGINT or SIGTERM; True if the end was reached.

        Raises:
            NonFiniteLossError: a loss or parameter is not finite; nothing of it is saved.
        """
        if self.config.keep_freed_memory and self.device.type == "cpu":
            keep_freed_memory()
        with self.run.lock(), stop_signals() as stopped, self._log() as log, self._bar() as bar:
            self.run.change_config(self.config)
            if not self.finished:  # the model of a run that ended here before is no longer its end
                (self.run.path / pretrained.WEIGHTS).unlink(missing_ok=True)
            since = time.perf_counter()
            while not self.finished and not stopped:
                self.train_step()
                bar.update()
                if self.step % self.config.log_every == 0 or self.finished:
                    record = self._read_metrics(since)
                    since = time.perf_counter()
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
        self.step += 1
        images = self.images[self._batch_indices()]
        out = self.model.loss(
            images, self.device_step.add_(1), self.objective, generator=self.noise
        )
        self.optimizer.zero_grad(set_to_none=True)
        out.loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self._call_objective("after_step")
        self.recorder.append(out)
        self._images_since += len(images)

    def save(self) -> None:
        """Write a checkpoint, and at the end of the run the model.

        Raises:
            NonFiniteLossError: a loss or parameter is not finite; the last checkpoint stays.
        """
        self._check_finite(self.recorder.read())
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

    # --- data order -------------------------------------------------------------------------------

    def _batch_indices(self) -> Tensor:
        """Indices of this step's batch: a slice of the epoch's permutation.

        The permutation depends on the seed and the epoch alone, so a resumed run finds its place.
        The last batch of an epoch may be smaller, as in the published code.
        """
        size = self.config.batch_size
        epoch, position = divmod(self.step - 1, self._steps_per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + epoch)
            self._order = torch.randperm(len(self.images), generator=generator).to(self.device)
            self._epoch = epoch
        return self._order[position * size : (position + 1) * size]

    @property
    def _steps_per_epoch(self) -> int:
        return -(-len(self.images) // self.config.batch_size)

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
            "epoch": self.step / self._steps_per_epoch,
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

    @contextmanager
    def _log(self) -> Iterator[MetricsLog]:
        log = MetricsLog(self.run, self.step, self.config.tensorboard)
        try:
            yield log
        finally:
            log.close()

    def _bar(self) -> Any:
        return tqdm(
            total=self.total_steps,
            initial=self.step,
            unit="step",
            dynamic_ncols=True,
            disable=None,  # quiet where stderr is not a terminal
        )

    def _call_objective(self, method: str, *arguments: Any) -> Any:
        """Call what an objective may but need not offer; None where it does not."""
        function = getattr(self.objective, method, None)
        return None if function is None else function(*arguments)

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
        }

    def _state(self) -> dict[str, Any]:
        state = {
            "config": self.config.to_dict(),
            "model_config": pretrained.model_config(self.model),
            "data": {"images": len(self.images), "sha256": self.data_digest},
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
        if (own := self._call_objective("state_dict")) is not None:
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
                f" {len(self.images):,} of other content now); resume with the data that the run"
                f" began with"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if "objective" in state:
            self._call_objective("load_state_dict", state["objective"])
        self.step = state["step"]
        self.device_step.fill_(self.step)
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
