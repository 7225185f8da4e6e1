"""The training steps that are compared, by name."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from benchmarks.environment import has_compiler
from benchmarks.training.baselines import Losses, PublishedTraining, TunedTraining
from benchmarks.training.problems import DEVICE, SEED
from fastjvae import JointVAE
from fastjvae.data.batches import Batches
from fastjvae.training.adam import adam
from fastjvae.training.device import autocast
from fastjvae.training.processes import Processes
from fastjvae.training.progress import Progress
from fastjvae.training.recorder import loss_recorder
from fastjvae.training.settings.objective import build_objective
from fastjvae.training.settings.train import TrainConfig, build_model
from fastjvae.training.step import TrainingStep
from fastjvae.training.trained import Trained


class Training(Protocol):
    """What providers of a step share; see :mod:`benchmarks.training.baselines`."""

    def load(self, model: JointVAE) -> None: ...

    def prepare(self, images: Tensor) -> Tensor: ...

    def step(
        self, images: Tensor, normal: Tensor | None = None, uniform: Tensor | None = None
    ) -> Losses | None: ...


class FastTraining:
    """The step of :class:`fastjvae.training.Trainer` without its loading and its recorder."""

    def __init__(self, config: TrainConfig, img_size: tuple[int, int, int], device: str) -> None:
        self.config, self.device = config, device
        self.model = build_model(config, img_size).to(device).train()
        self.model.to(memory_format=torch.channels_last)
        self.objective = build_objective(config)
        self.optimizer = adam(self.model, self.objective, config.lr)
        self.noise = torch.Generator(device).manual_seed(SEED)
        self.device_step = torch.zeros((), dtype=torch.int64, device=device)

    def load(self, model: JointVAE) -> None:
        self.model.load_state_dict(model.state_dict())

    def prepare(self, images: Tensor) -> Tensor:
        return images.to(self.device)

    def step(
        self, images: Tensor, normal: Tensor | None = None, uniform: Tensor | None = None
    ) -> Losses | None:
        noise: dict[str, Any] = (
            {"generator": self.noise} if normal is None else {"normal": normal, "uniform": uniform}
        )
        with autocast(torch.device(self.device), self.config.precision):
            out = self.model.loss(images, self.device_step.add_(1), self.objective, **noise)
        self.optimizer.zero_grad(set_to_none=True)
        out.loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return Losses(out.loss.detach(), out.reconstruction, out.kl_cont, out.kl_disc)


class CapturedTraining(FastTraining):
    """The same step as a CUDA graph, as the trainer captures it.

    With explicit noise, for the check of its losses, it is the plain step.
    """

    def __init__(self, config: TrainConfig, img_size: tuple[int, int, int], device: str) -> None:
        super().__init__(config, img_size, device)
        self._batch = _OneBatch(img_size)
        self._take = TrainingStep(
            Trained(
                self.model,
                self.objective,
                self.optimizer,
                loss_recorder(self.model.spec),
                self.noise,
            ),
            self._batch,
            processes=Processes(),
            say=Progress().say,
            graph=True,
        )

    def step(
        self, images: Tensor, normal: Tensor | None = None, uniform: Tensor | None = None
    ) -> Losses | None:
        if normal is not None:
            return super().step(images, normal, uniform)
        self._batch.batch = images
        self._take(0)
        return None


class _OneBatch(Batches):
    """The same images in every step."""

    images = steps_per_epoch = 1
    batch: Tensor

    def __init__(self, img_size: tuple[int, int, int]) -> None:
        self.img_size = img_size

    def select(self, step: int) -> Tensor:
        return self.batch

    def whole(self, step: int) -> int:
        return len(self.batch)


# --- by name --------------------------------------------------------------------------------------


class Provider(NamedTuple):
    """A way to train, made of a recipe, the size of the images and a device."""

    build: Callable[[TrainConfig, tuple[int, int, int], str], Training]
    keep_freed_memory: bool = False


def _compiled(
    config: TrainConfig, img_size: tuple[int, int, int], device: str, mode: str = "default"
) -> Training:
    import torch._inductor.config

    torch._inductor.config.compile_threads = 1  # no further processes beside this one
    return TunedTraining(config, img_size, device, compile_mode=mode)


# On a GPU the allocator is PyTorch's own and the setting changes nothing.
PROVIDERS = {
    "published": Provider(PublishedTraining),
    "tuned": Provider(TunedTraining),
    "tuned-same-allocator": Provider(TunedTraining, keep_freed_memory=True),
    "compile": Provider(_compiled),
    "compile-same-allocator": Provider(_compiled, keep_freed_memory=True),
    "compile-reduce-overhead": Provider(partial(_compiled, mode="reduce-overhead")),
    "fastjvae": Provider(FastTraining, keep_freed_memory=True),
    "fastjvae-cudagraph": Provider(CapturedTraining),
}


def obstacle(name: str) -> str | None:
    """Why a provider is not measured here."""
    cuda = DEVICE == "cuda"
    if name in ("compile-reduce-overhead", "fastjvae-cudagraph") and not cuda:
        return "CUDA graphs need a GPU"
    if name.endswith("-same-allocator") and cuda:
        return "the allocator is set on a CPU only"
    if name.startswith("compile") and not cuda:
        return None if has_compiler() else "there is no C++ compiler"
    return None
