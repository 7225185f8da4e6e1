"""The models that the benchmarks train, and their images; nothing is downloaded."""

import dataclasses
from typing import NamedTuple

import torch
from torch import Tensor

import fastjvae
from fastjvae.data import DatasetName
from fastjvae.data.prepare import fit_images
from fastjvae.training.settings.objective import build_objective
from fastjvae.training.settings.recipes import recipe
from fastjvae.training.settings.run import Precision
from fastjvae.training.settings.train import TrainConfig, build_model

# Asked where a process has its work to do: one that has looked for a GPU cannot be forked.
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SEED = 0


class Problem(NamedTuple):
    """What is trained: a recipe's settings on images of one size."""

    config: TrainConfig
    img_size: tuple[int, int, int]

    @property
    def name(self) -> str:
        channels, height, width = self.img_size
        return f"{height}x{width}x{channels}, B = {self.config.batch_size:,}"

    def with_precision(self, precision: Precision) -> "Problem":
        """The same with another arithmetic of the networks."""
        return self._replace(config=dataclasses.replace(self.config, precision=precision))

    @property
    def checked_steps(self) -> int:
        """Steps that are compared with the reference; few where batches are large."""
        return max(3, min(20, 1_280 // self.config.batch_size))


# Appendix C of the paper.
_RECIPES: dict[str, tuple[DatasetName, tuple[int, int, int]]] = {
    "32x32x1": ("mnist", (1, 32, 32)),
    "64x64x3": ("celeba", (3, 64, 64)),
}


def problem_of(size: str, batch_size: int = 64) -> Problem:
    """The problem of images of ``size``, "32x32x1" or "64x64x3"."""
    dataset, img_size = _RECIPES[size]
    config = dataclasses.replace(recipe(dataset), batch_size=batch_size, device=DEVICE, seed=SEED)
    return Problem(config, img_size)


_DIFFERENT = 1_000


def pictures(number: int) -> Tensor:
    """Grey pictures (number, 1, 28, 28) uint8 as those of MNIST: soft strokes on black."""
    return _drawn(_soft(_DIFFERENT, 1, 28), number)


def mnist_like(number: int) -> Tensor:
    """The same pictures as fastjvae prepares MNIST: (number, 1, 32, 32) uint8."""
    pool = fit_images(_soft(_DIFFERENT, 1, 28).numpy(), (32, 32))
    return _drawn(torch.from_numpy(pool), number)


def batch_of(problem: Problem, step: int = 0) -> Tensor:
    """A batch of uint8 images; other ones for every step."""
    channels, side, _ = problem.img_size
    return _soft(problem.config.batch_size, channels, side, SEED + step)


def _soft(number: int, channels: int, side: int, seed: int = SEED) -> Tensor:
    """Random pictures, half of them black, without edges."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(number, channels, 7, 7, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic")
    return (smooth * 255).clamp(0, 255).to(torch.uint8)


def _drawn(pool: Tensor, number: int) -> Tensor:
    """So many pictures, each with a place of its own in memory."""
    generator = torch.Generator().manual_seed(SEED)
    return pool[torch.randint(len(pool), (number,), generator=generator)]


def flops_per_image(problem: Problem) -> float:
    """Floating-point operations of the matrix products and convolutions of a step, for one image.

    Forward and backward; a multiplication and an addition are two.
    """
    from torch.utils.flop_counter import FlopCounterMode

    model = build_model(problem.config, problem.img_size)
    images = batch_of(problem)[:2]
    with fastjvae.backend("reference"), FlopCounterMode(display=False) as counter:
        model.loss(images, 1, build_objective(problem.config)).loss.backward()
    return counter.get_total_flops() / len(images)
