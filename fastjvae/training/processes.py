"""The processes of one training run, as torchrun starts them."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from fastjvae.errors import ArgumentError, FastJVAEError, OtherProcessError, RunError

_Result = TypeVar("_Result")
_A_DAY = timedelta(days=1)


class Processes:
    """This process among the processes of its run; alone where torchrun did not start it.

    Attributes:
        rank: 0 to ``world`` - 1; rank 0 writes the run folder.
        world: number of processes.
        device: this process' own, "cpu" or "cuda:2"; None where it is alone and may choose.
    """

    def __init__(
        self, rank: int = 0, world: int = 1, device: str | None = None, control: Any = None
    ) -> None:
        self.rank, self.world, self.device = rank, world, device
        # Words between processes wait on the host, and longer than gradients may: while rank 0
        # prepares a data set the others have nothing to do.
        self._control = control

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run folder."""
        return self.rank == 0

    def first(self, work: Callable[[], _Result]) -> _Result | None:
        """Do work on rank 0 while the others wait; they get None, and its error as their own."""
        if self.world == 1:
            return work()
        result, error = None, None
        if self.is_first:
            try:
                result = work()
            except Exception as failure:
                error = failure
        message = [None if error is None else (str(error), getattr(error, "exit_code", 1))]
        with self.answering():
            dist.broadcast_object_list(message, src=0, group=self._control)
        if error is not None:
            raise error
        if message[0] is not None:
            raise OtherProcessError(*message[0])
        return result

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any process."""
        if self.world == 1:
            return flag
        flags = torch.tensor(int(flag))
        with self.answering():
            dist.all_reduce(flags, dist.ReduceOp.MAX, group=self._control)
        return bool(flags)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turn the failure of an exchange inside into one sentence.

        Raises:
            RunError: another process has ended, or has not answered in time.
        """
        try:
            yield
        except FastJVAEError:
            raise
        except RuntimeError as error:
            if self.world == 1 or not _is_of_exchange(error):
                raise
            reason = str(error).split("\n", maxsplit=1)[0]
            raise RunError(
                f"process {self.rank} of {self.world} lost another one, which has ended or does not"
                f" answer in time ({reason})"
            ) from error

    def leave(self) -> None:
        """End the connection; a process that is alone has none."""
        if self.world > 1:
            dist.destroy_process_group()


def join_processes(device: str, timeout_s: float) -> Processes:
    """Join the processes that torchrun started.

    Args:
        device: "auto", "cpu" or "cuda"; each process takes the GPU of its local rank.
        timeout_s: how long an exchange of gradients may wait for another process, seconds.

    Raises:
        ArgumentError: a single GPU is named for several processes, or there are fewer GPUs.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Processes()
    if device not in ("auto", "cpu", "cuda"):
        raise ArgumentError(
            f"each of the {world} processes takes a GPU of its own: --device must be auto, cpu or"
            f" cuda, got {device}"
        )
    on_gpu = device != "cpu" and torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if on_gpu:
        if local >= torch.cuda.device_count():
            raise ArgumentError(
                f"process {local} of this machine has no GPU: there are"
                f" {torch.cuda.device_count()}; start at most so many, or use --device cpu"
            )
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(seconds=timeout_s))
    control = dist.new_group(backend="gloo", timeout=_A_DAY)
    return Processes(dist.get_rank(), world, f"cuda:{local}" if on_gpu else "cpu", control)


def _is_of_exchange(error: RuntimeError) -> bool:
    """Whether a process group raised it; gloo raises plain RuntimeErrors that name its files."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or any(
        w in text for w in ("gloo", "nccl", "timed out")
    )
