"""A training step as a GPU would run it, on meta tensors, which have a shape but no memory.

Every operator that the step calls and every Triton kernel that it launches is recorded, on a
machine without a GPU. A number that the host reads, and would wait for, is an error here; a tensor
that comes from the host is among what is recorded.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import fastjvae
from benchmarks import stand_ins
from fastjvae.data.batches import Batches
from fastjvae.functional import gather_images
from fastjvae.objectives import call_if_offered
from fastjvae.training.adam import adam
from fastjvae.training.processes import Processes
from fastjvae.training.progress import Progress
from fastjvae.training.recorder import loss_recorder
from fastjvae.training.settings.objective import build_objective
from fastjvae.training.settings.train import TrainConfig, build_model
from fastjvae.training.step import TrainingStep
from fastjvae.training.trained import Trained

GPU = torch.device("meta")
_plain_autocast = torch.autocast
# Functions that copy from the host where their device is a GPU: no operator tells of that.
_MADE_OF_NUMBERS = {f"torch.{name}" for name in ("tensor", "as_tensor", "asarray", "new_tensor")}


@dataclass(frozen=True)
class Shape:
    """What a tensor is, without its numbers."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: str  # "meta", which stands for the GPU, or "cpu"

    @classmethod
    def of(cls, tensor: Tensor) -> Shape:
        return cls(tuple(tensor.shape), tensor.dtype, tensor.device.type)


@dataclass(frozen=True)
class Call:
    """An operator of PyTorch, such as "aten.relu.default", or a kernel, "triton.latent_forward"."""

    name: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]

    @property
    def comes_from_the_host(self) -> bool:
        """Whether a tensor on the host takes part, or one is made of Python's numbers."""
        shapes = (*self.inputs, *self.outputs)
        return self.name in _MADE_OF_NUMBERS or any(shape.device != GPU.type for shape in shapes)


def step_on_paper(config: TrainConfig, img_size: tuple[int, int, int]) -> list[Call]:
    """The calls of one training step from selection to recorded losses, the second that is taken.

    Args:
        config: of the run; autocast is left out.
        img_size: (C, H, W).

    Raises:
        RuntimeError: the step reads a number on the host.
    """
    model, objective = build_model(config, img_size).to(GPU).train(), build_objective(config)
    model.to(memory_format=torch.channels_last)
    call_if_offered(objective, "to", GPU)
    batches = _OneBatch(img_size, config.batch_size)
    with _without_a_gpu() as calls:
        model.use_networks(config.networks)
        optimizer = adam(model, objective, config.lr)
        for group in optimizer.param_groups:
            group.update(fused=True, capturable=True)
        noise: Any = None  # the device's own generator
        recorder = loss_recorder(model.spec, config.log_every)
        step = TrainingStep(
            Trained(model, objective, optimizer, recorder, noise),
            batches,
            processes=Processes(),
            say=Progress().say,
            accumulate=config.accumulate,
            warmup=config.warmup,
            augment=config.augment,
        )
        selected = batches.select(0)
        step.take(selected, 0)  # makes what stays
        calls.clear()
        with _Constructors(calls), _Operators(calls):
            step.take(selected, 0)
    return calls


class _OneBatch(Batches):
    """Images on the device, of which every step takes as many."""

    images, steps_per_epoch = 1_000, 10

    def __init__(self, img_size: tuple[int, int, int], size: int) -> None:
        self.img_size, self._size = img_size, size
        self._pixels = torch.empty(self.images, *img_size, dtype=torch.uint8, device=GPU)

    def select(self, step: int) -> Tensor:
        return torch.empty(self._size, dtype=torch.int64, device=GPU)

    def whole(self, step: int) -> int:
        return self._size

    def gather(self, selected: Tensor) -> Tensor:
        return gather_images(self._pixels, selected)


class _Constructors(TorchFunctionMode):
    def __init__(self, calls: list[Call]) -> None:
        super().__init__()
        self._calls = calls

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = f"torch.{getattr(func, '__name__', '')}"
        if name in _MADE_OF_NUMBERS:
            self._calls.append(Call(name, (), _shapes(result)))
        return result


class _Operators(TorchDispatchMode):
    def __init__(self, calls: list[Call]) -> None:
        super().__init__()
        self._calls = calls

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        # cuDNN works in the layout of the networks, where meta tensors answer in NCHW.
        if func is torch.ops.aten.convolution.default:
            self._copy_for_cudnn(args[0])
            result = _channels_last(result)
        if func is torch.ops.aten.convolution_backward.default:
            self._copy_for_cudnn(args[0])
            self._copy_for_cudnn(args[1])
            by_x, by_weight, by_bias = result
            by_x = by_x if by_x is None else _channels_last(by_x)
            result = by_x, by_weight if by_weight is None else torch.empty_like(args[2]), by_bias
        if func.namespace == "aten":
            self._calls.append(Call(str(func), _shapes((args, kwargs)), _shapes(result)))
        return result

    def _copy_for_cudnn(self, images: Tensor) -> None:
        if not images.is_contiguous(memory_format=torch.channels_last):
            self._calls.append(Call("aten.clone.default", _shapes(images), _shapes(images)))


def _channels_last(images: Tensor) -> Tensor:
    count, channels, height, width = images.shape
    return images.new_empty(count, height, width, channels).permute(0, 3, 1, 2)


def _shapes(values: Any) -> tuple[Shape, ...]:
    return tuple(Shape.of(x) for x in tree_leaves(values) if isinstance(x, Tensor))


class _Launcher:
    """A kernel that is recorded instead of launched."""

    def __init__(self, name: str, calls: list[Call]) -> None:
        self._name, self._calls = name, calls

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def run(*arguments: Any, **_options: Any) -> None:
            self._calls.append(Call(f"triton.{self._name}", _shapes(arguments), ()))

        return run


@contextmanager
def _without_a_gpu() -> Iterator[list[Call]]:
    """Inside, kernels take meta tensors and are recorded, and Adam is the fused one."""
    calls: list[Call] = []
    launchers = {
        name: _Launcher(name.removesuffix("_kernel"), calls) for name in stand_ins.kernels()
    }
    with (
        stand_ins.replaced(stand_ins.KERNELS, **launchers),
        stand_ins.replaced("fastjvae.functional", obstacle=lambda *_: None),
        fastjvae.backend("triton"),
        patch.object(
            sys.modules[torch.optim.Adam.__module__],
            "_device_dtype_check_for_fused",
            lambda *_, **__: None,
        ),
        patch.object(torch, "_fused_adam_", _recorded_adam(calls)),
        patch.object(torch, "autocast", _autocast),
    ):
        yield calls


def _recorded_adam(calls: list[Call]) -> Callable[..., None]:
    """Adam's kernel, of which meta tensors know no form with learning rates on the device."""

    def run(*tensors: Any, **settings: Any) -> None:
        calls.append(Call("aten._fused_adam_.default", _shapes((tensors, settings)), ()))

    return run


def _autocast(device: str, *arguments: Any, **settings: Any) -> AbstractContextManager[Any]:
    """Autocast where there is one; meta tensors have none."""
    if device == GPU.type:
        return nullcontext()
    return _plain_autocast(device, *arguments, **settings)
