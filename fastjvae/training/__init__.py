"""Training: settings and recipes, the step, the loop, run folders, several seeds."""

from typing import TYPE_CHECKING, Any

from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.recipes import recipe
from fastjvae.training.settings.train import TrainConfig, build_model

if TYPE_CHECKING:
    from fastjvae.training.trainer import Trainer

__all__ = ["RunFolder", "TrainConfig", "Trainer", "build_model", "recipe"]


def __getattr__(name: str) -> Any:
    if name == "Trainer":  # it draws, and matplotlib takes its time
        from fastjvae.training.trainer import Trainer

        return Trainer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
