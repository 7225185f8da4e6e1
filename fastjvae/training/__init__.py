"""Training: settings and recipes, the step, the loop, run folders, several seeds."""

from fastjvae.training.callbacks import Callback
from fastjvae.training.fitting import Fit, fit
from fastjvae.training.run_folder import RunFolder
from fastjvae.training.settings.overrides import overridden
from fastjvae.training.settings.phases import Phase
from fastjvae.training.settings.recipes import recipe
from fastjvae.training.settings.train import TrainConfig, build_model
from fastjvae.training.trainer import Trainer

__all__ = [
    "Callback",
    "Fit",
    "Phase",
    "RunFolder",
    "TrainConfig",
    "Trainer",
    "build_model",
    "fit",
    "overridden",
    "recipe",
]
